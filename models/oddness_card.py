"""What a card says of the check of odd pictures, from the figures of `models.oddness`."""

from collections.abc import Mapping
from typing import Any

TEXT = """## Pictures unlike those of the training

A scan needs review from a distance of {threshold} to the training pictures in what a middle layer sees of them
(Mahalanobis, in principal directions and the rest); at most 1 % of the validation pictures reach it, each part weighing
the same. In this table a volume counts by its middle slice, in use by most of its slices. AUC of what should be odd
against the validation pictures: {auc:.3f}. The layer was chosen with these samples in sight, which flatters a little.
Some of what is no head passes all the same; heads that were averaged, stripped of the skull or sampled coarsely mostly
do not.

| scans | read | called odd | median distance |
|---|---|---|---|
{rows}

"""


def section(figures: Mapping[str, Any]) -> str:
    """The card's section as Markdown; nothing where the network has no such check."""
    if "oddness" not in figures:
        return ""
    odd = figures["oddness"]
    kinds = {f"validation: {name}": found for name, found in odd["validation"].items()} | odd["samples"]
    rows = [f"| {kind} | {found['scans']} | {found['odd']} | {found['median']:.2f} |" for kind, found in kinds.items()]
    return TEXT.format(threshold=odd["threshold"], auc=odd["auc"], rows="\n".join(rows))
