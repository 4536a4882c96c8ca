"""Figures of a classifier and of a segmenter, with 95 % intervals by bootstrap over patients or groups."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.intervals import Bootstrap, Rows, rounded
from models.judging import Outlined, Outlining, Part, Verdicts
from models.lesions import Lesions
from models.scores import (
    auc,
    average_precision,
    calibration_error,
    chance_of_calibration_error,
    precision_recall,
    reliability,
    roc_curve,
)

SMALLEST_PX = (1, 20, 50, 100, 200)  # px: a mask below these may be called none
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # calibrated probabilities, for those who want another balance

Figure = dict[str, Any]


def classifier_figures(verdicts: Verdicts) -> Figure:
    """All figures of one part: at the operating point, over all thresholds, of calibration, and by kind and plane."""
    truth, positive, chance = verdicts.truth, verdicts.positive, verdicts.chance
    bootstrap = Bootstrap(verdicts.groups)
    right = truth == positive
    both = truth.any() and not truth.all()  # without both classes precision says nothing
    return {
        "pictures": len(truth),
        "tumour": int(truth.sum()),
        "groups": bootstrap.groups,
        **bootstrap.of(lambda rows: auc(truth[rows], verdicts.score[rows])).named("auc"),
        **bootstrap.of(lambda rows: average_precision(truth[rows], verdicts.score[rows])).named("average_precision"),
        **bootstrap.mean(right).named("accuracy"),
        **bootstrap.mean(positive, among=truth).named("recall"),
        **bootstrap.mean(~positive, among=~truth).named("specificity"),
        **bootstrap.mean(truth, among=positive & both).named("precision"),
        "ece": rounded(calibration_error(truth, chance)),
        "ece_by_chance": rounded(chance_of_calibration_error(chance)),
        "needs_review": rounded(_mean(verdicts.review)),
        "needs_review_pictures": int(verdicts.review.sum()),
        "confusion": {
            "tp": int((truth & positive).sum()),
            "fn": int((truth & ~positive).sum()),
            "fp": int((~truth & positive).sum()),
            "tn": int((~truth & ~positive).sum()),
        },
        "by_threshold": {
            str(at): {
                "recall": rounded(_mean(chance[truth] >= at)),
                "specificity": rounded(_mean(chance[~truth] < at)),
            }
            for at in THRESHOLDS
        },
        "reliability": [_rounded(asdict(each)) for each in reliability(truth, chance)],
        **_curves(verdicts),
        **_by("kind", verdicts.kinds, verdicts.groups, right, "accuracy"),
        **_by("plane", verdicts.planes, verdicts.groups, right, "accuracy"),
    }


def by_patient(verdicts: Verdicts) -> Figure:
    """Where slices without tumour are called positive: by patient, for a rule from slices to a scan."""
    wrong: dict[str, list[bool]] = defaultdict(list)
    for group, truth, positive in zip(verdicts.groups, verdicts.truth, verdicts.positive, strict=True):
        if not truth:
            wrong[group].append(bool(positive))
    rates = np.array([np.mean(slices) for slices in wrong.values()])
    runs = np.array([_longest_run(slices) for slices in wrong.values()])
    return {
        "patients": len(rates),
        "false_rate_mean": rounded(_mean(rates)),
        "false_rate_by_patient": [rounded(rate) for rate in sorted(rates)],
        "longest_false_run_by_patient": sorted(int(run) for run in runs),
    }


def volume_figures(outlining: Outlining) -> Figure:
    """Dice and IoU of the volume by patient, lesions in three dimensions, false masks on slices without tumour."""
    patients, counts = _cases(outlining)
    dice, iou = _overlaps(*counts.T)
    rows = [one for one in outlining.rows if one.drawn is not None]
    met = np.array([one.common > 0 for one in rows if one.drawn], bool)
    return {
        "patients": len(patients),
        **_outline_measures(dice, iou, patients),
        "dice_by_patient": [rounded(value) for value in sorted(dice)],
        **Bootstrap([one.item.group for one in rows if one.drawn]).mean(met).named("slices_with_tumour_touched"),
        **lesion_figures(outlining.lesions),
        **false_masks(outlining.rows),
    }


def slice_figures(outlining: Outlining) -> Figure:
    """Dice and IoU by slice, lesions in two dimensions, agreement of readers, false masks without tumour."""
    drawn = [one for one in outlining.rows if one.drawn]
    if not drawn:
        return {**lesion_figures(outlining.lesions), **false_masks(outlining.rows)}
    groups, counts = _cases(outlining)
    dice, iou = _overlaps(*counts.T)
    return {
        "slices": len(drawn),
        "groups": len(set(groups)),
        **_outline_measures(dice, iou, groups),
        **Bootstrap(groups).mean(counts[:, 0] > 0).named("slices_touched"),
        **lesion_figures(outlining.lesions),
        **readers(drawn),
        **false_masks(outlining.rows),
        **_by("kind", [one.item.kind for one in drawn], groups, dice, "dice_mean"),
        **_by("plane", [one.item.plane for one in drawn], groups, dice, "dice_mean"),
    }


def dice_by_case(outlining: Outlining) -> tuple[list[str], NDArray[np.float64]]:
    """Dice `(n,)` of each volume, or of each outlined slice where slices form none, and the group of each."""
    groups, counts = _cases(outlining)
    return groups, _overlaps(*counts.T)[0]


def _cases(outlining: Outlining) -> tuple[list[str], NDArray[np.float64]]:
    """Group, and counts `(n, 3)` of what is measured as one: a patient's volume, else an outlined slice."""
    if not outlining.part.volumes:
        drawn = [one for one in outlining.rows if one.drawn]
        return [one.item.group for one in drawn], np.array([_counts(one) for one in drawn], float).reshape(-1, 3)
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    for one in outlining.rows:
        if one.drawn is not None:
            sums[one.item.group] += _counts(one)
    return list(sums), np.array(list(sums.values())).reshape(-1, 3)


