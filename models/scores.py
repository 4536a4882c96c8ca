"""Figures of merit, in NumPy."""

import numpy as np
from numpy.typing import NDArray


def auc(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half; NaN where one class is missing."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def dice(truth: NDArray[np.bool_], guess: NDArray[np.bool_]) -> float:
    """Twice the common part over the sum of both; 1 where both are empty."""
    total = int(truth.sum()) + int(guess.sum())
    return 2 * int((truth & guess).sum()) / total if total else 1.0


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / 2))


def calibration_error(truth: NDArray[np.bool_], probability: NDArray[np.floating], bins: int = 15) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015) over bins of equal width."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        abs(truth[place == k].mean() - probability[place == k].mean()) * (place == k).mean()
        for k in range(bins)
        if (place == k).any()
    ]
    return float(np.sum(gaps))
