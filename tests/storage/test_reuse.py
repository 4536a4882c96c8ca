"""Results that are taken over, and what is repeated in a batch."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.records import (
    ContentLine,
    Cursor,
    DuplicateLine,
    End,
    Page,
    PlanEnd,
    Result,
    ScanState,
    Shard,
    load_lines,
)
from storage import names, reuse
from storage.endings import cancel, delete, finalise, line_of
from storage.gc import sweep
from storage.ledger import Content, Ledger, ResultFiles
from storage.memory import Memory
from storage.names import BatchKey
from tests.storage.test_ledger_stateful import accept, scan_of

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=2)
ONE, OTHER = (BatchKey("local", names.new_batch_id()) for _ in range(2))
SCAN = scan_of(0, "00.png")
SAME = "ab" * 32  # a key
FILES = {"report.json": Content("application/json", b"{}"), "mask.png": Content("image/png", b"a mask")}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(Memory())


def judged(ledger: Ledger, key: BatchKey, *contents: str | None, kept: str | None = None, reused: bool = False) -> None:
    """A batch of one shard whose scans hold these contents; None is a scan that failed. Finalised."""
    accept(key, ledger.objects)
    scans = [scan_of(number, f"{number:02d}.png") for number in range(len(contents))]
    ledger.put_page(key, Page(number=0, shards=(Shard(number=0, scans=tuple(scans)),), cursor=Cursor(), files=1))
    ledger.end_plan(key, PlanEnd(pages=1))
    lines = [
        ContentLine(scan=scan.id, content=digest(content), kept=kept, reused=reused)
        for scan, content in zip(scans, contents, strict=True)
        if content is not None
    ]
    results = [
        line_of(scan, state=ScanState.SUCCEEDED if content is not None else ScanState.SKIPPED)
        for scan, content in zip(scans, contents, strict=True)
    ]
    if kept is not None:
        artifacts = ledger.put_results_files([ResultFiles(key, scans[0].id, FILES, kept)])[0]
        results[0] = results[0].model_copy(update={"artifacts": artifacts})
    reuse.put_contents(ledger, key, 0, lines)
    ledger.commit(key, 0, results)
    assert finalise(ledger, key, NOW) is not None


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def end_of(ledger: Ledger, key: BatchKey) -> End:
    end = ledger.end(key)
    assert end is not None
    return end


# -- taking over ---------------------------------------------------------------------------------------------------


def test_a_result_is_found_by_its_key_with_all_its_files_and_by_its_own_tenant_only(ledger: Ledger) -> None:
    ledger.put_results_files([ResultFiles(ONE, SCAN.id, FILES, SAME)])
    assert reuse.find(ledger, "local", SAME) == ResultFiles(ONE, SCAN.id, FILES, SAME)
    assert reuse.find(ledger, "another", SAME) is None
    assert reuse.find(ledger, "local", "cd" * 32) is None


@pytest.mark.parametrize("damage", [None, b"another mask"])
def test_a_result_that_is_not_whole_any_more_is_not_found(ledger: Ledger, damage: bytes | None) -> None:
    artifacts = ledger.put_results_files([ResultFiles(ONE, SCAN.id, FILES, SAME)])[0]
    name = names.artifact(ONE, SCAN.id, names.result_digest(artifacts), "mask.png")
    if damage is None:
        ledger.objects.delete([name])
    else:
        ledger.objects.put(name, damage)
    assert reuse.find(ledger, "local", SAME) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"schema":"neurobatch.reusable/99"}'])
def test_a_pointer_that_cannot_be_read_is_none(ledger: Ledger, damage: bytes) -> None:
    ledger.objects.put(names.reusable("local", SAME), damage)
    assert reuse.find(ledger, "local", SAME) is None


def test_deleting_a_batch_takes_what_points_to_it_and_leaves_what_points_to_others(ledger: Ledger) -> None:
    judged(ledger, ONE, "a", kept=SAME)
    judged(ledger, OTHER, "b", kept="cd" * 32)
    delete(ledger, ONE, NOW)
    assert reuse.find(ledger, "local", SAME) is None
    assert [stored.name for stored in ledger.objects.list("reuse/")] == [names.reusable("local", "cd" * 32)]


def test_deleting_a_batch_that_took_over_leaves_the_first_as_it_was(ledger: Ledger) -> None:
    judged(ledger, ONE, "a", kept=SAME)
    judged(ledger, OTHER, "a", reused=True)
    assert (end_of(ledger, ONE).reused, end_of(ledger, OTHER).reused) == (0, 1)
    delete(ledger, OTHER, NOW)
    assert reuse.find(ledger, "local", SAME) == ResultFiles(ONE, SCAN.id, FILES, SAME)


def test_what_a_late_worker_put_for_a_deleted_batch_is_swept(ledger: Ledger) -> None:
    judged(ledger, ONE, "a", kept=SAME)
    delete(ledger, ONE, NOW)
    ledger.put_results_files([ResultFiles(ONE, SCAN.id, FILES, SAME)])
    for _ in range(2):  # files first, then what points to them
        sweep(ledger, "local", LATER)
    assert list(ledger.objects.list("")) == []


def test_a_sweep_leaves_what_can_be_taken_over(ledger: Ledger) -> None:
    judged(ledger, ONE, "a", kept=SAME)
    assert sweep(ledger, "local", LATER).objects == 0
    assert reuse.find(ledger, "local", SAME) is not None


# -- what is repeated ----------------------------------------------------------------------------------------------


def test_duplicates_are_named_where_the_batch_ends_and_its_results_say_nothing_of_them(ledger: Ledger) -> None:
    judged(ledger, ONE, "a", "b", "a", None, "a")
    judged(ledger, OTHER, "a", "b", "c", None, "d")
    end, without = end_of(ledger, ONE), end_of(ledger, OTHER)
    assert end.duplicates is not None
    lines = list(load_lines(DuplicateLine, ledger.objects.get(ONE.prefix + end.duplicates.name)))
    assert [(line.path, line.first_path) for line in lines] == [("02.png", "00.png"), ("04.png", "00.png")]
    assert end.duplicates.lines == 2
    assert without.duplicates is None
    assert (end.warnings, without.warnings) == ((Code.DUPLICATE_SCANS,), ())
    assert (end.results, end.table) == (without.results, without.table)


def test_what_was_cancelled_is_no_duplicate(ledger: Ledger) -> None:
    accept(ONE, ledger.objects)
    scans = tuple(scan_of(number, f"{number:02d}.png") for number in range(2))
    ledger.put_page(ONE, Page(number=0, shards=(Shard(number=0, scans=scans),), cursor=Cursor(), files=1))
    reuse.put_contents(ledger, ONE, 0, [ContentLine(scan=scan.id, content=SAME, reused=True) for scan in scans])
    end = cancel(ledger, ONE, NOW)
    assert end is not None
    assert (end.duplicates, end.reused) == (None, 0)


@given(shards=st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), max_size=6))
def test_of_equal_scans_all_but_the_first_in_plan_order_are_duplicates_of_it(shards: list[list[str]]) -> None:
    firsts: dict[str, str] = {}
    expected, found, number = [], [], 0
    with reuse.Repeats() as repeats:
        for shard in shards:
            results: list[Result] = []
            lines: list[ContentLine] = []
            for content in shard:
                scan = scan_of(number, f"{number:02d}.png")
                number += 1
                results.append(line_of(scan, state=ScanState.SUCCEEDED))
                lines.append(ContentLine(scan=scan.id, content=digest(content)))
                first = firsts.setdefault(content, scan.id)
                expected += [(scan.id, first)] if first != scan.id else []
            found += [(line.scan, line.first) for line in repeats.among(results, lines)]
    assert found == expected