def lesion_figures(regions: Sequence[Lesions]) -> Figure:
    """Share of the outlined regions that were met, and regions of ours that nobody outlined, a scan."""
    each = [region for region in regions for _ in range(region.drawn)]
    met = np.array([number < region.met for region in regions for number in range(region.drawn)], bool)
    false = np.array([region.false for region in regions])
    return {
        "scans": len(regions),
        "lesions": len(each),
        **Bootstrap([region.group for region in each]).mean(met).named("lesion_sensitivity"),
        "false_lesions": int(false.sum()),
        **Bootstrap([region.group for region in regions]).mean(false).named("false_lesions_per_scan"),
    }


def readers(drawn: Sequence[Outlined]) -> Figure:
    """Mean Dice of two readers, and of ours with each, on the slices that both outlined."""
    twice = [(one, one.second) for one in drawn if one.second is not None]
    if not twice:
        return {}
    bootstrap = Bootstrap([one.item.group for one, _ in twice])
    first = np.array([_counts(one) for one, _ in twice])
    second = np.array([(two.with_first, two.with_ours, two.drawn) for _, two in twice], float)
    return {
        "readers": {
            "slices": len(twice),
            **bootstrap.mean(_dice(second[:, 0], first[:, 1] + second[:, 2])).named("first_second"),
            **bootstrap.mean(_dice(first[:, 0], first[:, 1] + first[:, 2])).named("ours_first"),
            **bootstrap.mean(_dice(second[:, 1], second[:, 2] + first[:, 2])).named("ours_second"),
        }
    }


def false_masks(outlined: Sequence[Outlined]) -> Figure:
    """Part of the pictures without tumour that get a mask of at least so many px, of whichever definition."""
    sizes = np.array([one.largest for one in outlined if not one.item.tumour])
    if not sizes.size:
        return {"healthy": 0}
    return {
        "healthy": len(sizes),
        "false_mask_rate_by_px": {str(px): rounded(_mean(sizes >= px)) for px in SMALLEST_PX},
    }


def unread(part: Part) -> Figure:
    """Rows of the table whose picture or outline could not be used: they are in no figure."""
    return {"unreadable_rows": [item.row for item in part.unread]} if part.unread else {}


def _curves(verdicts: Verdicts) -> Figure:
    """ROC and precision-recall as lists of points, where there are both classes."""
    if verdicts.truth.all() or not verdicts.truth.any():
        return {}
    curves: dict[str, Callable[..., NDArray[np.float64]]] = {"roc": roc_curve, "precision_recall": precision_recall}
    return {
        name: [[round(float(value), 4) for value in point] for point in curve(verdicts.truth, verdicts.score)]
        for name, curve in curves.items()
    }


def _outline_measures(dice: NDArray[np.float64], iou: NDArray[np.float64], groups: Sequence[str]) -> Figure:
    def median(rows: Rows) -> float:
        return float(np.median(dice[rows])) if rows.size else float("nan")

    bootstrap = Bootstrap(groups)
    return {
        **bootstrap.mean(dice).named("dice_mean"),
        **bootstrap.of(median).named("dice_median"),
        **bootstrap.mean(iou).named("iou_mean"),
    }


def _by(
    what: str, words: Sequence[str], groups: Sequence[str], values: NDArray[Any], name: str
) -> dict[str, dict[str, Figure]]:
    """The mean of `values` for each word apart, where there are several."""
    each = sorted(set(words) - {""})
    if len(each) < 2:
        return {}
    places = np.asarray(words)
    bootstrap = Bootstrap(groups)
    return {
        f"by_{what}": {
            word: {"pictures": int((places == word).sum()), **bootstrap.mean(values, among=places == word).named(name)}
            for word in each
        }
    }


def _counts(one: Outlined) -> tuple[int, int, int]:
    """Px in common, of the reader's outline, of ours."""
    return one.common, one.drawn or 0, one.found


def _overlaps(
    common: NDArray[np.float64], drawn: NDArray[np.float64], found: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dice and IoU; 1 where both are empty."""
    total = drawn + found
    iou = np.where(total > 0, common / np.maximum(total - common, 1), 1.0)
    return _dice(common, total), iou


def _dice(common: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(total > 0, 2 * common / np.maximum(total, 1), 1.0)


def _longest_run(flags: Sequence[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: rounded(value) if isinstance(value, float) else value for name, value in values.items()}


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else float("nan")
