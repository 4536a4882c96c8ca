"""Where a batch stands, for those who ask again and again.

Redis answers where it is ready; else the store does, from which each committed shard is read only once. What
a reader has told it never takes back: where Redis knows less than was told already, the store is asked.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from neurobatch.codes import DISCLAIMER, Code
from neurobatch.records import Batch, BatchState, Counts, End, Status
from storage.ledger import Ledger
from storage.names import BatchKey, page_of_shard

REMEMBERED = 256  # batches of which a reader remembers what it read


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the store says of a batch that runs."""

    planned: bool = False  # all pages stand
    begun: bool = False  # a planner was here
    scans: int = 0
    left_out: int = 0
    counts: Counts = field(default_factory=Counts)
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

    end: End | None = None
    tally: Tally = field(default_factory=Tally)
    told: int = 0  # scans done, as last told


class StatusReader:
    """Reads statuses; one a process, shared by its threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = Lock()
        self._seen: OrderedDict[BatchKey, _Seen] = OrderedDict()

    def read(self, key: BatchKey) -> Status:
        """Where a batch stands now.

        Raises:
            Refused: `not_found`, or `gone` while it is being deleted.
            Unavailable: the store does not answer.
        """
        batch = self._ledger.batch(key)
        seen = self._remember(key)
        if seen.end is None:
            seen.end = self._ledger.end(key)
        if seen.end is not None:
            return finished_status(batch, seen.end)
        if batch.abandoned:
            return _status(batch, BatchState.ABANDONED, Tally(), code=Code.NEVER_HANDED_OVER)
        seen.tally = tally(self._ledger, key, seen.tally)
        state = BatchState.RUNNING if seen.tally.begun else BatchState.ACCEPTED
        return _status(batch, state, seen.tally, cancelling=self._ledger.cancelling(key))

    def _remember(self, key: BatchKey) -> _Seen:
        with self._lock:
            seen = self._seen.setdefault(key, _Seen())
            self._seen.move_to_end(key)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return seen


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
        warnings=end.warnings,
        disclaimer=DISCLAIMER,
    )


def _status(
    batch: Batch, state: BatchState, tally: Tally, *, code: Code | None = None, cancelling: bool = False
) -> Status:
    return Status(
        id=batch.id,
        label=batch.label,
        state=state,
        code=code,
        created=batch.created,
        planned=tally.planned,
        scans=tally.scans,
        counts=tally.counts,
        left_out=tally.left_out,
        cancelling=cancelling,
        disclaimer=DISCLAIMER,
    )
