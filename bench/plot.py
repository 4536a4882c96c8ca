"""A report as a plot: bars of its ratios, or a curve where its rows are points of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH, BAR, EDGE = 7.0, 0.32, 1.1  # inches: of a plot, of a bar, and of title and axis together


class Point(Protocol):
    """What is drawn of a row."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def median(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def ratio(self) -> float | None: ...
    @property
    def at(self) -> int | None: ...


def draw(title: str, ratio: str, rows: Sequence[Point], file: Path) -> None:
    """Write an SVG; equal rows give equal bytes.

    Args:
        title: what the report asks.
        ratio: what its ratios say.
        rows: its figures. Where all have a place on a curve it is drawn, beside what would be linear; else bars of
            those that have a ratio, or of all medians where none has.
        file: where it goes.
    """
    curve = all(row.at is not None for row in rows)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9, "font.family": "sans-serif"}):
        figure = Figure(figsize=(WIDTH, 4.0 if curve else EDGE + BAR * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, fontsize="medium", loc="left", wrap=True)
        (_curve if curve else _bars)(axes, ratio, rows)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def _bars(axes: Axes, ratio: str, rows: Sequence[Point]) -> None:
    compared = [row for row in rows if row.ratio is not None]
    shown = compared or list(rows)
    values = [row.median if row.ratio is None else row.ratio for row in shown]
    bars = axes.barh([row.name for row in shown], values, color="#4477aa")
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(ratio if compared else ", ".join(sorted({row.unit for row in shown})))
    if compared and max(values) > 1:
        axes.axvline(1.0, color="grey", linestyle=":")


def _curve(axes: Axes, _: str, rows: Sequence[Point]) -> None:
    places = [row.at or 0 for row in rows]
    medians = [row.median for row in rows]
    spread = [[row.median - row.low for row in rows], [row.high - row.median for row in rows]]
    axes.errorbar(places, medians, yerr=spread, marker="o", capsize=3, color="#4477aa", label="measured")
    linear = [medians[0] * place / places[0] for place in places]
    axes.plot(places, linear, color="grey", linestyle=":", label="linear")
    axes.set_xticks(places, [row.name for row in rows])
    axes.set_ylabel(rows[0].unit)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
