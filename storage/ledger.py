"""The ledger: what a batch is and how far it has come, as objects that are written once.

Every method that writes a commit point returns what stands there now: the caller's record, or the winner's. The
caller goes on with that. Nothing here waits, rings or asks a clock.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, Refused
from neurobatch.records import (
    Artifact,
    Attempt,
    Batch,
    Cancel,
    End,
    Idempotency,
    LeftOutLine,
    MemberLine,
    NamedFile,
    Page,
    PlanEnd,
    PlanStart,
    Record,
    Result,
    Reusable,
    Source,
    UploadLine,
    dump_lines,
    load_lines,
)
from storage import names
from storage.names import BatchKey
from storage.objects import New, Objects, put_all

R = TypeVar("R", bound=Record)
JSON = "application/json"
JSONL = "application/jsonl"
INLINE_SOURCES = 200  # more go to the manifest, so that `batch.json` stays below 64 KB


class Content(NamedTuple):
    """One file of a result, before it is put."""

    media_type: str
    data: bytes


class ResultFiles(NamedTuple):
    """The files of one scan's result, before they are put."""

    key: BatchKey
    scan: str
    files: Mapping[str, Content]  # by name
    reuse: str | None = None  # key under which later scans may take it over; None: none may


class Opened(NamedTuple):
    """A batch that `recover` must look at."""

    key: BatchKey
    since: datetime  # when the marker was put, by the store's clock


