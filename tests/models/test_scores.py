"""Figures of merit and calibration, against what can be counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibrate import SENSITIVITY, calibrate
from models.data import Item
from models.figures import false_masks, lgg_figures
from models.judging import Judged, Outlined, Part
from models.scores import auc, calibration_error, dice, sigmoid


def item(group: str, *, tumour: bool) -> Item:
    return Item(
        source="lgg",
        file=Path("x"),
        mask=None,
        mask2=None,
        definition="flair",
        tumour=tumour,
        group=group,
        split="val",
        plane="axial",
        doubtful=False,
    )


def judged(logits: NDArray[np.float64], truth: NDArray[np.bool_], name: str = "lgg") -> Judged:
    items = tuple(item(str(number), tumour=bool(label)) for number, label in enumerate(truth))
    return Judged(part=Part(name=name, items=items, view="colour"), logits=logits.astype(np.float32))


def test_auc_counts_pairs_and_halves_ties() -> None:
    truth = np.array([True, True, False, False])
    assert auc(truth, np.array([3.0, 1.0, 2.0, 1.0])) == pytest.approx((2 + 0.5) / 4)
    assert np.isnan(auc(np.array([True]), np.array([1.0])))


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


def test_volumes_are_compared_by_patient() -> None:
    rows = [
        Outlined(item=item("a", tumour=True), drawn=100, common=(80, 0), found=(100, 0), second=None),
        Outlined(item=item("a", tumour=False), drawn=0, common=(0, 0), found=(20, 0), second=None),
        Outlined(item=item("b", tumour=True), drawn=50, common=(0, 0), found=(0, 0), second=None),
    ]
    figures = lgg_figures(rows)
    assert figures["patients"] == 2
    assert figures["dice_mean"] == pytest.approx((160 / 220 + 0) / 2, abs=1e-4)
    assert figures["slices_with_tumour_touched"] == 0.5


def test_a_false_mask_counts_from_its_least_size_in_either_channel() -> None:
    rows = [
        Outlined(item=item("a", tumour=False), drawn=0, common=(0, 0), found=found, second=None)
        for found in ((0, 0), (0, 30), (60, 0), (5, 5))
    ]
    assert false_masks(rows) == {
        "healthy": 4,
        "false_mask_rate_by_px": {"1": 0.75, "20": 0.5, "50": 0.25, "100": 0.0, "200": 0.0},
    }
