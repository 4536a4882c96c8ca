"""What a card says of a network in bfloat16, from the figures of `models.bfloat16`."""

from collections.abc import Mapping
from typing import Any

from models.summary import NOTHING, Table, as_markdown, title_of

COLUMNS = (
    ("auc", "AUC"),
    ("recall", "sensitivity"),
    ("specificity", "specificity"),
    ("ece", "ECE"),
    ("dice_mean", "Dice, mean"),
    ("dice_median", "Dice, median"),
    ("lesion_sensitivity", "lesions found"),
    ("false_lesions_per_scan", "false lesions a scan"),
)
TEXT = """## In bfloat16

{used}
The same pictures and thresholds, once in each, on {processor}: float32 → bfloat16.

{table}

"""

USED = {
    "classifier": "On processors that multiply bfloat16 this network runs in it, unless a batch (`precision`) or the\n"
    "site asks for float32 (`NEUROBATCH_PRECISION`).",
    "segmenter": "This network runs in float32 everywhere, unless a batch (`precision`) or the site asks for bfloat16\n"
    "(`NEUROBATCH_PRECISION`).",
}


def bfloat16_section(figures: Mapping[str, Any]) -> str:
    """The card's section as Markdown; nothing where that was never measured."""
    if "bfloat16" not in figures:
        return ""
    found = figures["bfloat16"]
    return TEXT.format(
        used=USED[figures["kind"]], processor=found["processor"], table=as_markdown(_table(found["parts"]))
    )


def _table(parts: Mapping[str, Any]) -> Table:
    shown = [(key, title) for key, title in COLUMNS if any(key in part["float32"] for part in parts.values())]
    differ = any("other_findings" in part for part in parts.values())
    return Table(
        title="",
        told="",
        header=("part", *(title for _, title in shown), *(("other findings", "probability differs by") * differ)),
        rows=tuple(
            (
                title_of(name),
                *(_both(part["float32"].get(key), part["bfloat16"].get(key)) for key, _ in shown),
                *(_differ(part) if differ else ()),
            )
            for name, part in parts.items()
        ),
    )


def _both(before: float | None, after: float | None) -> str:
    return NOTHING if before is None or after is None else f"{before:.3f} → {after:.3f}"


def _differ(part: Mapping[str, Any]) -> tuple[str, str]:
    most, middle = part["probability_differs"], part["probability_differs_median"]
    return f"{part['other_findings']} of {part['pictures']}", f"≤ {most:.3f}, median {middle:.4f}"
