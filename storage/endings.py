"""How a batch ends: cancelled, finalised, abandoned or deleted; and what recovery finds left to do.

Each function can be stopped between any two puts and called again, or run twice at once: they only ever put what
follows from commit points that stand already, so whoever goes on writes the same.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from neurobatch.codes import Code
from neurobatch.records import (
    Batch,
    BatchState,
    Counts,
    End,
    NamedFile,
    Page,
    PlanEnd,
    PlannedScan,
    Record,
    Result,
    ScanState,
    Shard,
)
from neurobatch.tables import csv_header, csv_row
from storage import names
from storage.ledger import JSONL, Ledger, Opened
from storage.names import BatchKey
from storage.reuse import Repeats, contents, forget

ABANDONED_AFTER = timedelta(days=1)  # a marker without `batch.json` this old was never handed over


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to do for one open batch; the bells to ring follow from it."""

    plan: bool = False
    shards: tuple[int, ...] = ()
    finalise: bool = False


def cancelled_result(scan: PlannedScan) -> Result:
    """The line of a scan that was cancelled before it was judged."""
    return line_of(scan, state=ScanState.CANCELLED)


def failed_result(scan: PlannedScan, code: Code) -> Result:
    """The line of a scan that cannot be judged."""
    return line_of(scan, state=ScanState.FAILED, code=code)


def line_of(scan: PlannedScan, *, state: ScanState, code: Code | None = None) -> Result:
    """A result line that says where the scan came from, and no verdict."""
    return Result(
        scan=scan.id,
        state=state,
        code=code,
        kind=scan.kind,
        source=scan.files[0].source,
        path=scan.path,
        files=len(scan.files),
        study_uid=scan.study_uid,
        series_uid=scan.series_uid,
    )


def cancel(ledger: Ledger, key: BatchKey, now: datetime) -> End | None:
    """Cancel a batch: every scan is done or cancelled afterwards. A batch that ended before stays as it is.

    None where a deletion takes the batch away in the meantime.
    """
    ended = ledger.end(key)
    if ended is not None:
        return ended
    ledger.wish_cancel(key, now)
    plan = ledger.plan_end(key)
    if plan is None:
        standing = sum(1 for _ in ledger.pages(key))
        plan = ledger.end_plan(key, PlanEnd(pages=standing, outcome="cancelled"))
    done = ledger.done(key)
    for shard in _shards(ledger.pages(key, plan)):
        if shard.number not in done:
            ledger.commit(key, shard.number, [cancelled_result(scan) for scan in shard.scans])
    return finalise(ledger, key, now)


def finalise(ledger: Ledger, key: BatchKey, now: datetime) -> End | None:
    """Concatenate all results in plan order and put `end.json`; None where something is still to come."""
    ended = ledger.end(key)
    plan = ledger.plan_end(key) if ended is None else None
    if ended is None and plan is not None:
        ended = _finish(ledger, key, plan, now)
    if ended is not None and not ledger.deleting(key):
        ledger.close(key)
    return ended


def _finish(ledger: Ledger, key: BatchKey, plan: PlanEnd, now: datetime) -> End | None:
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(_Spool("jsonl"))
        table = stack.enter_context(_Spool("csv"))
        left = stack.enter_context(_Spool("left-out.jsonl"))
        duplicates = stack.enter_context(_Spool("duplicates.jsonl"))
        repeats = stack.enter_context(Repeats())
        table.write(csv_header())
        counts = Counts()
        for page in ledger.pages(key, plan):
            for shard in page.shards:
                results = ledger.results(key, shard.number)
                if results is None:
                    return None
                counts += Counts.of(results)
                for result in results:
                    lines.add(result)
                    table.write(csv_row(result), lines=1)
                for repeated in repeats.among(results, contents(ledger, key, shard.number)):
                    duplicates.add(repeated)
            for line in ledger.left_out(key, page):
                left.add(line)
        state = _state(plan, counts)
        end = End(
            state=state,
            code=plan.code if state is BatchState.FAILED else None,
            finished=now,
            scans=lines.lines,
            counts=counts,
            left_out=left.lines,
            warnings=tuple(_warnings(state, lines.lines, duplicates.lines)),
            results=lines.put(ledger, key),
            table=table.put(ledger, key, "text/csv; charset=utf-8"),
            left_out_list=left.put(ledger, key),
            reused=repeats.reused,
            duplicates=duplicates.put(ledger, key) if duplicates.lines else None,
        )
    return ledger.put_end(key, end)


