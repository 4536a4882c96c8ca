"""From what classifiers say of each slice to the verdict on a scan, with the reasons why a person should look.

A picture's probability is its own. A series' comes of all its slices, and of its masks where there are, by the rule
that its classifier is pinned to: `pipeline.series`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import ClassifierVerdict, Finding, Label, ModelPin, SeriesForm, SeriesRule
from pipeline.series import Evidence, weighed

PROBABILITY_DIGITS = 4  # what is written, and so what is compared with the threshold
DISAGREEING_SHARE = 0.002  # of a picture's pixels: a mask this large contradicts "no tumour"
EVEN = 0.5  # probability below which no mask contradicts "tumour": most such alarms are false (docs/decisions/0088)

_EVEN = SeriesForm(offset=0.0, temperature=1.0, threshold=0.5, review_low=0.35, review_high=0.6)
UNFITTED = SeriesRule(
    name="neighbours", version=0, span_mm=15.0, shortest=3, head_mm=150.0, clip=6.0, floor=0.001, mask_from=0.35,
    alone=_EVEN, with_mask=_EVEN,
)  # fmt: skip
"""For a classifier that no rule was fitted to: what more than half of a run's slices say, as it is."""

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What one classifier says of a scan."""

    verdict: ClassifierVerdict
    review_low: float  # probabilities from here …
    review_high: float  # … to here need review
    mask_from: float  # probability from which a mask is worth drawing
    evidence: Evidence | None = None  # of a series


def calibrated(logits: NDArray[np.float32], temperature: float) -> Probabilities:
    """Probabilities of logits `(n,)` by temperature scaling (Guo et al., ICML 2017), rounded as they are written."""
    scaled = np.clip(logits.astype(np.float64) / temperature, -60.0, 60.0)
    return np.round(1.0 / (1.0 + np.exp(-scaled)), PROBABILITY_DIGITS)


def of_picture(probabilities: Mapping[str, Probabilities], pins: Sequence[ModelPin]) -> tuple[Vote, ...]:
    """The votes on a picture: each classifier's probability `(1,)` against its own threshold and band."""
    return tuple(
        _vote(pin, float(_said(probabilities, pin)[0]), pin, mask_from=min(pin.review_low, pin.threshold))
        for pin in pins
    )


def of_series(
    probabilities: Mapping[str, Probabilities],
    pins: Sequence[ModelPin],
    slice_mm: float | None,
    *,
    shares: Probabilities | None = None,
    forced: bool = False,
) -> tuple[Vote, ...]:
    """The votes on a series.

    Args:
        probabilities: for each classifier by name, calibrated, `(n,)`; 0 for slices that show nothing.
        pins: the classifiers that were asked.
        slice_mm: distance between slices, where it is known.
        shares: `(n,)`, of each plane that its mask covers; None where nothing was segmented.
        forced: the batch forces a threshold: the pins' own threshold and band hold, not the rule's.

    Raises:
        Broken: `internal`, a classifier's probabilities are missing.
    """
    votes = []
    for pin in pins:
        rule = pin.series or UNFITTED
        evidence = weighed(_said(probabilities, pin), shares, slice_mm, rule)
        bounds = pin if forced else evidence.form
        low = min(rule.mask_from, bounds.review_low, bounds.threshold)
        votes.append(_vote(pin, evidence.probability, bounds, mask_from=low, evidence=evidence))
    return tuple(votes)


