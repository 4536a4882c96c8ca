"""What a benchmark found: a record that is shown as a table, written as JSON, and put on a page."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median

from pydantic import Field
from rich.console import Console
from rich.table import Table

from bench.machine import Machine
from bench.plot import draw
from bench.ratios import times_as_fast
from neurobatch.records import Value

RATES = frozenset({"scans/s", "slices/s"})  # units in which more is better


class Row(Value):
    """One figure."""

    name: str
    unit: str
    median: float  # over the rounds
    low: float  # smallest of a round
    high: float  # largest of a round
    ratio: float | None = None  # as the report says
    at: int | None = None  # how many of what is counted, where the rows are points of a curve

    @classmethod
    def of(cls, name: str, unit: str, values: Sequence[float], base: Sequence[float] | None = None) -> "Row":
        """A figure of one value a round; with `base`, how many times as fast it is."""
        ratio = None if base is None else round(times_as_fast(values, base, rate=unit in RATES), 3)
        kept = [float(f"{value:.4g}") for value in (median(values), min(values), max(values))]
        return cls(name=name, unit=unit, median=kept[0], low=kept[1], high=kept[2], ratio=ratio)


class Report(Value):
    """The answer to one question."""

    name: str  # of the command, and of the file
    title: str  # the question
    ratio: str  # what the column of ratios says
    sizes: dict[str, str | int | float]  # what was asked for
    rows: tuple[Row, ...]
    absent: dict[str, str] = Field(default_factory=dict)  # what has no figure, and why
    notes: tuple[str, ...] = ()
    rounds: int
    seconds: float  # that it took, preparations included
    measured: date
    machine: Machine

    def write(self, folder: Path) -> Path:
        """Put it into `folder` as JSON and as a plot, written over where they are there; gives the JSON's path."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draw(self.title, self.ratio, self.rows, file.with_suffix(".svg"))
        return file

    def show(self, console: Console) -> None:
        """For a person."""
        console.print(self.title, style="bold", highlight=False)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        for name in ("median", f"of {self.rounds}", self.ratio):
            table.add_column(name, justify="right")
        for row in self.rows:
            table.add_row(row.name, f"{number(row.median)} {row.unit}", spread(row, self.rounds), ratio(row))
        for name, reason in self.absent.items():
            table.add_row(name, reason, "", "")
        console.print(table)
        for note in self.notes:
            console.print(note, highlight=False)
        asked = ", ".join(f"{name} {value}" for name, value in self.sizes.items())
        console.print(f"{asked}; {self.machine.told}; {self.seconds:.0f} s", style="dim", highlight=False)
        if not self.machine.idle:
            console.print("Others were at work on this machine: only the ratios say something.", style="yellow")


def number(value: float) -> str:
    """Three significant digits, and all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(row: Row, rounds: int) -> str:
    """From the smallest to the largest round."""
    return f"{number(row.low)}–{number(row.high)}" if rounds > 1 else ""


def ratio(row: Row) -> str:
    """As it is shown."""
    return "" if row.ratio is None else f"{row.ratio:.2f}"
