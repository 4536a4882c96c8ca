"""From what classifiers say of each slice to the verdict on a scan, with the reasons why a person should
look.

A picture's probability is its own. A volume's is the largest mean over neighbouring slices: a tumour spans
several slices,
a false alarm mostly one, so a run of slices as long as a small lesion must agree. Slices without content
count as 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import ClassifierVerdict, Finding, Label, ModelPin

PROBABILITY_DIGITS = 4  # what is written, and so what is compared with the threshold

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class VolumeRule:
    """How slices make the verdict on a volume; a record, so that it can be fitted."""

    span_mm: float = 10.0  # how far a run of slices that must agree reaches
    shortest: int = 2  # slices of a run, where slices are thick or their distance is not known
    longest: int = 5  # slices of a run, where slices are thin
    threshold: float = 0.5  # of a run's mean; a classifier's own threshold is made for single slices, one of which
    # is mistaken in nearly every healthy volume at the sensitivity that it is set for
    review_low: float = 0.35
    review_high: float = 0.6
    disagreeing_share: float = 0.002  # of a plane's pixels: a mask this large contradicts "no tumour"

    def run(self, slice_mm: float | None, slices: int) -> int:
        """Number of neighbouring slices that must agree."""
        wanted = self.shortest if slice_mm is None or slice_mm <= 0 else math.ceil(self.span_mm / slice_mm)
        return max(1, min(slices, max(self.shortest, min(self.longest, wanted))))


def of_volume(pins: Sequence[ModelPin], rule: VolumeRule) -> tuple[ModelPin, ...]:
    """The classifiers with the threshold and band that hold for runs of a volume's slices."""
    bounds = {"threshold": rule.threshold, "review_low": rule.review_low, "review_high": rule.review_high}
    return tuple(pin.model_copy(update=bounds) for pin in pins)


def calibrated(logits: NDArray[np.float32], temperature: float) -> Probabilities:
    """Probabilities of logits `(n,)` by temperature scaling (Guo et al., ICML 2017), rounded as they are
    written.
    """
    scaled = np.clip(logits.astype(np.float64) / temperature, -60.0, 60.0)
    return np.round(1.0 / (1.0 + np.exp(-scaled)), PROBABILITY_DIGITS)


def of_scan(probabilities: Probabilities, run: int) -> float:
    """A scan's probability: the largest mean over `run` neighbouring slices of `(n,)` probabilities."""
    means = np.convolve(probabilities, np.full(run, 1.0 / run), mode="valid")
    return round(float(min(1.0, max(0.0, means.max()))), PROBABILITY_DIGITS)


def verdict(
    probabilities: Mapping[str, Probabilities], pins: Sequence[ModelPin], slice_mm: float | None, rule: VolumeRule
) -> Finding:
    """Judge a scan.

    Args:
        probabilities: for each classifier by name, calibrated, `(n,)`, one for each slice; 0 for empty
            slices.
        pins: the classifiers that were asked, one or two.
        slice_mm: distance between slices, where it is known.
        rule: how slices make a verdict.

    Returns:
        One classifier: its own verdict. Two: the mean of their probabilities against the mean of their
        thresholds, and
        review where they disagree. Review too where a probability lies in a classifier's band.

    Raises:
        Broken: `internal`, there is no classifier, or one without probabilities.
    """
    if not pins or any(pin.name not in probabilities for pin in pins):
        raise Broken(Code.INTERNAL, "a verdict needs the probabilities of every classifier")
    votes = [_vote(probabilities[pin.name], pin, slice_mm, rule) for pin in pins]
    probability = _mean([vote.probability for vote in votes])
    threshold = _mean([vote.threshold for vote in votes])
    low, high = _mean([pin.review_low for pin in pins]), _mean([pin.review_high for pin in pins])
    reasons: list[Code] = []
    if low <= probability <= high and low < high:
        reasons.append(Code.PROBABILITY_IN_BAND)
    if len({vote.probability >= vote.threshold for vote in votes}) > 1:
        reasons.append(Code.CLASSIFIERS_DISAGREE)
    label = Label.TUMOUR if probability >= threshold else Label.NO_TUMOUR
    return Finding(
        label=Label.NEEDS_REVIEW if reasons else label,
        probability=probability,
        threshold=threshold,
        classifiers=tuple(votes),
        reasons=tuple(reasons),
    )


def blank(pins: Sequence[ModelPin]) -> Finding:
    """The verdict on a scan in which no slice shows anything: nothing was judged, so a person looks."""
    threshold = _mean([pin.threshold for pin in pins])
    return Finding(label=Label.NEEDS_REVIEW, probability=0.0, threshold=threshold, reasons=(Code.BLANK,))


def with_mask(finding: Finding, largest_share: float, rule: VolumeRule) -> Finding:
    """Weigh a segmentation against the verdict.

    Args:
        finding: what the classifiers say.
        largest_share: share of its plane that the largest mask of a slice covers; 0 where nothing was
            segmented.
        rule: when a mask is large enough to contradict.

    Returns:
        "No tumour" with a large mask needs review. "Tumour" without any mask stays: a mask never calms an
        alarm, but the
        disagreement is told.
    """
    contradicts = finding.label is Label.NO_TUMOUR and largest_share >= rule.disagreeing_share
    missing = finding.label is Label.TUMOUR and largest_share == 0
    if not contradicts and not missing:
        return finding
    label = Label.NEEDS_REVIEW if contradicts else finding.label
    return finding.model_copy(update={"label": label, "reasons": (*finding.reasons, Code.MASK_DISAGREES)})


def wants_mask(finding: Finding, segment: str) -> bool:
    """Whether a scan is segmented: with `positive`, all but those without a tumour and those without
    content.
    """
    if segment == "none" or Code.BLANK in finding.reasons:
        return False
    return segment == "all" or finding.label is not Label.NO_TUMOUR


def _vote(probabilities: Probabilities, pin: ModelPin, slice_mm: float | None, rule: VolumeRule) -> ClassifierVerdict:
    run = 1 if len(probabilities) == 1 else rule.run(slice_mm, len(probabilities))
    return ClassifierVerdict(model=pin.name, probability=of_scan(probabilities, run), threshold=pin.threshold)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), PROBABILITY_DIGITS) if values else 0.0
