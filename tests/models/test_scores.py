"""Figures of merit and calibration, against what can be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibrate import SENSITIVITY, calibrate
from models.figures import classifier_figures, false_masks, lesion_figures, slice_figures, volume_figures
from models.intervals import Bootstrap
from models.judging import Judged, Outlined, Outlining, Part, Second, Verdicts
from models.lesions import Lesions, compared
from models.scores import (
    auc,
    average_precision,
    calibration_error,
    chance_of_calibration_error,
    dice,
    precision_recall,
    reliability,
    roc_curve,
    sigmoid,
)
from tests.models.labelled import item


def judged(logits: NDArray[np.float64], truth: NDArray[np.bool_], name: str = "lgg") -> Judged:
    items = tuple(item(str(number), tumour=bool(label)) for number, label in enumerate(truth))
    return Judged(part=Part(name=name, items=items, view="colour"), logits=logits.astype(np.float32))


def test_auc_counts_pairs_and_halves_ties() -> None:
    truth = np.array([True, True, False, False])
    assert auc(truth, np.array([3.0, 1.0, 2.0, 1.0])) == pytest.approx((2 + 0.5) / 4)
    assert np.isnan(auc(np.array([True]), np.array([1.0])))


def test_few_pictures_have_a_calibration_error_by_chance_alone() -> None:
    even = np.full(100, 0.5)  # one bin, whose rate of tumours spreads as a binomial's: on the mean |rate - 1/2| is 0.04
    assert chance_of_calibration_error(even) == pytest.approx(0.0398, abs=0.005)
    assert chance_of_calibration_error(np.full(10_000, 0.5)) == pytest.approx(0.00398, abs=0.0005)
    assert chance_of_calibration_error(np.array([0.0, 1.0])) == 0.0
    assert np.isnan(chance_of_calibration_error(np.array([])))


def test_dice_of_two_empty_masks_is_one() -> None:
    none, some = np.zeros(4, bool), np.array([True, True, False, False])
    assert dice(none, none) == 1.0
    assert dice(some, none) == 0.0
    assert dice(some, np.array([True, False, True, False])) == 0.5


def test_overconfidence_shows_as_calibration_error() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(20_000)
    truth = rng.random(20_000) < chance
    assert calibration_error(truth, chance) < 0.02
    assert calibration_error(truth, sigmoid(4 * np.log(chance / (1 - chance)))) > 0.1


def test_calibration_finds_the_temperature_that_was_put_in() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 20_000)
    truth = rng.random(20_000) < sigmoid(logits)
    assert calibrate([judged(logits * 3, truth)]).temperature == pytest.approx(3, rel=0.08)


def test_the_threshold_reaches_its_sensitivity_with_every_part_weighing_the_same() -> None:
    rng = np.random.default_rng(2)
    parts = [
        judged(rng.normal(2, 1, 400), np.ones(400, bool)),
        judged(np.r_[rng.normal(0, 1, 50), rng.normal(-3, 1, 50)], np.arange(100) < 50, "web"),
    ]
    found = calibrate(parts)
    recalls = [(sigmoid(part.logits[part.truth] / found.temperature) >= found.threshold - 1e-4) for part in parts]
    weights = [1 / 400, 1 / 100]
    reached = sum(w * r.sum() for w, r in zip(weights, recalls, strict=True)) / (400 / 400 + 50 / 100)
    assert reached >= SENSITIVITY
    assert found.review_low < found.threshold < found.review_high


def outlined(
    group: str, drawn: int | None, common: int, found: int, *, largest: int = 0, tumour: bool = True
) -> Outlined:
    return Outlined(
        item=item(group, tumour=tumour), drawn=drawn, common=common, found=found, largest=max(found, largest)
    )


def outlining(*rows: Outlined) -> Outlining:
    items = tuple(row.item for row in rows)
    return Outlining(part=Part(name="lgg", items=items, view="colour", volumes=True), rows=rows, lesions=())


def test_volumes_are_compared_by_patient() -> None:
    rows = (outlined("a", 100, 80, 100), outlined("a", 0, 0, 20, tumour=False), outlined("b", 50, 0, 0))
    figures = volume_figures(outlining(*rows))
    assert figures["patients"] == 2
    assert figures["dice_mean"] == pytest.approx((160 / 220 + 0) / 2, abs=1e-4)
    assert figures["iou_mean"] == pytest.approx((80 / 140 + 0) / 2, abs=1e-4)
    assert figures["dice_by_patient"] == [0.0, pytest.approx(160 / 220, abs=1e-4)]
    assert figures["slices_with_tumour_touched"] == 0.5


def test_a_tumour_that_nobody_outlined_is_in_no_dice() -> None:
    figures = slice_figures(outlining(outlined("a", 10, 5, 10), outlined("b", None, 0, 40)))
    assert (figures["slices"], figures["dice_mean"], figures["iou_mean"]) == (1, 0.5, 0.3333)


def test_readers_are_compared_on_the_slices_that_both_outlined() -> None:
    both = replace(outlined("a", 10, 8, 10), second=Second(drawn=30, with_first=10, with_ours=9))
    figures = slice_figures(outlining(both, outlined("b", 10, 0, 10)))
    assert figures["readers"]["slices"] == 1
    assert [figures["readers"][name] for name in ("first_second", "ours_first", "ours_second")] == [0.5, 0.8, 0.45]


def test_a_false_mask_counts_from_its_least_size_in_either_channel() -> None:
    rows = [
        outlined("a", 0, 0, found, largest=largest, tumour=False)
        for found, largest in ((0, 0), (0, 30), (60, 0), (5, 5))
    ]
    assert false_masks(rows) == {
        "healthy": 4,
        "false_mask_rate_by_px": {"1": 0.75, "20": 0.5, "50": 0.25, "100": 0.0, "200": 0.0},
    }


def verdicts(truth: list[int], chance: list[float], threshold: float = 0.5, groups: str = "") -> Verdicts:
    probability = np.array(chance)
    return Verdicts(
        truth=np.array(truth, bool),
        score=probability,
        chance=probability,
        positive=probability >= threshold,
        review=np.abs(probability - threshold) < 0.05,
        groups=tuple(groups or "abcdefghij"[: len(truth)]),
        kinds=tuple("glioma" if label else "none" for label in truth),
    )


def test_the_operating_point_is_counted_by_hand() -> None:
    found = classifier_figures(verdicts([1, 1, 1, 0, 0], [0.9, 0.6, 0.2, 0.52, 0.1]))
    assert found["confusion"] == {"tp": 2, "fn": 1, "fp": 1, "tn": 1}
    shares = {name: found[name] for name in ("accuracy", "recall", "specificity", "precision", "needs_review")}
    assert shares == {"accuracy": 0.6, "recall": 0.6667, "specificity": 0.5, "precision": 0.6667, "needs_review": 0.2}
    assert found["needs_review_pictures"] == 1
    assert found["auc"] == pytest.approx((2 + 2 + 1) / 6, abs=1e-4)
    assert found["by_threshold"]["0.7"] == {"recall": 0.3333, "specificity": 1.0}
    assert found["by_kind"]["glioma"]["accuracy"] == 0.6667


def test_one_class_alone_has_neither_auc_nor_precision() -> None:
    found = classifier_figures(verdicts([1, 1], [0.9, 0.6]))
    assert [found[name] for name in ("auc", "average_precision", "specificity", "precision")] == [None] * 4
    assert "roc" not in found
    assert (found["recall"], found["recall_95"]) == (1.0, [0.1581, 1.0])  # 0.025 ** (1/2)


def test_curves_are_those_of_the_textbook() -> None:
    truth, score = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.8, 0.1])
    assert roc_curve(truth, score).tolist() == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert precision_recall(truth, score).tolist() == [[0.5, 1.0], [1.0, 2 / 3], [1.0, 0.5]]
    assert average_precision(truth, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_bins_hold_what_lies_in_them() -> None:
    bins = reliability(np.array([0, 1, 1], bool), np.array([0.01, 0.03, 1.0]))
    assert [(each.pictures, each.rate) for each in bins] == [(2, 0.5), (1, 1.0)]
    assert bins[0].probability == pytest.approx(0.02)
    assert calibration_error(np.array([0, 1, 1], bool), np.array([0.01, 0.03, 1.0])) == pytest.approx(0.48 * 2 / 3)


def test_an_interval_follows_from_groups_and_seed_alone() -> None:
    rng = np.random.default_rng(3)
    values, groups = rng.random(60), [str(number % 9) for number in range(60)]
    order = rng.permutation(60)
    first = Bootstrap(groups).mean(values)
    shuffled = Bootstrap([groups[place] for place in order]).mean(values[order])
    assert (shuffled.low, shuffled.high) == pytest.approx((first.low, first.high))
    assert Bootstrap(groups).of(lambda rows: float(values[rows].mean())).low == pytest.approx(first.low)
    assert Bootstrap(groups, seed=1).mean(values).low != first.low


def test_pictures_of_one_patient_are_drawn_together() -> None:
    values = np.repeat([0.0, 1.0], 500)
    apart = Bootstrap([str(number) for number in range(1000)]).mean(values)
    together = Bootstrap(np.repeat(["a", "b"], 500).tolist()).mean(values)
    assert (together.low, together.high) == (0.0, 1.0)
    assert apart.low is not None
    assert apart.low > 0.45
    assert Bootstrap(["a"] * 1000).mean(values).low is None


def test_regions_are_met_and_false_by_their_overlap() -> None:
    drawn, ours = np.zeros((2, 40, 40), bool), np.zeros((2, 40, 40), bool)
    drawn[:, 5:15, 5:15] = True  # 200 voxels in one region; ours covers 40
    ours[0, 11:15, 5:15] = True
    drawn[0, 30:34, 30:34] = True  # 16 px, missed
    drawn[1, 30, 1:4] = True  # a speck of 3 px is not counted
    ours[1, 20:24, 30:34] = True  # outlined by nobody
    assert compared("a", drawn, ours) == Lesions(group="a", drawn=2, met=1, ours=2, false=1)
    ours[0, 11:15, 5:15] = False
    ours[0, 14, 5:15] = True  # 10 of 200 are less than a tenth
    assert compared("a", drawn, ours).met == 0
    figures = lesion_figures([Lesions(group="a", drawn=2, met=1, ours=2, false=1)] * 2)
    assert (figures["lesion_sensitivity"], figures["false_lesions_per_scan"]) == (0.5, 1.0)
