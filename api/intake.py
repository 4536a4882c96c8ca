"""Taking work in: how a batch is accepted, cancelled, deleted. Knows no Flask; `deploy.local` uses it too.

The order is what makes it safe: marker, uploads, claim of the Idempotency-Key, `batch.json`, bell. Whoever
stops in between leaves a marker that recovery closes as abandoned; a lost bell is rung again by recovery.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import TracebackType
from typing import Protocol

from neurobatch.codes import Code
from neurobatch.errors import Refused, Unavailable
from neurobatch.records import (
    Batch,
    BatchState,
    Idempotency,
    Manifest,
    Options,
    RootSource,
    UploadLine,
    UploadSource,
)
from neurobatch.settings import Settings
from neurobatch.taking import shown_path
from storage import names
from storage.ledger import INLINE_SOURCES, Ledger
from storage.names import BatchKey, new_batch_id
from storage.objects import New, Together, put_all
from storage.roots import Roots

SMALL = 256 << 10  # bytes of a file that may wait in memory for others
TOGETHER = 64  # files that wait at most

_log = logging.getLogger("neurobatch.intake")


class Bells(Protocol):
    """The bells that intake rings; `storage.ringing.Ringer` is the one. Raise `Unavailable`."""

    def ring_plan(self, key: BatchKey, queue: str) -> None:
        """Wake a planner."""
        ...

    def ring_settle(self, key: BatchKey, queue: str) -> None:
        """Have a wish fulfilled, or a batch finalised."""
        ...


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that is handed over as a stream."""

    name: str  # the user's own path for it
    chunks: Iterable[bytes] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a submission asks for besides its sources."""

    options: Options = field(default_factory=Options)
    label: str = ""
    expires: datetime | None = None
    listing: str | None = None  # sha256, see `Batch.listing`
    idempotency_key: str | None = None


def _now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """Accepts, cancels and deletes batches."""

    def __init__(
        self,
        ledger: Ledger,
        bells: Bells,
        settings: Settings,
        roots: Roots,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.ledger = ledger
        self.bells = bells
        self.settings = settings
        self.roots = roots
        self.clock = clock

    def begin(self, tenant: str) -> "Handover":
        """Open a submission; use it in a `with` statement, which withdraws what was not accepted."""
        key = BatchKey(tenant, new_batch_id())
        self.ledger.open(key)
        return Handover(self, key)

    def submit(self, tenant: str, sources: Iterable[Upload | RootSource], wish: Wish) -> Batch:
        """Hand over everything at once.

        Returns the accepted batch; with an Idempotency-Key that was used before, that submission's.

        Raises:
            Refused: `no_sources`, `too_large`, `too_many_files`, `invalid_field`, `gone`,
                `idempotency_conflict`, `outside_roots`. Nothing is left of the submission then.
            Unavailable: the store does not answer.
        """
        with self.begin(tenant) as handover:
            for source in sources:
                if isinstance(source, RootSource):
                    handover.refer(source)
                else:
                    handover.upload(source.name, source.chunks)
            return handover.accept(wish)

    def cancel(self, key: BatchKey) -> None:
        """Wish that a batch be cancelled; a worker, or recovery, ends it.

        Raises:
            Refused: `not_found`, `gone`, or `already_finished` where it ended otherwise.
        """
        batch = self.ledger.batch(key)
        end = self.ledger.end(key)
        if end is not None and end.state is not BatchState.CANCELLED:
            raise Refused(Code.ALREADY_FINISHED)
        if end is None:
            self.ledger.wish_cancel(key, self.clock())
            self._ring(self.bells.ring_settle, key, batch.options.queue)

    def delete(self, key: BatchKey) -> None:
        """Wish that a batch and all under it be deleted. It reads as gone at once; the bytes go soon after.

        Raises:
            Refused: `not_found`.
        """
        batch = self.ledger.known(key)
        if batch is None:
            raise Refused(Code.NOT_FOUND, "There is no such batch.")
        self.ledger.wish_delete(key)
        self._ring(self.bells.ring_settle, key, batch.options.queue)

    def ring_plan(self, batch: Batch) -> None:
        """Wake a planner; where that fails, recovery does it later."""
        self._ring(self.bells.ring_plan, BatchKey(batch.tenant, batch.id), batch.options.queue)

    def _ring(self, ring: Callable[[BatchKey, str], None], key: BatchKey, queue: str) -> None:
        try:
            ring(key, queue)
        except Unavailable:
            _log.warning("bell_not_rung", extra={"batch": key.batch})


class Handover:
    """One submission while it comes in."""

    def __init__(self, intake: Intake, key: BatchKey) -> None:
        self.key = key
        self._intake = intake
        self._roots: list[RootSource] = []
        self._uploads: list[UploadSource] = []
        self._begun = 0  # uploads that were begun: their objects may exist
        self._small: list[New] = []  # uploads that are not put yet
        self._bytes = 0
        self._standing = False  # True: others may rely on what was put, so that it is not withdrawn

    def __enter__(self) -> "Handover":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._standing:
            return
        try:
            self._withdraw()
        except Unavailable:  # recovery closes the marker
            _log.warning("upload_not_withdrawn", extra={"batch": self.key.batch})

    def upload(self, name: str, chunks: Iterable[bytes]) -> UploadSource:
        """Stream one file to the store. Raises `Refused`: `too_large`, `too_many_files`."""
        limit = self._intake.settings.upload_files_limit
        if self._begun >= limit:
            raise Refused(Code.TOO_MANY_FILES, f"The limit is {limit} files.")
        number = self._begun
        self._begun += 1
        meter = _Meter(chunks, self._intake.settings.upload_limit - self._bytes)
        self._put(names.upload(self.key, number), iter(meter))
        self._bytes += meter.size
        source = UploadSource(
            number=number,
            name=shown_path(name) or f"upload-{number}",
            size=meter.size,
            sha256=meter.sha256.hexdigest(),
        )
        self._uploads.append(source)
        return source

    def _put(self, name: str, chunks: Iterator[bytes]) -> None:
        """Put a file; small ones later, with others, where the store puts many for less than one by one."""
        store = self._intake.ledger.objects
        head: list[bytes] = []
        if isinstance(store, Together):
            for chunk in chunks:
                head.append(chunk)
                if sum(map(len, head)) > SMALL:
                    break
            else:
                self._small.append(New(name, b"".join(head)))
                if len(self._small) >= TOGETHER:
                    self._put_small()
                return
        store.put(name, chain(head, chunks))

    def _put_small(self) -> None:
        put_all(self._intake.ledger.objects, self._small)
        self._small.clear()

    def refer(self, source: RootSource) -> None:
        """Add what is read in place; whether the caller may name it was checked before (`Roots.admit`).

        Raises `Refused`: `outside_roots` where there is no such root, `too_many_files`.
        """
        if len(self._roots) >= INLINE_SOURCES:
            detail = f"At most {INLINE_SOURCES} places can be named; name a folder or a prefix."
            raise Refused(Code.TOO_MANY_FILES, detail)
        self._intake.roots.resolve(source.root)
        self._roots.append(source)

    def accept(self, wish: Wish) -> Batch:
        """Commit the batch and ring for it."""
        if not self._roots and not self._uploads:
            raise Refused(Code.NO_SOURCES)
        self._put_small()
        batch = self._batch(wish)
        self._standing = True  # from here a lost reply may hide a win
        if wish.idempotency_key is not None:
            claim = Idempotency(batch=batch.id, request=self._digest(wish))
            stands = self._claim(wish.idempotency_key, claim)
            if stands != batch.id:
                self._withdraw()
                earlier = self._earlier(stands)
                if earlier is not None:
                    return earlier
                # Who claimed the key died before `batch.json`, or is about to put it: its uploads are there.
                batch = batch.model_copy(update={"id": stands})
        lines = [UploadLine(source=source) for source in self._uploads] if batch.manifest else []
        accepted = self._intake.ledger.accept(batch, lines)
        self._intake.ring_plan(accepted)
        return accepted

    def _claim(self, sent: str, claim: Idempotency) -> str:
        """The id of the batch that the key stands for. Raises `Refused(idempotency_conflict)`."""
        try:
            return self._intake.ledger.claim(self.key.tenant, sent, claim).batch
        except Refused:
            self._standing = False
            raise

    def _earlier(self, batch: str) -> Batch | None:
        """The batch that an earlier submission made; None where it never came to be."""
        ledger, key = self._intake.ledger, BatchKey(self.key.tenant, batch)
        known = ledger.known(key)
        if known is not None:
            if known.abandoned:
                raise Refused(Code.NEVER_HANDED_OVER)
            return ledger.batch(key)
        # Deletion removes `batch.json`, then the marker, then the wish: in this order, none is missed.
        if ledger.deleting(key) or ledger.objects.head(names.marker(key)) is None:
            raise Refused(Code.GONE)
        return None

    def _batch(self, wish: Wish) -> Batch:
        now = self._intake.clock()
        days = self._intake.settings.expires_days
        expires = wish.expires or (now + timedelta(days=days) if days else None)
        if wish.expires is not None and wish.expires <= now:
            raise Refused(Code.INVALID_FIELD, "expires: lies in the past.")
        listed = len(self._roots) + len(self._uploads) <= INLINE_SOURCES
        return Batch(
            id=self.key.batch,
            tenant=self.key.tenant,
            created=now,
            label=wish.label,
            sources=(*self._roots, *self._uploads) if listed else tuple(self._roots),
            manifest=None if listed else self._manifest(),
            options=wish.options,
            expires=expires,
            listing=wish.listing,
        )

    def _manifest(self) -> Manifest:
        digest = hashlib.sha256()
        for source in self._uploads:
            digest.update(UploadLine(source=source).dump() + b"\n")
        return Manifest(count=len(self._uploads), sha256=digest.hexdigest())

    def _digest(self, wish: Wish) -> str:
        """What makes two submissions the same: options and content, not times and not how they were sent."""
        asked = {
            "options": wish.options.model_dump(mode="json"),
            "label": wish.label,
            "expires": wish.expires.timestamp() if wish.expires else None,
            "listing": wish.listing,
        }
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
        for source in (*self._roots, *self._uploads):
            digest.update(json.dumps(source.model_dump(), sort_keys=True).encode() + b"\n")
        return digest.hexdigest()

    def _withdraw(self) -> None:
        """Take away what was put: nobody was promised anything."""
        self._intake.ledger.objects.delete(names.upload(self.key, number) for number in range(self._begun))
        self._intake.ledger.close(self.key)


class _Meter:
    """Passes chunks on while it counts and digests them. Raises `Refused(too_large)` beyond `room` bytes."""

    def __init__(self, chunks: Iterable[bytes], room: int) -> None:
        self._chunks = chunks
        self._room = room
        self.size = 0  # bytes
        self.sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._room:
                raise Refused(Code.TOO_LARGE)
            self.sha256.update(chunk)
            yield chunk
