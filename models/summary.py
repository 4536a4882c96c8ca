"""Figures as tables for people: the same rows on the terminal, in reports and on cards."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.lesions import LEAST_PX, OVERLAP

PARTS = {
    "lgg": "LGG, composite of three sequences",
    "lgg-flair": "LGG, FLAIR alone",
    "t1ce": "T1 after contrast",
    "navoneel": "web, 253-image set",
    "sartaj": "web, four-class set",
    "brisc": "web, healthy (BRISC)",
    "web": "web, all of them",
    "findings": "findings of the batch",
    "masks": "masks of the batch",
}
CLASSIFIER_COLUMNS = (
    ("auc", "AUC"),
    ("average_precision", "average precision"),
    ("accuracy", "accuracy"),
    ("recall", "sensitivity"),
    ("specificity", "specificity"),
    ("precision", "precision"),
)
OUTLINE_COLUMNS = (
    ("dice_mean", "Dice, mean"),
    ("dice_median", "Dice, median"),
    ("iou_mean", "IoU, mean"),
    ("lesion_sensitivity", "lesions found"),
    ("false_lesions_per_scan", "false lesions a scan"),
)
READER_COLUMNS = (
    ("first_second", "first and second reader"),
    ("ours_first", "network and first reader"),
    ("ours_second", "network and second reader"),
)
NOTHING = "–"
SHARE = f"{OVERLAP * 100:.0f} %"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with the sentence that goes before it."""

    title: str
    told: str  # what the columns mean; may be empty
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """All tables that these figures fill."""
    parts = figures["parts"]
    made = [*_classifier_tables(parts), *_outline_tables(parts), *_group_tables(parts), *_tables_of_rows(figures)]
    return [table for table in made if table.rows]


def as_json(figures: Mapping[str, Any]) -> str:
    """Every figure, as JSON."""
    return json.dumps(figures, indent=1) + "\n"


def as_text(table: Table) -> str:
    """For a terminal, in columns."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(table.header))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([table.title, *body])


def as_markdown(table: Table) -> str:
    """For cards."""
    lines = [table.header, ("---",) * len(table.header), *table.rows]
    body = (
        "\n".join("| " + " | ".join(line) + " |" for line in lines)
        .replace("| --- |", "|---|")
        .replace(" --- |", "---|")
    )
    return f"{table.told}\n\n{body}" if table.told else body


def as_csv(figures: Mapping[str, Any]) -> str:
    """Every figure that is a number, one a line: part, figure, value, and its interval where it has one."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("part", "figure", "value", "low_95", "high_95"))
    for part, measured in figures["parts"].items():
        for name, value, interval in _numbers(measured, ""):
            writer.writerow((part, name, value, *(interval or ("", ""))))
    return out.getvalue()


def title_of(part: str) -> str:
    """A part's name for people."""
    return PARTS.get(part, part)


def cell(figures: Mapping[str, Any], name: str) -> str:
    """A figure with its interval, three digits."""
    value, interval = figures.get(name), figures.get(f"{name}_95")
    if value is None:
        return NOTHING
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _classifier_tables(parts: Mapping[str, Any]) -> Iterator[Table]:
    judged = {name: figures for name, figures in parts.items() if "confusion" in figures}
    yield Table(
        title="Tumour or none",
        told="In brackets the 95 % interval by bootstrap over patients or groups.",
        header=("part", "pictures", "with tumour", "groups", *(title for _, title in CLASSIFIER_COLUMNS)),
        rows=tuple(
            (
                title_of(name),
                *(str(figures[key]) for key in ("pictures", "tumour", "groups")),
                *(cell(figures, key) for key, _ in CLASSIFIER_COLUMNS),
            )
            for name, figures in judged.items()
        ),
    )
    yield Table(
        title="Confusion at the operating point, calibration, review",
        told=(
            "A scan to be reviewed counts by its probability; how many there are stands beside. So few pictures have "
            "some calibration error (ECE) by chance alone: the last column tells how much, were each probability right."
        ),
        header=("part", "found", "missed", "false alarms", "passed", "to be reviewed", "ECE, 15 bins", "by chance"),
        rows=tuple(
            (
                title_of(name),
                *(str(figures["confusion"][key]) for key in ("tp", "fn", "fp", "tn")),
                f"{figures['needs_review_pictures']} ({figures['needs_review']:.3f})",
                cell(figures, "ece"),
                cell(figures, "ece_by_chance"),
            )
            for name, figures in judged.items()
        ),
    )
    thresholds = tuple(next(iter(judged.values()))["by_threshold"]) if judged else ()
    yield Table(
        title="Sensitivity / specificity at other thresholds",
        told="Sensitivity / specificity, were the threshold another one.",
        header=("part", *thresholds),
        rows=tuple(
            (title_of(name), *(_balance(figures["by_threshold"][at]) for at in thresholds))
            for name, figures in judged.items()
        ),
    )


