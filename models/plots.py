"""Plots of figures, as PNG. Drawn with Matplotlib's Agg canvas: no display, no state, no `pyplot`.

Importing this module costs the import of Matplotlib, so only what draws imports it.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from PIL import Image

from models.scores import BINS
from models.summary import title_of

DPI = 100
PANEL = 3.0  # inches, side of a small plot
COLUMNS = 3  # small plots beside each other
FEW = 64  # colours of a plot: a fifth of the bytes, and no eye sees it


def roc(parts: Mapping[str, Any], file: Path) -> bool:
    """ROC of every part with both classes, and where each part's threshold puts it. False: there is none."""
    chosen = {name: figures for name, figures in parts.items() if figures.get("roc")}
    if not chosen:
        return False
    drawing, axes = _single("1 − specificity", "sensitivity")
    for name, figures in chosen.items():
        line = axes.plot(*zip(*figures["roc"], strict=True), label=f"{title_of(name)}: AUC {figures['auc']:.3f}")[0]
        axes.plot(1 - figures["specificity"], figures["recall"], "o", color=line.get_color())
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.set_title("ROC; dots: at the threshold")
    axes.legend(loc="lower right", fontsize="small")
    return _saved(drawing, file)


def precision_recall(parts: Mapping[str, Any], file: Path) -> bool:
    """Precision over sensitivity of every part with both classes. False: there is none."""
    chosen = {name: figures for name, figures in parts.items() if figures.get("precision_recall")}
    if not chosen:
        return False
    drawing, axes = _single("sensitivity", "precision")
    for name, figures in chosen.items():
        label = f"{title_of(name)}: average precision {figures['average_precision']:.3f}"
        points = zip(*figures["precision_recall"], strict=True)
        line = axes.plot(*points, drawstyle="steps-pre", label=label)[0]
        if figures["precision"] is not None:
            axes.plot(figures["recall"], figures["precision"], "o", color=line.get_color())
    axes.set_title("Precision and sensitivity; dots: at the threshold")
    axes.legend(loc="lower left", fontsize="small")
    return _saved(drawing, file)


def reliability(parts: Mapping[str, Any], file: Path) -> bool:
    """How often there is a tumour where the probability says so, in 15 bins, of every part with both classes.

    A dot's area says how many pictures it stands for. False: there is no such part.
    """
    chosen = {name: figures for name, figures in parts.items() if figures.get("roc")}
    if not chosen:
        return False
    drawing, panels = _panels(len(chosen))
    for axes, (name, figures) in zip(panels, chosen.items(), strict=True):
        bins = figures["reliability"]
        most = max(each["pictures"] for each in bins)
        axes.plot([0, 1], [0, 1], ":", color="grey")
        axes.plot([each["probability"] for each in bins], [each["rate"] for each in bins], "-", color="lightsteelblue")
        axes.scatter(
            [each["probability"] for each in bins],
            [each["rate"] for each in bins],
            s=[8 + 90 * each["pictures"] / most for each in bins],
            color="tab:blue",
        )
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
        axes.set_title(f"{title_of(name)}\nECE {figures['ece']:.3f}, {figures['pictures']} pictures", fontsize="small")
    drawing.supxlabel("calibrated probability", fontsize="small")
    drawing.supylabel(f"share with a tumour, in {BINS} bins", fontsize="small")
    return _saved(drawing, file)


def confusion(parts: Mapping[str, Any], file: Path) -> bool:
    """Confusion matrices at the operating point. False: there is none."""
    chosen = {name: figures["confusion"] for name, figures in parts.items() if "confusion" in figures}
    if not chosen:
        return False
    drawing, panels = _panels(len(chosen))
    for axes, (name, counts) in zip(panels, chosen.items(), strict=True):
        cells = ((counts["tp"], counts["fn"]), (counts["fp"], counts["tn"]))
        shades = [[each / max(1, sum(row)) for each in row] for row in cells]
        axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.4)
        for place, row in enumerate(cells):
            for column, count in enumerate(row):
                axes.text(column, place, str(count), ha="center", va="center")
        axes.set_xticks([0, 1], ["tumour", "none"])
        axes.set_yticks([0, 1], ["tumour", "none"], rotation=90, va="center")
        axes.set_title(title_of(name), fontsize="small")
    drawing.supxlabel("said", fontsize="small")
    drawing.supylabel("labelled", fontsize="small")
    return _saved(drawing, file)


PLOTS = {"confusion": confusion, "roc": roc, "precision-recall": precision_recall, "reliability": reliability}


def draw_plots(parts: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw every plot that these figures fill; gives the names of the files."""
    return [f"{name}.png" for name, draw in PLOTS.items() if draw(parts, folder / f"{name}.png")]


def grid(count: int, columns: int = COLUMNS, panel: float = PANEL) -> tuple[Drawing, list[Axes]]:
    """An empty drawing with `count` panels."""
    rows = -(-count // columns)
    columns = min(count, columns)
    drawing = Drawing(figsize=(panel * columns + 0.3, panel * 1.1 * rows + 0.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(rows, columns, squeeze=False).reshape(-1)
    for spare in axes[count:]:
        spare.set_axis_off()
    return drawing, list(axes[:count])


def save(drawing: Drawing, file: Path, *, colours: int | None = None) -> None:
    """Write a drawing as PNG, in so many colours or all; no program and no time in it: equal ones are equal bytes."""
    out = io.BytesIO()
    drawing.savefig(out, format="png", metadata={"Software": None})
    picture = Image.open(out).convert("RGB")
    (picture.quantize(colours) if colours else picture).save(file, "PNG", optimize=True)


def _panels(count: int) -> tuple[Drawing, list[Axes]]:
    drawing, panels = grid(count)
    for axes in panels:
        axes.set_aspect("equal")
        axes.tick_params(labelsize="x-small")
    return drawing, panels


def _single(across: str, up: str) -> tuple[Drawing, Axes]:
    drawing, (axes,) = grid(1, panel=6.0)
    axes.set(xlabel=across, ylabel=up, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.3)
    return drawing, axes


def _saved(drawing: Drawing, file: Path) -> bool:
    save(drawing, file, colours=FEW)
    return True
