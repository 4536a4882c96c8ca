"""A classifier's card: the section on series, from the figures that `models.series` wrote."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from models.registry import SERIES, networks
from neurobatch.records import Label, SeriesRule

WIDTH = 118
PARTS = {"lgg": "LGG, composite of three sequences", "lgg-flair": "LGG, FLAIR alone"}
SEGMENTS = {"positive": "masks where suspected", "none": "no masks"}


def series_section(classifier: str, file: Path = SERIES) -> str:
    """The section as Markdown, from its heading on; empty where no rule was fitted to this classifier."""
    written = json.loads(file.read_text(encoding="utf-8"))
    given = written.get("figures", {}).get(classifier)
    if given is None:
        return ""
    return as_text(SeriesRule.model_validate(written["rules"][classifier]), given)


def as_text(rule: SeriesRule, given: Mapping[str, Any]) -> str:
    """The section for these figures."""
    heads = given["by_segment"]["positive"]["heads"]
    healthy = [head for head in heads if not head["tumour"]]
    passed = sum(head["label"] == Label.NO_TUMOUR for head in healthy)
    left_out = given["left_out"]
    joint, alone = left_out["with_mask"], left_out["alone"]
    fitted = (
        f"Rule `{rule.name} {rule.version}`; every report states its numbers and what was weighed. Its last step was "
        f"fitted on {joint['patients']} patients whom the networks have not seen, and on heads. On series left out of "
        f"the fit the log loss is {joint['log_loss']:.3f} with masks and {alone['log_loss']:.3f} without, both kinds "
        "weighing the same."
    )
    columns = (
        "Healthy parts: the slices of a patient without tumour, as if they were a series. False slices: slices without "
        "tumour, by series, in runs that by themselves would make the series a tumour. The band was set on the "
        "validation patients, so that hardly one of them passes: other patients will."
    )
    hardly = (
        f"Of {len(healthy)} volumes of healthy heads from {given['sources_of_healthy_heads']} sources {passed} passed. "
        "How often healthy series pass is hardly known, and there is no healthy series in FLAIR among them."
    )
    stale = any(networks()[name].sha256 != digest for name, digest in given["networks"].items())
    paragraphs = [
        "## Series: from slices to a verdict",
        fill(fitted, WIDTH),
        *(["**The networks have changed since the rule was fitted.**"] if stale else []),
        "\n".join(_rows(LGG_HEADER, _lgg_rows(given))),
        fill(columns, WIDTH),
        fill(hardly, WIDTH),
        "\n".join(_rows(HEADS_HEADER, [_head_row(head) for head in heads])),
    ]
    return "\n\n".join(paragraphs)


LGG_HEADER = (
    "series", "masks", "patients", "tumour", "needs review", "passed", "found or reviewed, 95 %", "false slices",
    "healthy parts passed", "of them reviewed",
)  # fmt: skip
HEADS_HEADER = ("head", "truth", "slices", "probability", "finding")


def _lgg_rows(given: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for segment, about in SEGMENTS.items():
        for name, part in given["by_segment"][segment].items():
            if name != "heads" and part["patients"]:
                rows.append((_title(name), about, *_lgg_cells(part)))
    return rows


def _title(name: str) -> str:
    part, _, known = name.partition(", ")
    return f"{PARTS.get(part, part)}, {'training' if known == 'seen' else 'validation'} patients"


def _lgg_cells(part: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = part["not_passed_95"]
    return (
        str(part["patients"]),
        str(part["tumour"]),
        str(part["needs_review"]),
        str(part["passed"]),
        f"[{low:.2f}, {high:.2f}]",
        f"{part['false_slices_mean']:.1f}",
        f"{part['healthy_parts_passed']} of {part['healthy_parts']}",
        str(part["healthy_parts_needs_review"]),
    )


def _head_row(head: Mapping[str, Any]) -> tuple[str, ...]:
    truth = "tumour" if head["tumour"] else "no tumour known"
    return (head["about"], truth, str(head["slices"]), f"{head['probability']:.2f}", str(head["label"]))


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows)]
