"""What a person sees: progress that adds up, tables that are cut, nothing that a file's name could spoil."""

import io
from datetime import UTC, datetime

from rich.console import Console

from neurobatch.codes import DISCLAIMER, Code
from neurobatch.display import Pace, clock, follow, scans_table, show_batch, summary, told
from neurobatch.records import BatchState, Counts, Extent, Finding, Label, Result, ScanKind, ScanState, Status

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def status(done: int, scans: int, *, planned: bool = True, state: BatchState = BatchState.RUNNING) -> Status:
    return Status(
        id=ID,
        label="",
        state=state,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        planned=planned,
        scans=scans,
        counts=Counts(succeeded=done - 1, failed=1, tumour=2, no_tumour=done - 3),
        left_out=4,
        disclaimer=DISCLAIMER,
    )


def result(path: str, label: Label | None = Label.TUMOUR) -> Result:
    return Result(
        scan="000000001-0123456789ab",
        state=ScanState.SUCCEEDED if label else ScanState.FAILED,
        code=None if label else Code.DAMAGED,
        kind=ScanKind.PICTURE,
        source=0,
        path=path,
        files=1,
        finding=Finding(label=label, probability=0.9, threshold=0.4) if label else None,
        extents=(Extent(definition="x", pixels=7, volume_mm3=12_345.0),) if label else (),
    )


def shown(*renderables: object, width: int = 120) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for each in renderables:
        console.print(each)
    return out.getvalue()


def test_what_came_before_is_counted_where_there_is_something_to_count() -> None:
    ended = status(10, 10, state=BatchState.COMPLETED)
    assert "duplicates" not in shown(summary(ended))
    text = shown(summary(ended.model_copy(update={"duplicates": 3, "reused": 5})))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "duplicates 3" in rows
    assert "results taken over 5" in rows


def test_the_time_left_follows_from_the_last_half_minute() -> None:
    times = iter([0.0, 10.0, 20.0, 40.0])
    pace = Pace(lambda: next(times))
    for done in (0, 100, 200, 220):
        pace.note(done)
    assert pace.rate == 4.0  # from second 10 on
    assert pace.left(status(220, 300)) == 20.0
    assert pace.left(status(220, 300, planned=False)) is None


def test_nothing_is_promised_before_anything_moved() -> None:
    pace = Pace()
    assert pace.rate == 0.0
    assert pace.left(status(5, 10)) is None


def test_progress_tells_done_of_all_and_what_was_found() -> None:
    assert told(status(5, 10), Pace()) == "5/10 scans · 2 tumour · 0 to review · 1 failed"
    assert told(status(5, 10, planned=False), Pace()).startswith("5/10+ scans")


def test_time_is_shown_as_people_write_it() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 61, 3723)] == ["0:00", "1:00", "1:01", "1:02:03"]


def test_following_ends_with_the_batch_and_watches_meanwhile() -> None:
    looks = [status(3, 10, planned=False), status(10, 10), status(10, 10, state=BatchState.COMPLETED)]
    watched: list[int] = []
    last = follow(lambda: looks.pop(0), Console(file=io.StringIO()), watch=lambda: watched.append(1))
    assert last.state is BatchState.COMPLETED
    assert len(watched) == 2


def test_a_long_table_is_cut_and_says_so() -> None:
    text = shown(scans_table([result(f"{n}.png") for n in range(50)], rows=10))
    assert "9.png" in text
    assert "10.png" not in text
    assert "and 40 more" in text


def test_a_table_row_tells_finding_probability_extent_and_code() -> None:
    text = shown(scans_table([result("a.png"), result("b.png", None)]))
    assert "tumour" in text
    assert "0.900" in text
    assert "12.3 ml" in text
    assert f"damaged: {Code.DAMAGED.sentence}" in text


def test_a_name_that_looks_like_markup_or_a_terminal_command_is_shown_as_it_is() -> None:
    text = shown(scans_table([result("[red]a[/red].png"), result("\x1b]0;title\x07b.png")]))
    assert "[red]a[/red].png" in text
    assert "\x1b" not in text


def test_a_shown_batch_ends_with_what_it_is_not() -> None:
    out = io.StringIO()
    show_batch(Console(file=out, width=200), status(10, 10, state=BatchState.COMPLETED), [result("a.png")])
    assert DISCLAIMER in out.getvalue()
    assert "completed" in out.getvalue()
