"""Pages of lists, read from the ledger: batches, their scans and left-out files. Knows no Flask.

Each page costs a bounded number of objects, however large the batch: a cursor is a place in the plan.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from api.shapes import LeftOutPage, ScanPage, ScanView
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import Label, LeftOutLine, Page, ScanState, Shard
from storage import names
from storage.ledger import Ledger
from storage.names import BatchKey

SHARDS_AT_ONCE = 100  # looked at for one answer, at most
PAGES_AT_ONCE = 20  # the same, of the plan

_FIRST_WINDOW = 60_000  # milliseconds
_LAST_ID = "ffffffff-ffff-7fff-bfff-ffffffffffff"


def newest_batches(ledger: Ledger, tenant: str, before: str | None = None) -> Iterator[str]:
    """Ids of a tenant's batches, newest first; those older than `before`, where it is given.

    A store lists forwards only, so windows of time that double in length are listed, back to the first batch.
    """
    first = next(iter(ledger.batches(tenant)), None)
    if first is None:
        return
    start = _milliseconds(first)
    now = int(datetime.now(UTC).timestamp() * 1000)
    end = max(_milliseconds(before) if before else now, start) + 1
    bound = before or _LAST_ID
    window = _FIRST_WINDOW
    while end > start:
        begin = max(end - window, start)
        after = _before(begin) if begin > start else ""
        found = []
        for batch in ledger.batches(tenant, after=after):
            if batch >= bound:
                break
            found.append(batch)
        yield from reversed(found)
        if found:
            bound = found[0]
        end = begin
        window *= 2


def _milliseconds(batch: str) -> int:
    """When a UUIDv7 was made: Unix time in milliseconds."""
    return int(batch.replace("-", "")[:12], 16)


def _before(milliseconds: int) -> str:
    """An id that sorts before all that were made at this time."""
    digits = f"{milliseconds - 1:012x}"
    return f"{digits[:8]}-{digits[8:]}-7fff-bfff-ffffffffffff"


def scan_page(
    ledger: Ledger,
    key: BatchKey,
    *,
    limit: int,
    cursor: str | None = None,
    state: ScanState | None = None,
    finding: Label | None = None,
) -> ScanPage:
    """Scans in plan order, also while the batch runs.

    `cursor` is where to begin: `{page of the plan}-{place of the shard in it}-{place of the scan in that}`.
    """
    number, shard, place = _numbers(cursor, 3)
    items: list[ScanView] = []
    looked = 0
    while (page := _page(ledger, key, number)) is not None:
        while shard < len(page.shards):
            if looked == SHARDS_AT_ONCE:
                return ScanPage(items=tuple(items), next=f"{number}-{shard}-{place}")
            looked += 1
            for view in _views(ledger, key, page.shards[shard])[place:]:
                if len(items) == limit:
                    return ScanPage(items=tuple(items), next=f"{number}-{shard}-{place}")
                place += 1
                if state in (None, view.state) and finding in (None, view.finding and view.finding.label):
                    items.append(view)
            shard, place = shard + 1, 0
        number, shard = number + 1, 0
    return ScanPage(items=tuple(items))


def scan(ledger: Ledger, key: BatchKey, scan_id: str) -> ScanView:
    """One scan. Raises `Refused(not_found)`."""
    page = _page(ledger, key, names.page_of_scan(scan_id))
    for shard in page.shards if page else ():
        for planned in shard.scans:
            if planned.id == scan_id:
                return next(view for view in _views(ledger, key, shard) if view.scan == scan_id)
    raise Refused(Code.NOT_FOUND, "There is no such scan in this batch.")


def left_out_page(ledger: Ledger, key: BatchKey, *, limit: int, cursor: str | None = None) -> LeftOutPage:
    """Files that are in no scan, in plan order; `cursor` is `{page of the plan}-{line in it}`."""
    number, line = _numbers(cursor, 2)
    items: list[LeftOutLine] = []
    looked = 0
    while (page := _page(ledger, key, number)) is not None:
        if looked == PAGES_AT_ONCE or len(items) == limit:
            return LeftOutPage(items=tuple(items), next=f"{number}-{line}")
        looked += 1
        found = list(islice(ledger.left_out(key, page), line, line + limit - len(items)))
        items += found
        line += len(found)
        if page.left_out is None or line >= page.left_out.lines:
            number, line = number + 1, 0
    return LeftOutPage(items=tuple(items))


def _views(ledger: Ledger, key: BatchKey, shard: Shard) -> list[ScanView]:
    results = ledger.results(key, shard.number)
    if results is None:
        return [ScanView.pending(scan) for scan in shard.scans]
    return [ScanView.of(result) for result in results]


def _page(ledger: Ledger, key: BatchKey, number: int) -> Page | None:
    """A page that exists: one beyond the plan's end was never part of it."""
    page = ledger.page(key, number)
    if page is None:
        return None
    end = ledger.plan_end(key)
    return page if end is None or number < end.pages else None


def _numbers(cursor: str | None, count: int) -> tuple[int, ...]:
    if cursor is None:
        return (0,) * count
    parts = cursor.split("-")
    if len(parts) != count or not all(part.isascii() and part.isdigit() for part in parts):
        raise Refused(Code.INVALID_FIELD, "cursor: is not one that was given out.")
    return tuple(int(part) for part in parts)
