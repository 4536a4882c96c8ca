"""Fit the rule from slices to a verdict on a series: its numbers, and what it reaches.

The weight of masks, offset and temperature of the last step and the band come of patients whom the networks have not
seen, and of heads; what the rule is worth is reported by leaving each of them out in turn. A healthy LGG series does
not exist: in its place stand the slices of a patient without tumour, put together, without those next to the tumour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurobatch.records import SeriesForm, SeriesRule
from pipeline.series import DIGITS, logistic, weighed

NAME, VERSION = "neighbours", 1
SPAN_MM, SHORTEST, HEAD_MM, CLIP, FLOOR = 15.0, 3, 150.0, 6.0, 0.001  # stated, not fitted: docs/decisions/0055
MASK_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
MARGIN = 1  # slices next to the tumour that are in neither
LEAST_SLICES = 6  # of what stands for a healthy series
SENSITIVITY = 0.98  # of the band's lower end
MASK_SENSITIVITY = 1.0  # a series that is not segmented cannot be found any more
SPECIFICITY = 0.95  # of the band's upper end
NARROWEST = (0.35, 0.6)  # the band holds at least this, also where the few patients of a fit are told apart without it
FORM_DIGITS = 3

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What the networks said of one series."""

    name: str
    group: str  # the patient
    part: str  # lgg, lgg-flair, heads, …
    seen: bool  # the networks have seen the patient
    tumour: bool
    slices: NDArray[np.bool_] | None  # which have a tumour; None where it is not known
    probabilities: Values  # (n,), calibrated; 0 for slices that show nothing
    shares: Values  # (n,), of each plane that its mask covers
    slice_mm: float | None
    about: str = ""

    def evidence(self, rule: SeriesRule, *, masks: bool) -> float:
        """z of the rule, log-odds."""
        return weighed(self.probabilities, self.shares if masks else None, self.slice_mm, rule).evidence


def healthy_part(said: Said) -> Said | None:
    """The slices of a patient without tumour, as a series; None where they are too few."""
    if said.slices is None:
        return None
    near = np.convolve(said.slices.astype(int), np.ones(2 * MARGIN + 1, int), mode="same") > 0
    kept = np.flatnonzero(~near)
    if len(kept) < LEAST_SLICES:
        return None
    return replace(
        said,
        name=f"{said.name} without tumour",
        tumour=False,
        slices=said.slices[kept],
        probabilities=said.probabilities[kept],
        shares=said.shares[kept],
        slice_mm=HEAD_MM / len(said.slices),  # as far apart as in the whole
    )


def fit(series: Sequence[Said]) -> SeriesRule:
    """Fit a rule.

    Args:
        series: LGG patients, seen and unseen, with the parts that stand for healthy series; and healthy heads.
    """
    unseen = [said for said in series if not said.seen]
    losses = losses_by_weight(series)
    weight = min(MASK_WEIGHTS, key=lambda each: losses[str(each)])
    rule = unfitted(weight)
    alone, joint = (_bounded(unseen, _stepped(unseen, rule, masks=masks), masks=masks) for masks in (False, True))
    asked = min(alone.alone.review_low, _found_from(series, alone, MASK_SENSITIVITY, masks=False))
    return rule.model_copy(update={"alone": alone.alone, "with_mask": joint.with_mask, "mask_from": asked})


def unfitted(mask_weight: float = 0.0) -> SeriesRule:
    """The stated numbers, with a last step that changes nothing."""
    even = SeriesForm(offset=0.0, temperature=1.0, threshold=0.5, review_low=0.5, review_high=0.5)
    return SeriesRule(
        name=NAME, version=VERSION, span_mm=SPAN_MM, shortest=SHORTEST, head_mm=HEAD_MM, clip=CLIP, floor=FLOOR,
        mask_from=0.5, alone=even, with_mask=even.model_copy(update={"mask_weight": mask_weight}),
    )  # fmt: skip


def last_step(evidence: Values, tumour: NDArray[np.bool_], weight: Values) -> tuple[float, float]:
    """Offset and temperature of logistic((z - offset) / temperature) with the least weighted log loss.

    Both kinds weigh the same; targets are smoothed as by Platt (Advances in Large Margin Classifiers, 1999), so that
    kinds that do not overlap still get a finite slope. Over a grid, so that equal series give equal numbers.
    """
    balance = balanced(tumour, weight)
    target = np.where(tumour, 1 - 1 / (tumour.sum() + 2), 1 / ((~tumour).sum() + 2))
    offsets = np.arange(evidence.min(), evidence.max() + 0.05, 0.05)
    best = (np.inf, 0.0, 1.0)
    for temperature in np.geomspace(0.2, 5.0, 41):
        odds = (evidence[None] - offsets[:, None]) / temperature
        losses = (balance * (np.logaddexp(0, odds) - target * odds)).sum(axis=1)
        place = int(np.argmin(losses))
        best = min(best, (float(losses[place]), float(offsets[place]), float(temperature)))
    return round(best[1], FORM_DIGITS), round(best[2], FORM_DIGITS)


