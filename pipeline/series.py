"""From what the networks say of each slice to one probability for a series, by a stated rule with few, fitted numbers.

    x     a slice's calibrated log-odds of a tumour, cut at +-`clip`; a slice that shows nothing has -`clip` y what its
    mask adds: log(1 + s / `floor`), s = the share of its plane that the mask covers run so many neighbouring slices as
    `span_mm` holds, at least `shortest` z of every run the lower median of x + `mask_weight` y; the largest of all runs
    p     logistic((z - `offset`) / `temperature`)

So a tumour must show on more than half of some run of neighbours: one odd slice, whichever way, decides nothing, and
more slices of the same head change little. p grows with every slice's probability and with every mask. Everything that
goes in stands in the report: probabilities and mask pixels of the slices, and the rule itself.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurobatch.records import SeriesForm, SeriesRule

CLASSIFIER, WITH_MASK = "classifier", "classifier and mask"  # what was weighed
DIGITS = 4  # of what is written of probabilities and evidence

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a rule made of one series."""

    probability: float  # calibrated, rounded
    evidence: float  # z, log-odds before the last step
    first: int  # index of the run's first slice
    length: int  # slices of the run
    rule: str  # name and version
    inputs: str  # what was weighed
    form: SeriesForm  # the rule's numbers that were used


def run_length(rule: SeriesRule, slices: int, slice_mm: float | None) -> int:
    """Number of neighbouring slices that are weighed together.

    Args:
        rule: how far they reach.
        slices: of the series, at least 1.
        slice_mm: distance between slices; where it is not known, the series is taken to show a head from end to end.
    """
    distance = slice_mm if slice_mm is not None and slice_mm > 0 else rule.head_mm / slices
    return max(1, min(slices, max(rule.shortest, math.ceil(rule.span_mm / distance))))


def weighed(probabilities: Values, shares: Values | None, slice_mm: float | None, rule: SeriesRule) -> Evidence:
    """Judge a series.

    Args:
        probabilities: `(n,)`, calibrated, of one classifier; 0 for slices that show nothing.
        shares: `(n,)`, of each plane's pixels that its mask covers; None where nothing was segmented.
        slice_mm: distance between slices, where it is known.
        rule: the classifier's.
    """
    form = rule.alone if shares is None else rule.with_mask
    each = slice_evidence(probabilities, shares, rule, form.mask_weight)
    length = run_length(rule, len(each), slice_mm)
    medians = run_medians(each, length)
    first = int(np.argmax(medians))
    return Evidence(
        probability=round(float(logistic((medians[first] - form.offset) / form.temperature)), DIGITS),
        evidence=round(float(medians[first]), DIGITS),
        first=first,
        length=length,
        rule=f"{rule.name} {rule.version}",
        inputs=CLASSIFIER if shares is None else WITH_MASK,
        form=form,
    )


def slice_evidence(probabilities: Values, shares: Values | None, rule: SeriesRule, mask_weight: float) -> Values:
    """x + `mask_weight` y of each slice, `(n,)`."""
    bound = float(logistic(rule.clip))
    inside = np.clip(probabilities.astype(np.float64), 1.0 - bound, bound)
    odds = np.log(inside / (1.0 - inside))
    if shares is None:
        return np.asarray(odds)
    return np.asarray(odds + mask_weight * np.log1p(shares / rule.floor))


def run_medians(each: Values, length: int) -> Values:
    """The lower median of every run of `length` neighbours, `(n - length + 1,)`."""
    runs = np.lib.stride_tricks.sliding_window_view(each, length)
    return np.asarray(np.sort(runs, axis=1)[:, (length - 1) // 2])


def logistic(value: float) -> float:
    """The logistic function, without overflow."""
    return 0.5 * (1.0 + math.tanh(value / 2.0))
