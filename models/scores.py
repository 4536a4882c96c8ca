"""Figures of merit, in NumPy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of equal width, of probabilities
DRAWS = 200  # of labels, to tell what chance does


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Pictures whose probabilities lie between two bounds, and how often they have a tumour."""

    low: float
    high: float
    pictures: int
    probability: float  # mean
    rate: float  # share with a tumour


def auc(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half; NaN where one class is missing."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def positives_by_score(
    truth: NDArray[np.bool_], score: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and false positives, each `(k,)`, if all from the i-th highest of `k` different scores on were positive."""
    _, places = np.unique(-np.asarray(score, np.float64), return_inverse=True)
    right = np.bincount(places, weights=truth)
    wrong = np.bincount(places, weights=~truth)
    return np.cumsum(right).astype(np.int64), np.cumsum(wrong).astype(np.int64)


def roc_curve(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> NDArray[np.float64]:
    """ROC as points `(k, 2)` of false positive rate and sensitivity, from (0, 0) to (1, 1).

    Raises:
        ValueError: one class is missing.
    """
    if truth.all() or not truth.any():
        raise ValueError("a ROC curve needs both classes")
    right, wrong = positives_by_score(truth, score)
    points = np.column_stack([wrong / wrong[-1], right / right[-1]])
    return _corners(np.vstack([[0.0, 0.0], points]))


def precision_recall(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points `(k, 2)` of sensitivity and precision, by falling threshold; precision is never interpolated.

    Raises:
        ValueError: one class is missing.
    """
    if truth.all() or not truth.any():
        raise ValueError("a precision-recall curve needs both classes")
    right, wrong = positives_by_score(truth, score)
    return np.column_stack([right / right[-1], right / (right + wrong)])


def average_precision(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Precision averaged over steps of sensitivity, without interpolation; NaN where one class is missing."""
    if truth.all() or not truth.any():
        return float("nan")
    recall, precision = precision_recall(truth, score).T
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def dice(truth: NDArray[np.bool_], guess: NDArray[np.bool_]) -> float:
    """Twice the common part over the sum of both; 1 where both are empty."""
    total = int(truth.sum()) + int(guess.sum())
    return 2 * int((truth & guess).sum()) / total if total else 1.0


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / 2))


def reliability(truth: NDArray[np.bool_], probability: NDArray[np.floating], bins: int = BINS) -> list[Bin]:
    """What is behind a reliability plot: the bins of equal width that are not empty."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        Bin(
            low=k / bins,
            high=(k + 1) / bins,
            pictures=int((place == k).sum()),
            probability=float(probability[place == k].mean()),
            rate=float(truth[place == k].mean()),
        )
        for k in range(bins)
        if (place == k).any()
    ]


def calibration_error(truth: NDArray[np.bool_], probability: NDArray[np.floating], bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015) over bins of equal width; NaN where there is nothing."""
    if not len(truth):
        return float("nan")
    gaps = [abs(each.rate - each.probability) * each.pictures for each in reliability(truth, probability, bins)]
    return float(np.sum(gaps)) / len(truth)


def chance_of_calibration_error(probability: NDArray[np.floating], bins: int = BINS) -> float:
    """The mean calibration error of so many pictures if each had a tumour exactly as often as its probability says.

    Few pictures leave the rate of each bin to chance, so that no classifier comes to 0; NaN where there is nothing.
    """
    rng = np.random.default_rng(0)
    drawn = (rng.random(len(probability)) < probability for _ in range(DRAWS))
    return float(np.mean([calibration_error(truth, probability, bins) for truth in drawn]))


def _corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points of a staircase without those that lie on a straight line between their neighbours."""
    steps = np.diff(points, axis=0)
    turns = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
    keep = np.r_[True, np.abs(turns) > 1e-12, True]
    return points[keep]