def verdict(votes: Sequence[Vote]) -> Finding:
    """Judge a scan.

    Args:
        votes: of the classifiers that were asked, one or two.

    Returns:
        One classifier: its own verdict. Two: the mean of their probabilities against the mean of their thresholds, and
        review where they disagree. Review too where a probability lies in a classifier's band.

    Raises:
        Broken: `internal`, there is no vote.
    """
    if not votes:
        raise Broken(Code.INTERNAL, "a verdict needs the probabilities of every classifier")
    probability = _mean([vote.verdict.probability for vote in votes])
    threshold = _mean([vote.verdict.threshold for vote in votes])
    low, high = _mean([vote.review_low for vote in votes]), _mean([vote.review_high for vote in votes])
    reasons: list[Code] = []
    if low <= probability <= high and low < high:
        reasons.append(Code.PROBABILITY_IN_BAND)
    if len({vote.verdict.probability >= vote.verdict.threshold for vote in votes}) > 1:
        reasons.append(Code.CLASSIFIERS_DISAGREE)
    label = Label.TUMOUR if probability >= threshold else Label.NO_TUMOUR
    return Finding(
        label=Label.NEEDS_REVIEW if reasons else label,
        probability=probability,
        threshold=threshold,
        classifiers=tuple(vote.verdict for vote in votes),
        reasons=tuple(reasons),
    )


def blank(pins: Sequence[ModelPin]) -> Finding:
    """The verdict on a scan in which no slice shows anything: nothing was judged, so a person looks."""
    threshold = _mean([pin.threshold for pin in pins])
    return Finding(label=Label.NEEDS_REVIEW, probability=0.0, threshold=threshold, reasons=(Code.BLANK,))


def picture_with_mask(finding: Finding, share: float) -> Finding:
    """Weigh a picture's segmentation against the verdict.

    Args:
        finding: what the classifiers say.
        share: of the picture's pixels that the mask covers.

    Returns:
        "No tumour" with a large mask needs review, and so does "tumour" without any mask where it is less likely than
        not. Where it is more likely it stays, and the disagreement is told: a mask never calms an alarm.
    """
    contradicts = finding.label is Label.NO_TUMOUR and share >= DISAGREEING_SHARE
    missing = finding.label is Label.TUMOUR and share == 0
    doubtful = contradicts or finding.probability < EVEN
    return _disagreeing(finding, review=doubtful) if contradicts or missing else finding


def series_with_mask(alone: Finding, joint: Finding, share: float) -> Finding:
    """The verdict on a series that was segmented.

    Args:
        alone: what the classifiers say.
        joint: what they and the masks say together.
        share: of its plane that the largest mask of a slice covers.

    Returns:
        The joint verdict. Where it is "no tumour" though the classifiers alone say "tumour" it needs review; "tumour"
        without any mask stays: a mask never calms an alarm, but the disagreement is told.
    """
    calmed = joint.label is Label.NO_TUMOUR and alone.label is Label.TUMOUR
    missing = joint.label is Label.TUMOUR and share == 0
    return _disagreeing(joint, review=calmed) if calmed or missing else joint


def wants_mask(finding: Finding, votes: Sequence[Vote], segment: str) -> bool:
    """Whether a scan is segmented: with `positive`, all but those without a tumour and those without content."""
    if segment == "none" or Code.BLANK in finding.reasons:
        return False
    likely = finding.probability >= _mean([vote.mask_from for vote in votes])
    return segment == "all" or likely or finding.label is not Label.NO_TUMOUR


def _said(probabilities: Mapping[str, Probabilities], pin: ModelPin) -> Probabilities:
    if pin.name not in probabilities:
        raise Broken(Code.INTERNAL, "a verdict needs the probabilities of every classifier")
    return probabilities[pin.name]


def _vote(
    pin: ModelPin,
    probability: float,
    bounds: ModelPin | SeriesForm,
    *,
    mask_from: float,
    evidence: Evidence | None = None,
) -> Vote:
    return Vote(
        verdict=ClassifierVerdict(model=pin.name, probability=probability, threshold=bounds.threshold),
        review_low=bounds.review_low,
        review_high=bounds.review_high,
        mask_from=mask_from,
        evidence=evidence,
    )


def _disagreeing(finding: Finding, *, review: bool) -> Finding:
    label = Label.NEEDS_REVIEW if review else finding.label
    return finding.model_copy(update={"label": label, "reasons": (*finding.reasons, Code.MASK_DISAGREES)})


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), PROBABILITY_DIGITS) if values else 0.0
