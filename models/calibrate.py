"""From logits to probabilities that mean what they say, and to a threshold and a band for review."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.judging import Judged
from models.scores import sigmoid

SENSITIVITY = 0.98  # reached on the validation part, whatever it costs in specificity
REVIEWED = 0.05  # part of the validation pictures that lies in the band


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a classifier's card states beside its weights."""

    temperature: float
    threshold: float  # calibrated probability
    review_low: float  # calibrated probability
    review_high: float  # calibrated probability


def calibrate(judged: Sequence[Judged]) -> Calibration:
    """Fit temperature (Guo et al., ICML 2017), threshold and band on validation parts, each part weighing the same.

    The threshold is the highest at which sensitivity is at least `SENSITIVITY`; the band holds the `REVIEWED` part of
    the pictures whose logits are nearest to it.
    """
    logits = np.concatenate([one.logits for one in judged]).astype(np.float64)
    truth = np.concatenate([one.truth for one in judged])
    weight = np.concatenate([np.full(len(one.logits), 1 / len(one.logits)) for one in judged])
    temperature = _temperature(logits, truth, weight)
    threshold = _threshold(logits[truth], weight[truth])
    reach = _reach(np.abs(logits - threshold), weight)
    low, middle, high = sigmoid(np.array([threshold - reach, threshold, threshold + reach]) / temperature)
    return Calibration(
        temperature=round(temperature, 4),
        threshold=round(float(middle), 4),
        review_low=round(float(low), 4),
        review_high=round(float(high), 4),
    )


def _temperature(logits: NDArray[np.float64], truth: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """The divisor of the logits with the least weighted log loss, on a fine geometric grid from 1/8 to 8."""
    signed = np.where(truth, logits, -logits)
    grid = np.geomspace(0.125, 8.0, 601)
    losses = [float((weight * np.logaddexp(0, -signed / divisor)).sum()) for divisor in grid]
    return float(grid[int(np.argmin(losses))])


def _threshold(positives: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """The highest logit that leaves at most the allowed weight of positives below it."""
    order = np.argsort(positives)
    missed = np.cumsum(weight[order]) - weight[order]  # by everything below this one
    allowed = (1 - SENSITIVITY) * weight.sum()
    return float(positives[order][missed <= allowed][-1])


def _reach(distance: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    order = np.argsort(distance)
    within = np.cumsum(weight[order]) <= REVIEWED * weight.sum()
    return float(distance[order][within][-1]) if within.any() else 0.0
