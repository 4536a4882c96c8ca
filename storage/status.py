"""Where a batch stands, for those who ask again and again.

Redis answers where it is ready; else the store does, from which each committed shard is read only once. What
a reader has told it never takes back: where Redis knows less than was told already, the store is asked.
"""

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from neurobatch.codes import DISCLAIMER, Code
from neurobatch.errors import Refused, Unavailable
from neurobatch.records import Batch, BatchState, Counts, End, Status
from storage.ledger import Ledger
from storage.names import BatchKey, page_of_shard

LOOK_SECONDS = 1.0  # between two looks at what only the store knows: wishes, the end
SILENT_SECONDS = 2.0  # that Redis is left alone after it did not answer
if TYPE_CHECKING:  # it brings redis, and a finished batch is shown without
    from storage.progress import Progress, Snapshot

REMEMBERED = 256  # batches of which a reader remembers what it read


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the store says of a batch that runs."""

    planned: bool = False  # all pages stand
    begun: bool = False  # a planner was here
    scans: int = 0
    left_out: int = 0
    counts: Counts = field(default_factory=Counts)
    live: Counts = field(default_factory=Counts)  # known to Redis only
    pages: tuple[tuple[int, int], ...] = ()  # of each page: scans, left-out files
    counted: frozenset[int] = frozenset()  # shards that are in `counts`


def tally(ledger: Ledger, key: BatchKey, before: Tally) -> Tally:
    """Bring a tally up to date: reads the pages and results that were not there `before`."""
    done = ledger.done(key)  # first, so that no result is counted whose page is not
    end = ledger.plan_end(key)
    if end is not None and end.pages < len(before.pages):
        before = Tally()  # cancelling cut pages off that were seen
    pages = list(before.pages)
    for page in ledger.pages(key, end, start=len(pages)):
        scans = sum(len(shard.scans) for shard in page.shards)
        pages.append((scans, page.left_out.lines if page.left_out else 0))
    counted = {shard for shard in done if page_of_shard(shard) < len(pages)} - before.counted
    counts = before.counts
    for shard in sorted(counted):
        counts += Counts.of(ledger.results(key, shard) or ())
    return Tally(
        planned=end is not None,
        begun=bool(pages) or end is not None or ledger.plan_start(key) is not None,
        scans=sum(scans for scans, _ in pages),
        left_out=sum(left for _, left in pages),
        counts=counts,
        pages=tuple(pages),
        counted=before.counted | counted,
    )


@dataclass
class _Seen:
    """What a reader knows of one batch."""

    batch: Batch | None = None
    end: End | None = None
    cancelling: bool = False
    looked: float = -math.inf  # when the store was last asked for the three above, seconds
    tally: Tally = field(default_factory=Tally)
    told: int = 0  # scans done, as last told


class StatusReader:
    """Reads statuses; one a process, shared by its threads."""

    def __init__(
        self,
        ledger: Ledger,
        progress: "Progress | None" = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._progress = progress
        self._clock = clock
        self._silent_until = -math.inf  # Redis is not asked before
        self._lock = Lock()
        self._seen: OrderedDict[BatchKey, _Seen] = OrderedDict()

    def read(self, key: BatchKey, *, look: bool = False) -> Status:
        """Where a batch stands now; `look` has the store asked for wishes and the end, however short ago it was.

        Raises:
            Refused: `not_found`, or `gone` while it is being deleted.
            Unavailable: the store does not answer.
        """
        seen = self._remember(key)
        snapshot = self._snapshot(key) if seen.end is None else None
        complete = snapshot is not None and snapshot.planned and snapshot.counts.done >= snapshot.scans
        if snapshot is None or complete or look or self._clock() - seen.looked > LOOK_SECONDS:
            self._look(key, seen)
        batch = seen.batch
        assert batch is not None, "it was read at the first look"
        if seen.end is not None:
            return finished_status(batch, seen.end)
        if batch.abandoned:
            return _status(batch, seen, Tally(), BatchState.ABANDONED)
        if snapshot is None or snapshot.counts.done < seen.told:
            seen.tally = tally(self._ledger, key, seen.tally)
            found = seen.tally
        else:
            found = _whole(snapshot)
        seen.told = found.counts.done
        return _status(batch, seen, found, BatchState.RUNNING if found.begun else BatchState.ACCEPTED)

    def forget(self, key: BatchKey) -> None:
        """The batch is being deleted: every process learns it at its next reading."""
        self._drop(key)
        if self._progress is not None:
            with contextlib.suppress(Unavailable):
                self._progress.forget(key)

    def _look(self, key: BatchKey, seen: _Seen) -> None:
        """Ask the store what Redis does not know: whether the batch is there, ended, or to be cancelled."""
        try:
            seen.batch = self._ledger.batch(key)
        except Refused:
            self._drop(key)
            raise
        if seen.end is None:
            seen.end = self._ledger.end(key)
            seen.cancelling = seen.end is None and self._ledger.cancelling(key)
        seen.looked = self._clock()

    def _snapshot(self, key: BatchKey) -> "Snapshot | None":
        """What Redis says; None where its counts are not whole or it does not answer."""
        if self._progress is None or self._clock() < self._silent_until:
            return None
        try:
            return self._progress.read(key)
        except Unavailable:
            self._silent_until = self._clock() + SILENT_SECONDS
            return None

    def _remember(self, key: BatchKey) -> _Seen:
        with self._lock:
            seen = self._seen.setdefault(key, _Seen())
            self._seen.move_to_end(key)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return seen

    def _drop(self, key: BatchKey) -> None:
        with self._lock:
            self._seen.pop(key, None)


def status(ledger: Ledger, progress: "Progress | None", key: BatchKey) -> Status:
    """Where a batch stands, for who asks once. Raises as `StatusReader.read`."""
    return StatusReader(ledger, progress).read(key)


def _whole(snapshot: "Snapshot") -> Tally:
    return Tally(
        planned=snapshot.planned,
        begun=snapshot.begun,
        scans=snapshot.scans,
        left_out=snapshot.left_out,
        counts=snapshot.counts,
        live=snapshot.live,
    )


def finished_status(batch: Batch, end: End) -> Status:
    """The status of a batch that ended."""
    return Status(
        id=batch.id,
        label=batch.label,
        state=end.state,
        code=end.code,
        created=batch.created,
        finished=end.finished,
        planned=True,
        scans=end.scans,
        counts=end.counts,
        left_out=end.left_out,
        reused=end.reused,
        duplicates=end.duplicates.lines if end.duplicates else 0,
        warnings=end.warnings,
        disclaimer=DISCLAIMER,
    )


def _status(batch: Batch, seen: _Seen, tally: Tally, state: BatchState) -> Status:
    return Status(
        id=batch.id,
        label=batch.label,
        state=state,
        code=Code.NEVER_HANDED_OVER if state is BatchState.ABANDONED else None,
        created=batch.created,
        planned=tally.planned,
        scans=tally.scans,
        counts=tally.counts,
        live=tally.live,
        left_out=tally.left_out,
        cancelling=seen.cancelling,
        disclaimer=DISCLAIMER,
    )
