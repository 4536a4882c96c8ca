"""Figures of a classifier and of a segmenter, with 95 % intervals by bootstrap over patients or groups."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.judging import Judged, Outlined
from models.registry import Network
from models.scores import auc, calibration_error, sigmoid

RESAMPLES = 500
SMALLEST_PX = (1, 20, 50, 100, 200)  # px: a mask below these may be called none
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # calibrated probabilities, for those who want another balance

Figure = dict[str, Any]


def classifier_figures(judged: Judged, network: Network) -> Figure:
    """AUC, accuracy, recall, specificity (at the card's threshold), calibration and confusion of one part."""
    truth = judged.truth
    chance = sigmoid(judged.logits.astype(np.float64) / network.temperature)
    said = chance >= network.threshold
    band = (chance >= network.review_low) & (chance <= network.review_high)
    groups = [item.group for item in judged.part.items]

    def measures(rows: NDArray[np.intp]) -> dict[str, float]:
        t, s = truth[rows], said[rows]
        return {
            "auc": auc(t, chance[rows]),
            "accuracy": _mean(t == s),
            "recall": _mean(s[t]),
            "specificity": _mean(~s[~t]),
        }

    return {
        "pictures": len(truth),
        "tumour": int(truth.sum()),
        "groups": len(set(groups)),
        **_with_intervals(measures, groups),
        "ece": _rounded(calibration_error(truth, chance)),
        "needs_review": _rounded(_mean(band)),
        "by_threshold": {
            str(at): {
                "recall": _rounded(_mean(chance[truth] >= at)),
                "specificity": _rounded(_mean(chance[~truth] < at)),
            }
            for at in THRESHOLDS
        },
        "confusion": {
            "tp": int((truth & said).sum()),
            "fn": int((truth & ~said).sum()),
            "fp": int((~truth & said).sum()),
            "tn": int((~truth & ~said).sum()),
        },
    }


def by_patient(judged: Judged, network: Network) -> Figure:
    """Where slices without tumour are called positive: by patient, for a rule from slices to a scan."""
    said = sigmoid(judged.logits.astype(np.float64) / network.temperature) >= network.threshold
    wrong: dict[str, list[bool]] = defaultdict(list)
    for item, positive in zip(judged.part.items, said, strict=True):
        if not item.tumour:
            wrong[item.group].append(bool(positive))
    rates = np.array([np.mean(slices) for slices in wrong.values()])
    runs = np.array([_longest_run(slices) for slices in wrong.values()])
    return {
        "patients": len(rates),
        "false_rate_mean": _rounded(_mean(rates)),
        "false_rate_by_patient": [_rounded(rate) for rate in sorted(rates)],
        "longest_false_run_by_patient": sorted(int(run) for run in runs),
    }


def lgg_figures(outlined: Sequence[Outlined]) -> Figure:
    """Dice and IoU of the volume by patient (channel 0), and false masks on slices without tumour."""
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    for one in outlined:
        sums[one.item.group] += [one.common[0], one.drawn, one.found[0]]
    volumes = np.array(list(sums.values()))
    both, total = volumes[:, 0], volumes[:, 1] + volumes[:, 2]
    dice = np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)
    iou = np.where(total > 0, both / np.maximum(total - both, 1), 1.0)

    def measures(rows: NDArray[np.intp]) -> dict[str, float]:
        return {
            "dice_mean": _mean(dice[rows]),
            "dice_median": float(np.median(dice[rows])),
            "iou_mean": _mean(iou[rows]),
        }

    tumour = [one for one in outlined if one.drawn]
    found = [one.found[0] > 0 and one.common[0] > 0 for one in tumour]
    return {
        "patients": len(volumes),
        **_with_intervals(measures, list(sums)),
        "slices_with_tumour_touched": _rounded(_mean(np.array(found))),
        **false_masks(outlined),
    }


def core_figures(outlined: Sequence[Outlined]) -> Figure:
    """Dice and IoU by slice (channel 1), and the agreement with the second reader where there is one."""
    drawn = [one for one in outlined if one.drawn]
    if not drawn:
        return false_masks(outlined)
    common = np.array([one.common[1] for one in drawn], float)
    total = np.array([one.drawn + one.found[1] for one in drawn], float)
    dice, iou = 2 * common / total, common / (total - common)

    def measures(rows: NDArray[np.intp]) -> dict[str, float]:
        return {
            "dice_mean": _mean(dice[rows]),
            "dice_median": float(np.median(dice[rows])),
            "iou_mean": _mean(iou[rows]),
        }

    second = [2 * one.second[1] / (one.second[0] + one.found[1]) for one in drawn if one.second is not None]
    return {
        "slices": len(drawn),
        **_with_intervals(measures, [one.item.group for one in drawn]),
        "slices_touched": _rounded(_mean(common > 0)),
        "dice_with_second_reader": _rounded(_mean(np.array(second))),
        **false_masks(outlined),
    }


def false_masks(outlined: Sequence[Outlined]) -> Figure:
    """Part of the pictures without tumour that get a mask of at least so many px in either channel."""
    sizes = np.array([max(one.found) for one in outlined if not one.item.tumour])
    return {
        "healthy": len(sizes),
        "false_mask_rate_by_px": {str(px): _rounded(_mean(sizes >= px)) for px in SMALLEST_PX},
    }


def _with_intervals(measures: Callable[[NDArray[np.intp]], dict[str, float]], groups: Sequence[str]) -> Figure:
    """Each measure over all rows, and its 2.5 and 97.5 % quantiles over resampled groups."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        rows_of[group].append(row)
    clusters = [np.array(rows) for rows in rows_of.values()]
    rng = np.random.default_rng(0)
    samples = [
        measures(np.concatenate([clusters[k] for k in rng.integers(len(clusters), size=len(clusters))]))
        for _ in range(RESAMPLES)
    ]
    figures: Figure = {}
    for name, value in measures(np.arange(len(groups))).items():
        drawn = np.array([sample[name] for sample in samples])
        drawn = drawn[np.isfinite(drawn)]
        interval = [_rounded(float(q)) for q in np.quantile(drawn, [0.025, 0.975])] if drawn.size else None
        figures[name], figures[f"{name}_95"] = _rounded(value), interval
    return figures


def _longest_run(flags: Sequence[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