def _outline_tables(parts: Mapping[str, Any]) -> Iterator[Table]:
    outlined = {name: figures for name, figures in parts.items() if "lesion_sensitivity" in figures}
    yield Table(
        title="Outlines",
        told=(
            "Dice and IoU by volume where slices are a patient's volume, else by slice. A lesion is a connected region "
            f"of at least {LEAST_PX} px, in three dimensions in volumes; it is found where {SHARE} of it are covered, "
            f"and one of the network's is false where less than {SHARE} of it were outlined."
        ),
        header=("part", "measured on", *(title for _, title in OUTLINE_COLUMNS)),
        rows=tuple(
            (title_of(name), _measured_on(figures), *(cell(figures, key) for key, _ in OUTLINE_COLUMNS))
            for name, figures in outlined.items()
            if figures["lesions"]
        ),
    )
    yield Table(
        title="Agreement of readers, mean Dice",
        told="Mean Dice on the slices that two readers outlined.",
        header=("part", "slices", *(title for _, title in READER_COLUMNS)),
        rows=tuple(
            (title_of(name), str(twice["slices"]), *(cell(twice, key) for key, _ in READER_COLUMNS))
            for name, figures in outlined.items()
            if (twice := figures.get("readers"))
        ),
    )
    healthy = {name: figures for name, figures in outlined.items() if figures.get("healthy")}
    sizes = tuple(next(iter(healthy.values()))["false_mask_rate_by_px"]) if healthy else ()
    yield Table(
        title="Pictures without tumour that get a mask",
        told="Share of the pictures without tumour that get a mask, by its least size in px of the picture.",
        header=("part", "pictures", *(f"{px} px" for px in sizes)),
        rows=tuple(
            (title_of(name), str(figures["healthy"]), *(f"{figures['false_mask_rate_by_px'][px]:.3f}" for px in sizes))
            for name, figures in healthy.items()
        ),
    )


def _group_tables(parts: Mapping[str, Any]) -> Iterator[Table]:
    for what in ("kind", "plane"):
        rows = tuple(
            (title_of(name), word, str(each["pictures"]), cell(each, "accuracy"), cell(each, "dice_mean"))
            for name, figures in parts.items()
            for word, each in figures.get(f"by_{what}", {}).items()
        )
        used = [k for k in range(5) if k < 3 or any(row[k] != NOTHING for row in rows)]
        header = ("part", what, "pictures", "accuracy", "Dice, mean")
        yield Table(
            title=f"By {what}",
            told=f"By {what}, as the sets state it.",
            header=tuple(header[k] for k in used),
            rows=tuple(tuple(row[k] for k in used) for row in rows),
        )


def _tables_of_rows(figures: Mapping[str, Any]) -> Iterator[Table]:
    """Labels and scans that were not compared, and rows of sets that could not be used."""
    labels = figures.get("labels", {})
    yield Table(
        title="Labels and scans",
        told="How many labels and scans belong together, and how many stand alone.",
        header=("what", "how many"),
        rows=tuple(
            (name.replace("_", " "), str(len(value) if isinstance(value, list) else value))
            for name, value in labels.items()
        ),
    )
    yield Table(
        title="Rows that could not be used",
        told="Their picture or outline cannot be decoded, or is of another size: they are in no figure.",
        header=("part", "rows of its table"),
        rows=tuple(
            (title_of(name), ", ".join(map(str, rows)))
            for name, measured in figures["parts"].items()
            if (rows := measured.get("unreadable_rows"))
        ),
    )


def _measured_on(figures: Mapping[str, Any]) -> str:
    if "patients" in figures:
        return f"{figures['patients']} patients"
    return f"{figures.get('slices', 0)} pictures"


def _balance(at: Mapping[str, float | None]) -> str:
    return " / ".join(NOTHING if value is None else f"{value:.2f}" for value in (at["recall"], at["specificity"]))


def _numbers(figures: Mapping[str, Any], above: str) -> Iterator[tuple[str, float, Sequence[float] | None]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{above}{name}.")
        elif isinstance(value, int | float):
            yield f"{above}{name}", value, figures.get(f"{name}_95")