def _warnings(state: BatchState, scans: int, duplicates: int) -> Iterator[Code]:
    if state is BatchState.COMPLETED and not scans:
        yield Code.NO_SCANS
    if duplicates:
        yield Code.DUPLICATE_SCANS


def _state(plan: PlanEnd, counts: Counts) -> BatchState:
    if plan.outcome == "failed":
        return BatchState.FAILED
    if plan.outcome == "cancelled" or counts.cancelled:
        return BatchState.CANCELLED
    return BatchState.COMPLETED


def abandon(ledger: Ledger, key: BatchKey, now: datetime) -> None:
    """Close a marker whose `batch.json` never came. An upload that completes later is refused."""
    stands = ledger.accept(Batch(id=key.batch, tenant=key.tenant, created=now, abandoned=True))
    if not stands.abandoned:
        return
    ledger.put_end(
        key,
        End(
            state=BatchState.ABANDONED,
            code=Code.NEVER_HANDED_OVER,
            finished=now,
            scans=0,
            counts=Counts(),
            left_out=0,
        ),
    )
    ledger.close(key)


def delete(ledger: Ledger, key: BatchKey, now: datetime) -> None:
    """Delete a batch and all under it; one that still runs is cancelled first.

    `batch.json` and `end.json` go last of what a reader sees, then the marker, then the wish: whatever stops in
    between is taken up by recovery, and a second deletion at the same time always finds an ended batch. What a
    late worker still puts is swept by `gc`.
    """
    ledger.wish_delete(key)
    if ledger.known(key) is not None:
        cancel(ledger, key, now)
    forget(ledger, key)
    kept = {names.batch(key), names.end(key), names.deletion(key)}
    ledger.objects.delete(stored.name for stored in ledger.objects.list(key.prefix) if stored.name not in kept)
    for name in (names.batch(key), names.end(key), names.marker(key), names.deletion(key)):
        ledger.objects.delete([name])  # one call each: S3 promises no order within one


def survey(ledger: Ledger, opened: Opened, now: datetime) -> Work:
    """What is left to do for an open batch. Ends by itself what needs no worker: wishes and abandoned uploads."""
    key = opened.key
    if ledger.deleting(key):
        delete(ledger, key, now)
        return Work()
    known = ledger.known(key)
    if known is None or known.abandoned:
        if known is not None or now - opened.since > ABANDONED_AFTER:
            abandon(ledger, key, now)
        return Work()
    if ledger.end(key) is not None:
        ledger.close(key)
        return Work()
    if ledger.cancelling(key):
        cancel(ledger, key, now)
        return Work()
    return _left(ledger, key)


def _left(ledger: Ledger, key: BatchKey) -> Work:
    plan = ledger.plan_end(key)
    done = ledger.done(key)
    waiting = tuple(shard.number for shard in _shards(ledger.pages(key, plan)) if shard.number not in done)
    return Work(plan=plan is None, shards=waiting, finalise=plan is not None and not waiting)


def tally(ledger: Ledger, key: BatchKey) -> Iterator[tuple[Page, dict[int, Counts]]]:
    """Page by page, the counts of the shards that are committed: what progress is rebuilt from."""
    done = ledger.done(key)
    for page in ledger.pages(key, ledger.plan_end(key)):
        counted = {}
        for shard in page.shards:
            results = ledger.results(key, shard.number) if shard.number in done else None
            if results is not None:
                counted[shard.number] = Counts.of(results)
        yield page, counted


def _shards(pages: Iterable[Page]) -> Iterator[Shard]:
    return (shard for page in pages for shard in page.shards)


class _Spool:
    """A file that grows on disk and is then put under the name of its content."""

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self._digest = hashlib.sha256()
        self._size = 0
        self.lines = 0

    def __enter__(self) -> "_Spool":
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(prefix="neurobatch-", delete=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: Record) -> None:
        self.write(record.dump() + b"\n", lines=1)

    def write(self, data: bytes, *, lines: int = 0) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)
        self.lines += lines

    def put(self, ledger: Ledger, key: BatchKey, media_type: str = JSONL) -> NamedFile:
        self._file.flush()
        digest = self._digest.hexdigest()
        name = names.results(digest, self._ending)
        ledger.objects.put(key.prefix + name, Path(self._file.name), content_type=media_type)
        return NamedFile(name=name, sha256=digest, size=self._size, lines=self.lines)