class Ledger:
    """Reads and writes the commit points of batches in one store."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    # -- accepting ---------------------------------------------------------------------------------------------

    def open(self, key: BatchKey) -> None:
        """Put the marker, before the first byte of an upload."""
        self.objects.put(names.marker(key), b"")

    def close(self, key: BatchKey) -> None:
        """Take the marker away: nothing is left to do for the batch."""
        self.objects.delete([names.marker(key)])

    def accept(self, batch: Batch, uploads: Sequence[UploadLine] = ()) -> Batch:
        """Put `batch.json`, and before it the manifest where there is one. The marker must stand already.

        Raises:
            Refused: `never_handed_over`, where recovery closed the batch as abandoned in the meantime.
        """
        key = BatchKey(batch.tenant, batch.id)
        if batch.manifest is not None:
            self.objects.put(names.manifest(key), dump_lines(uploads), content_type=JSONL)
        stands = self._commit(names.batch(key), batch)
        if stands.abandoned and not batch.abandoned:
            raise Refused(Code.NEVER_HANDED_OVER)
        return stands

    def claim(self, tenant: str, sent: str, claim: Idempotency) -> Idempotency:
        """Bind an Idempotency-Key to a batch, or learn which batch it is bound to.

        Raises:
            Refused: `idempotency_conflict`, where the key was used for another request.
        """
        stands = self._commit(names.idempotency(tenant, sent), claim)
        if stands.request != claim.request:
            raise Refused(Code.IDEMPOTENCY_CONFLICT)
        return stands

    def claimed(self, tenant: str, sent: str) -> Idempotency | None:
        """What an Idempotency-Key is bound to, None for one that was never used."""
        return self._load(names.idempotency(tenant, sent), Idempotency)

    def batch(self, key: BatchKey) -> Batch:
        """The accepted batch. Raises `Refused`: `not_found`, or `gone` while it is being deleted."""
        stands = self._load(names.batch(key), Batch)
        if stands is None:
            raise Refused(Code.NOT_FOUND, "There is no such batch.")
        if self.deleting(key):
            raise Refused(Code.GONE)
        return stands

    def known(self, key: BatchKey) -> Batch | None:
        """The accepted batch, also one that is being deleted; None where there is none."""
        return self._load(names.batch(key), Batch)

    def sources(self, batch: Batch) -> Iterator[Source]:
        """All sources in order: those in `batch.json`, then those of the manifest."""
        yield from batch.sources
        if batch.manifest is not None:
            lines = self.objects.read(names.manifest(BatchKey(batch.tenant, batch.id)))
            yield from (UploadLine.load(line).source for line in split_lines(lines))

    def batches(self, tenant: str, *, after: str = "") -> Iterator[str]:
        """Ids of a tenant's batches in order of time, those behind `after`."""
        prefix = names.batches_prefix(tenant)
        while True:
            seen = f"{prefix}{after}/{names.LAST}" if after else ""
            found = next(iter(self.objects.list(prefix, after=seen)), None)
            if found is None:
                return
            after = found.name[len(prefix) :].partition("/")[0]
            yield after

    def opened(self) -> Iterator[Opened]:
        """All batches that are not finished, by their markers."""
        for stored in self.objects.list("open/"):
            key = names.key_of_marker(stored.name)
            if key is not None:
                yield Opened(key, stored.modified)

    # -- planning ----------------------------------------------------------------------------------------------

    def start_plan(self, key: BatchKey, start: PlanStart) -> PlanStart:
        """Pin models, profiles, thresholds and precision."""
        return self._commit(names.plan_start(key), start)

    def plan_start(self, key: BatchKey) -> PlanStart | None:
        return self._load(names.plan_start(key), PlanStart)

    def put_lines(self, key: BatchKey, kind: str, number: int, lines: Sequence[Record]) -> NamedFile | None:
        """Put lines that a page will name (`members`, `left-out`); None for no lines."""
        if not lines:
            return None
        data = dump_lines(lines)
        digest = hashlib.sha256(data).hexdigest()
        name = names.plan_lines(kind, number, digest)
        self.objects.put(key.prefix + name, data, content_type=JSONL)
        return NamedFile(name=name, sha256=digest, size=len(data), lines=len(lines))

    def put_page(self, key: BatchKey, page: Page) -> Page:
        """Commit one page. Pages must be put in order; what it names must have been put before."""
        return self._commit(names.page(key, page.number), page)

    def page(self, key: BatchKey, number: int) -> Page | None:
        return self._load(names.page(key, number), Page)

    def has_page(self, key: BatchKey, number: int) -> bool:
        """Whether a page stands."""
        return self.objects.head(names.page(key, number)) is not None

    def pages(self, key: BatchKey, end: PlanEnd | None = None, *, start: int = 0) -> Iterator[Page]:
        """Pages in order; with `end` exactly those that it counts, else those that stand now."""
        number = start
        while end is None or number < end.pages:
            page = self.page(key, number)
            if page is None:
                if end is None:
                    return
                raise Broken(Code.INTERNAL, f"page {number} of the plan is missing")
            yield page
            number += 1

    def members(self, key: BatchKey, page: Page) -> Iterator[MemberLine]:
        """The files of series that a page found."""
        return self._lines(key, page.members, MemberLine)

    def left_out(self, key: BatchKey, page: Page) -> Iterator[LeftOutLine]:
        """The files that a page left out."""
        return self._lines(key, page.left_out, LeftOutLine)

    def end_plan(self, key: BatchKey, end: PlanEnd) -> PlanEnd:
        """Commit the plan: pages beyond its count do not exist from now on."""
        return self._commit(names.plan_end(key), end)

    def plan_end(self, key: BatchKey) -> PlanEnd | None:
        return self._load(names.plan_end(key), PlanEnd)

    # -- working -----------------------------------------------------------------------------------------------

    def begin(self, key: BatchKey, shard: int, holder: str, started: datetime) -> Attempt:
        """Take the next attempt at a shard."""
        number = 1
        while True:
            attempt = Attempt(number=number, holder=holder, started=started)
            if self.objects.create(names.attempt(key, shard, number), attempt.dump(), content_type=JSON):
                return attempt
            number += 1

    def hand_back(self, key: BatchKey, shard: int, attempt: Attempt) -> None:
        """Give an attempt back on SIGTERM, so that it costs none."""
        self.objects.delete([names.attempt(key, shard, attempt.number)])

    def note_trying(self, key: BatchKey, shard: int, scan: str) -> bool:
        """Note that a scan is about to be tried alone. False: an attempt that noted the same died over it."""
        return self.objects.create(names.trying(key, shard, scan), b"")

    def clear_trying(self, key: BatchKey, shard: int, scan: str) -> None:
        """The scan was survived."""
        self.objects.delete([names.trying(key, shard, scan)])

    def put_artifacts(self, key: BatchKey, scan: str, files: Mapping[str, Content]) -> tuple[Artifact, ...]:
        """Put a result's files under names made of their content; returns them sorted by name."""
        return self.put_results_files([ResultFiles(key, scan, files)])[0]

    def put_results_files(self, results: Sequence[ResultFiles]) -> list[tuple[Artifact, ...]]:
        """Put the files of several results together, as `put_artifacts` does for one; their artifacts, in order."""
        made = [_artifacts(result.files) for result in results]
        new = [
            New(
                names.artifact(result.key, result.scan, names.result_digest(artifacts), artifact.name),
                result.files[artifact.name].data,
                artifact.media_type,
            )
            for result, artifacts in zip(results, made, strict=True)
            for artifact in artifacts
        ]
        new += [
            New(names.reusable(result.key.tenant, result.reuse), _reusable(result, artifacts).dump(), JSON)
            for result, artifacts in zip(results, made, strict=True)
            if result.reuse is not None
        ]
        put_all(self.objects, new)
        return made

    def commit(self, key: BatchKey, shard: int, results: Sequence[Result]) -> tuple[Result, ...]:
        """Commit a shard: one line for each of its scans, in plan order. Returns what stands."""
        name = names.shard_result(key, shard)
        if self.objects.create(name, dump_lines(results), content_type=JSONL):
            return tuple(results)
        return tuple(load_lines(Result, self.objects.get(name)))

    def results(self, key: BatchKey, shard: int) -> tuple[Result, ...] | None:
        """A shard's lines; None while it is not committed."""
        try:
            return tuple(load_lines(Result, self.objects.get(names.shard_result(key, shard))))
        except Missing:
            return None

    def done(self, key: BatchKey) -> set[int]:
        """Numbers of the committed shards, from one listing."""
        found = (names.shard_of_result(stored.name) for stored in self.objects.list(names.shards_prefix(key)))
        return {number for number in found if number is not None}

    def put_timing(self, key: BatchKey, shard: int, attempt: int, data: bytes) -> None:
        """Keep how long a try took, apart from results."""
        self.objects.put(names.timing(key, shard, attempt), data, content_type=JSON)

    # -- models ------------------------------------------------------------------------------------------------

    def keep_model(self, sha256: str, weights: Path) -> None:
        """Put a network's weight file under its digest, so that an upgrade strands no batch."""
        if self.objects.head(names.model(sha256)) is None:
            self.objects.put(names.model(sha256), weights)

    def read_model(self, sha256: str) -> Iterator[bytes]:
        """The bytes of a kept network. Raises `Missing`."""
        return self.objects.read(names.model(sha256))

    # -- wishes and ends ---------------------------------------------------------------------------------------

    def wish_cancel(self, key: BatchKey, requested: datetime) -> Cancel:
        """Put `cancel.json`."""
        return self._commit(names.cancel(key), Cancel(requested=requested))

    def cancelling(self, key: BatchKey) -> bool:
        return self.objects.head(names.cancel(key)) is not None

    def wish_delete(self, key: BatchKey) -> None:
        """Put the marker again and `delete.json`: from now on the batch reads as gone, and recovery ends it."""
        self.open(key)
        self.objects.create(names.deletion(key), b"{}", content_type=JSON)

    def deleting(self, key: BatchKey) -> bool:
        return self.objects.head(names.deletion(key)) is not None

    def put_end(self, key: BatchKey, end: End) -> End:
        """Commit the batch's end."""
        return self._commit(names.end(key), end)

    def end(self, key: BatchKey) -> End | None:
        return self._load(names.end(key), End)

    # -- how records are read and written ------------------------------------------------------------------------

    def _commit(self, name: str, record: R) -> R:
        if self.objects.create(name, record.dump(), content_type=JSON):
            return record
        return type(record).load(self.objects.get(name))

    def _load(self, name: str, kind: type[R]) -> R | None:
        try:
            return kind.load(self.objects.get(name))
        except Missing:
            return None

    def _lines(self, key: BatchKey, file: NamedFile | None, kind: type[R]) -> Iterator[R]:
        if file is None:
            return iter(())
        return (kind.load(line) for line in split_lines(self.objects.read(key.prefix + file.name)))


def _artifacts(files: Mapping[str, Content]) -> tuple[Artifact, ...]:
    """What a result's line says of its files, sorted by name."""
    return tuple(
        Artifact(
            name=name,
            media_type=content.media_type,
            size=len(content.data),
            sha256=hashlib.sha256(content.data).hexdigest(),
        )
        for name, content in sorted(files.items())
    )


def _reusable(result: ResultFiles, artifacts: tuple[Artifact, ...]) -> Reusable:
    """May be seen before the files that it names: who finds them missing goes on without."""
    return Reusable(batch=result.key.batch, scan=result.scan, artifacts=artifacts)


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream, without their newlines and without empty ones."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line)
    if rest:
        yield rest
