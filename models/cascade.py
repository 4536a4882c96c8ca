"""A cascade as a choice at test time: a second classifier looks only where the first is unsure."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.figures import Figure
from models.intervals import Bootstrap, Rows
from models.judging import Judged, verdicts_of
from models.registry import Network

Said = tuple[Network, Sequence[Judged]]  # a classifier, and its logits by part

Flags = NDArray[np.bool_]


def cascade_choices(first: Said, second: Said) -> dict[str, Figure]:
    """Sensitivity and specificity at the operating point: the first classifier alone, both, and the cascade.

    Where both look, the mean of their probabilities is weighed against the mean of their thresholds, as a batch with
    `both` does it. The first is unsure where its probability lies in its band for review.

    Returns:
        By title the choices by name, as `models.choices.measure` has them; a cascade's runs are the share of pictures
        that the second sees, and one.
    """
    alone, both, unsure = [], [], []
    for one, other in zip(first[1], second[1], strict=True):
        mine, others = verdicts_of(one, first[0]), verdicts_of(other, second[0])
        mean = np.mean([mine.chance, others.chance], axis=0)
        alone.append(mine.positive)
        both.append(mean >= np.mean([first[0].threshold, second[0].threshold]))
        unsure.append(mine.review)
    cascade = [np.where(ask, two, one) for ask, one, two in zip(unsure, alone, both, strict=True)]
    ways = {
        f"{first[0].name} alone": (1.0, alone),
        "both": (2.0, both),
        f"{second[0].name} where {first[0].name} is unsure": (1 + float(np.concatenate(unsure).mean()), cascade),
    }
    return {
        f"cascade, {title}": {
            name: {"runs": round(runs, 2), "parts": _parts(first[1], alone, said, tumour=tumour)}
            for name, (runs, said) in ways.items()
        }
        for title, tumour in (("sensitivity", True), ("specificity", False))
    }


def _parts(judged: Sequence[Judged], base: Sequence[Flags], said: Sequence[Flags], *, tumour: bool) -> Figure:
    """By part how many of those with (or without) a tumour are told right, and how many more than `base` tells."""
    parts: Figure = {}
    for one, before, after in zip(judged, base, said, strict=True):
        among = one.truth == tumour
        if not among.any():
            continue
        bootstrap = Bootstrap([item.group for item in one.part.items])
        parts[one.part.name] = bootstrap.mean(after == tumour, among).named("value")
        if said is not base:
            parts[one.part.name] |= bootstrap.of(_more(before == tumour, after == tumour, among)).named("more")
    return parts


def _more(before: Flags, after: Flags, among: Flags) -> Callable[[Rows], float]:
    def more(rows: Rows) -> float:
        counted = rows[among[rows]]
        return float(after[counted].mean() - before[counted].mean()) if counted.size else float("nan")

    return more
