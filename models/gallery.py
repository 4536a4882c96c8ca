"""The worst cases as one sheet a part: the picture, who outlined what, and the disclaimer."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from models.plots import grid, save
from models.summary import title_of
from models.worst import Case
from neurobatch.codes import DISCLAIMER

COLUMNS = 4
COLOURS = {"reader": "lime", "second reader": "deepskyblue", "network": "red"}


def draw_gallery(cases: Sequence[Case], folder: Path) -> list[str]:
    """Draw a sheet for each part that has cases; gives the files' names, which are numbers and tell of no patient."""
    parts = list(dict.fromkeys(case.part for case in cases))
    names = []
    for number, part in enumerate(parts, 1):
        name = f"worst-{number}.png"
        _sheet([case for case in cases if case.part == part], title_of(part), folder / name)
        names.append(name)
    return names


def _sheet(cases: Sequence[Case], title: str, file: Path) -> None:
    drawing, panels = grid(len(cases), COLUMNS)
    for axes, case in zip(panels, cases, strict=True):
        _draw(axes, case)
    drawn = [name for name in COLOURS if any(name in case.outlines for case in cases)]
    if drawn:
        drawing.legend(
            handles=[Line2D([], [], color=COLOURS[name], label=name) for name in drawn],
            loc="outside upper right",
            ncols=len(drawn),
            fontsize="small",
        )
    drawing.suptitle(f"{title}: the worst cases", fontsize="medium", x=0.02, ha="left")
    drawing.supxlabel(textwrap.fill(DISCLAIMER, 24 * min(len(cases), COLUMNS) + 12), fontsize="small")
    save(drawing, file)


def _draw(axes: Axes, case: Case) -> None:
    axes.imshow(case.picture, cmap="gray", vmin=0, vmax=255)
    for name, mask in case.outlines.items():
        if mask.any() and not mask.all():  # a contour of nothing is a warning
            axes.contour(mask, levels=[0.5], colors=[COLOURS[name]], linewidths=1)
    axes.set_title(case.caption, fontsize="x-small")
    axes.set_axis_off()