def left_out_probabilities(series: Sequence[Said], rule: SeriesRule, *, masks: bool) -> Values:
    """What each unseen patient's series gets from a last step that was fitted without the patient."""
    evidence, tumour, weight = columns(series, rule, masks=masks)
    groups = np.array([said.group for said in series])
    given = np.zeros(len(series))
    for group in np.unique(groups):
        rest = groups != group
        offset, temperature = last_step(evidence[rest], tumour[rest], weight[rest])
        given[~rest] = [logistic((z - offset) / temperature) for z in evidence[~rest]]
    return given


def log_loss(probability: Values, tumour: NDArray[np.bool_], weight: Values) -> float:
    """Weighted mean log loss, both kinds weighing the same."""
    balance = balanced(tumour, weight)
    right = np.clip(np.where(tumour, probability, 1 - probability), 1e-6, 1)
    return float(-(balance * np.log(right)).sum())


def losses_by_weight(series: Sequence[Said]) -> dict[str, float]:
    """Log loss of unseen patients who were left out of the last step, by the weight that masks have."""
    unseen = [said for said in series if not said.seen]
    losses = {}
    for each in MASK_WEIGHTS:
        rule = unfitted(each)
        _, tumour, weight = columns(unseen, rule, masks=True)
        losses[str(each)] = round(log_loss(left_out_probabilities(unseen, rule, masks=True), tumour, weight), 4)
    return losses


def columns(series: Sequence[Said], rule: SeriesRule, *, masks: bool) -> tuple[Values, NDArray[np.bool_], Values]:
    """Evidence, truth, and weight of each series: every patient weighs the same."""
    evidence = np.array([said.evidence(rule, masks=masks) for said in series])
    tumour = np.array([said.tumour for said in series], bool)
    kinds = [(said.group, said.tumour) for said in series]
    return evidence, tumour, np.array([1 / kinds.count(kind) for kind in kinds])


def balanced(tumour: NDArray[np.bool_], weight: Values) -> Values:
    """Weights by which both kinds weigh one half."""
    return np.asarray(np.where(tumour, weight / weight[tumour].sum(), weight / weight[~tumour].sum()) / 2)


def _stepped(series: Sequence[Said], rule: SeriesRule, *, masks: bool) -> SeriesRule:
    offset, temperature = last_step(*columns(series, rule, masks=masks))
    return _changed(rule, {"offset": offset, "temperature": temperature}, masks=masks)


def _bounded(series: Sequence[Said], rule: SeriesRule, *, masks: bool) -> SeriesRule:
    """Threshold at even odds; below the band few tumours lie, above it few that have none."""
    low = min(NARROWEST[0], _found_from(series, rule, SENSITIVITY, masks=masks))
    high = max(NARROWEST[1], _passed_to(series, rule, SPECIFICITY, masks=masks))
    return _changed(rule, {"review_low": low, "review_high": high}, masks=masks)


def _changed(rule: SeriesRule, numbers: dict[str, float], *, masks: bool) -> SeriesRule:
    form = rule.with_mask if masks else rule.alone
    return rule.model_copy(update={"with_mask" if masks else "alone": form.model_copy(update=numbers)})


def _probabilities(series: Sequence[Said], rule: SeriesRule, *, masks: bool) -> Values:
    shares = [said.shares if masks else None for said in series]
    pairs = zip(series, shares, strict=True)
    return np.array([weighed(said.probabilities, share, said.slice_mm, rule).probability for said, share in pairs])


def _found_from(series: Sequence[Said], rule: SeriesRule, share: float, *, masks: bool) -> float:
    """The highest probability that this share of the LGG series with a tumour reaches."""
    given = np.sort(
        _probabilities([said for said in series if said.tumour and said.slices is not None], rule, masks=masks)
    )
    return round(float(given[int((1 - share) * len(given) + 1e-9)]), DIGITS)


def _passed_to(series: Sequence[Said], rule: SeriesRule, share: float, *, masks: bool) -> float:
    """The lowest probability under which this share of what stands for healthy LGG series lies."""
    given = np.sort(
        _probabilities([said for said in series if not said.tumour and said.slices is not None], rule, masks=masks)
    )
    return round(float(given[-1 - int((1 - share) * len(given) + 1e-9)]), DIGITS)
