"""What a rule for series reaches: by patient on LGG, by head elsewhere."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.registry import networks
from models.series_fit import Said, balanced, columns, left_out_probabilities, losses_by_weight
from neurobatch.records import Finding, Label, ModelPin, SeriesRule
from pipeline.finding import of_series, series_with_mask, verdict, wants_mask
from pipeline.series import run_length, run_medians, slice_evidence

Segment = Literal["positive", "none"]
SEGMENTS: tuple[Segment, ...] = ("positive", "none")
Z = 1.96  # of the normal distribution: 95 %

Figure = dict[str, Any]


def found(said: Said, pin: ModelPin, segment: Segment) -> Finding:
    """The finding of a batch with this option: masks are drawn, where they are, for what the classifier suspects."""
    probabilities = {pin.name: said.probabilities}
    votes = of_series(probabilities, [pin], said.slice_mm)
    alone = verdict(votes)
    if not wants_mask(alone, votes, segment):
        return alone
    joint = verdict(of_series(probabilities, [pin], said.slice_mm, shares=said.shares))
    return series_with_mask(alone, joint, float(said.shares.max()))


def figures(series: Sequence[Said], rule: SeriesRule, classifier: str) -> Figure:
    """Every figure of a rule: LGG by view and by whether the networks have seen the patient, and each head."""
    pin = networks()[classifier].pin().model_copy(update={"series": rule})
    parts = sorted({said.part for said in series if said.part != "heads"})
    return {
        "by_segment": {
            segment: {
                **{
                    f"{part}, {'seen' if seen else 'unseen'}": _part(
                        [said for said in series if said.part == part and said.seen is seen], pin, segment
                    )
                    for part in parts
                    for seen in (False, True)
                },
                "heads": [_head(said, pin, segment) for said in series if said.part == "heads"],
            }
            for segment in SEGMENTS
        },
        "left_out": {
            name: _left_out([said for said in series if not said.seen], rule, masks=masks)
            for name, masks in (("alone", False), ("with_mask", True))
        },
        "log_loss_by_mask_weight": losses_by_weight(series),
        "sources_of_healthy_heads": len({said.group for said in series if said.part == "heads" and not said.tumour}),
    }


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, JASA 1927)."""
    if not count:
        return 0.0, 1.0
    share, spread = hits / count, Z * Z / count
    centre = (share + spread / 2) / (1 + spread)
    reach = Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return round(max(0.0, centre - reach), 3), round(min(1.0, centre + reach), 3)


def false_slices(said: Said, rule: SeriesRule, *, masks: bool) -> int:
    """Slices without tumour that lie in a run which alone would make the series a tumour, and say so themselves."""
    if said.slices is None:
        return 0
    form, shares = (rule.with_mask, said.shares) if masks else (rule.alone, None)
    each = slice_evidence(said.probabilities, shares, rule, form.mask_weight)
    least = form.offset + form.temperature * math.log(form.threshold / (1 - form.threshold))
    length = run_length(rule, len(each), said.slice_mm)
    flagged: NDArray[np.bool_] = np.zeros(len(each), bool)
    for first in np.flatnonzero(run_medians(each, length) >= least):
        flagged[first : first + length] = True
    return int((flagged & (each >= least) & ~said.slices).sum())


def _part(series: Sequence[Said], pin: ModelPin, segment: Segment) -> Figure:
    rule = pin.series
    tumour = [said for said in series if said.tumour]
    labels = [found(said, pin, segment).label for said in tumour]
    healthy = [found(said, pin, segment).label for said in series if not said.tumour]
    hit = sum(label is not Label.NO_TUMOUR for label in labels)
    wrong = [false_slices(said, rule, masks=segment != "none") for said in tumour] if rule else []
    return {
        "patients": len(tumour),
        "tumour": labels.count(Label.TUMOUR),
        "needs_review": labels.count(Label.NEEDS_REVIEW),
        "not_passed_95": wilson(hit, len(tumour)),
        "passed": labels.count(Label.NO_TUMOUR),
        "false_slices_mean": round(float(np.mean(wrong)), 2) if wrong else None,
        "healthy_parts": len(healthy),
        "healthy_parts_passed": healthy.count(Label.NO_TUMOUR),
        "healthy_parts_needs_review": healthy.count(Label.NEEDS_REVIEW),
    }


def _head(said: Said, pin: ModelPin, segment: Segment) -> Figure:
    finding = found(said, pin, segment)
    return {
        "about": said.about,
        "tumour": said.tumour,
        "slices": len(said.probabilities),
        "probability": finding.probability,
        "label": str(finding.label),
    }


def _left_out(series: Sequence[Said], rule: SeriesRule, *, masks: bool) -> Figure:
    """Log loss and Brier score of patients left out of the last step, and how far means are from what happened."""
    probability = left_out_probabilities(series, rule, masks=masks)
    _, tumour, weight = columns(series, rule, masks=masks)
    balance = balanced(tumour, weight)
    right = np.clip(np.where(tumour, probability, 1 - probability), 1e-6, 1)
    return {
        "patients": len({said.group for said in series if said.part != "heads"}),
        "series": len(series),
        "log_loss": round(float(-(balance * np.log(right)).sum()), 4),
        "brier": round(float((balance * (1 - right) ** 2).sum()), 4),
        "mean_of_tumours": round(float(np.average(probability[tumour], weights=weight[tumour])), 4),
        "mean_of_healthy": round(float(np.average(probability[~tumour], weights=weight[~tumour])), 4),
    }
