"""What a person sees in a terminal: the live progress of a batch, its summary and its table of scans."""

import time
from collections import deque
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from neurobatch.codes import DISCLAIMER
from neurobatch.records import BatchState, Label, Result, ScanState, Status
from neurobatch.taking import printable

REFRESH = 0.5  # seconds between two looks
PLAIN_EVERY = 10.0  # seconds between two lines where no terminal listens
RATE_OVER = 30.0  # seconds over which scans a second are measured
ROWS = 40  # of a table of scans, before it is cut

FINAL = frozenset({BatchState.COMPLETED, BatchState.CANCELLED, BatchState.FAILED, BatchState.ABANDONED})
_COLOUR = {Label.TUMOUR: "bold red", Label.NO_TUMOUR: "green", Label.NEEDS_REVIEW: "yellow"}


class Pace:
    """Scans a second over the last half minute, and what time is left at that pace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, done: int) -> None:
        """Remember how many scans are done now."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_OVER:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Scans a second; 0 where nothing moved."""
        (began, first), (now, last) = (self._seen[0], self._seen[-1]) if self._seen else ((0.0, 0), (0.0, 0))
        return (last - first) / (now - began) if now > began else 0.0

    def left(self, status: Status) -> float | None:
        """Seconds left; None where that is not known."""
        missing = max(0, status.scans - (status.counts + status.live).done)
        return missing / self.rate if status.planned and self.rate > 0 else None


def follow(read: Callable[[], Status], console: Console, *, watch: Callable[[], None] = lambda: None) -> Status:
    """Show a batch until it ends; returns its last status.

    `watch` is called at each look and may raise, for instance where the worker has died.
    """
    pace = Pace()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        console=console,
        auto_refresh=False,
    )
    task = bar.add_task("planning", total=None, told="")
    spoke = time.monotonic()
    most = 0  # scans done or as good as done, so that a bar never goes back
    with Live(bar, console=console, auto_refresh=False, transient=True):
        while True:
            status = read()
            most = max(most, min(status.scans, (status.counts + status.live).done))
            pace.note(most)
            bar.update(
                task,
                description=_stage(status),
                total=status.scans if status.planned else None,
                completed=most,
                told=told(status, pace),
                refresh=True,
            )
            if status.state in FINAL:
                return status
            if not console.is_terminal and time.monotonic() - spoke >= PLAIN_EVERY:
                console.print(f"{_stage(status)}: {told(status, pace)}", highlight=False)
                spoke = time.monotonic()
            watch()
            time.sleep(REFRESH)


def _stage(status: Status) -> str:
    if status.cancelling:
        return "cancelling"
    if status.planned:
        return "judging"
    return "planning" if status.scans == 0 else "planning and judging"


def told(status: Status, pace: Pace) -> str:
    """Scans done of all, tumours found, failed, scans a second, time left."""
    counts = status.counts + status.live
    done = min(counts.done, status.scans)
    parts = [
        f"{done}/{status.scans}{'' if status.planned else '+'} scans",
        f"{counts.tumour} tumour",
        f"{counts.needs_review} to review",
        f"{counts.failed} failed",
    ]
    if pace.rate > 0:
        parts.append(f"{pace.rate:.1f} scans/s")
    left = pace.left(status)
    if left is not None and done < status.scans:
        parts.append(f"{clock(left)} left")
    return " · ".join(parts)


def clock(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def scans_table(results: Iterable[Result], *, rows: int = ROWS) -> Table:
    """One row a scan, at most `rows`; the last row says how many more there are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("scan", "state", "finding", "probability", "extent", "remarks"):
        table.add_column(name, justify="right" if name in ("probability", "extent") else "left", overflow="fold")
    more = 0
    for number, result in enumerate(results):
        if number >= rows:
            more += 1
            continue
        table.add_row(
            Text(printable(result.path)),
            Text(result.state.value),
            _finding(result),
            _chance(result),
            _extent(result),
            _why(result),
        )
    if more:
        table.add_row(Text(f"… and {more} more", style="dim"))
    return table


def _finding(result: Result) -> Text:
    if result.finding is None:
        return Text("–", style="dim")
    return Text(result.finding.label.value.replace("_", " "), style=_COLOUR[result.finding.label])


def _chance(result: Result) -> str:
    return f"{result.finding.probability:.3f}" if result.finding else ""


def _extent(result: Result) -> str:
    if not any(extent.pixels for extent in result.extents):
        return ""
    extent = max(result.extents, key=lambda extent: extent.pixels)
    if extent.volume_mm3 is not None:
        return f"{extent.volume_mm3 / 1000:.1f} ml"
    if extent.area_mm2 is not None:
        return f"{extent.area_mm2:.0f} mm²"
    return f"{extent.pixels} px"


def _why(result: Result) -> Text:
    if result.code is not None:
        return Text(f"{result.code}: {result.code.sentence}", style="red" if result.state is ScanState.FAILED else "")
    reasons = result.finding.reasons if result.finding else ()
    return Text(", ".join(code.value for code in (*reasons, *result.warnings)), style="dim")


def summary(status: Status) -> Table:
    """The counts of a batch, one a row."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    counts = status.counts
    table.add_row("scans", str(status.scans))
    for name in ("tumour", "no_tumour", "needs_review", "failed", "skipped", "cancelled"):
        if getattr(counts, name) or name in ("tumour", "no_tumour"):
            table.add_row(f"  {name.replace('_', ' ')}", str(getattr(counts, name)))
    table.add_row("slices", str(counts.slices))
    table.add_row("files left out", str(status.left_out))
    if status.duplicates:
        table.add_row("duplicates", str(status.duplicates))
    if status.reused:
        table.add_row("results taken over", str(status.reused))
    return table


def show_batch(console: Console, status: Status, results: Iterable[Result], *, rows: int = ROWS) -> None:
    """State, table of scans, counts, and what the whole is not."""
    colour = {BatchState.COMPLETED: "green", BatchState.FAILED: "red"}.get(status.state, "yellow")
    console.print(Text.assemble("batch ", (status.id, "bold"), " ", (status.state.value, colour)))
    for code in (status.code, *status.warnings):
        if code is not None:
            console.print(f"[yellow]{code}[/]: {code.sentence}", highlight=False)
    if status.scans:
        console.print(scans_table(results, rows=rows))
    console.print(summary(status))
    console.print(Text(DISCLAIMER, style="dim"))
