"""Verdicts follow the stated rules, and every reason for review is told."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Finding, Label, ModelPin
from pipeline.finding import VolumeRule, blank, calibrated, of_scan, verdict, wants_mask, with_mask

RULE = VolumeRule()
PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(lambda values: np.round(values, 4))


def pin(name: str = "mobilenet", threshold: float = 0.5, low: float = 0.4, high: float = 0.6) -> ModelPin:
    return ModelPin(
        name=name, kind="classifier", sha256="0" * 64, profile="plain", size=224, threshold=threshold,
        review_low=low, review_high=high,
    )  # fmt: skip


def of_picture(probability: float, **bounds: float) -> Finding:
    return verdict({"mobilenet": np.array([probability])}, [pin(**bounds)], None, RULE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("probability", "label"),
    [(0.9, Label.TUMOUR), (0.1, Label.NO_TUMOUR), (0.55, Label.NEEDS_REVIEW), (0.4, Label.NEEDS_REVIEW)],
)
def test_a_picture_is_judged_by_its_own_probability(probability: float, label: Label) -> None:
    found = of_picture(probability)
    assert found.label is label
    assert found.probability == probability
    assert (Code.PROBABILITY_IN_BAND in found.reasons) == (label is Label.NEEDS_REVIEW)


def test_without_a_band_the_threshold_alone_decides() -> None:
    assert of_picture(0.5, low=0.5, high=0.5).label is Label.TUMOUR
    assert of_picture(0.4999, low=0.5, high=0.5).label is Label.NO_TUMOUR


def test_two_classifiers_are_averaged_and_their_disagreement_needs_review() -> None:
    pins = [pin("mobilenet"), pin("resnet50v2", threshold=0.3)]
    agreed = verdict({"mobilenet": np.array([0.9]), "resnet50v2": np.array([0.7])}, pins, None, RULE)
    assert (agreed.label, agreed.probability, agreed.threshold) == (Label.TUMOUR, 0.8, 0.4)
    assert [vote.probability for vote in agreed.classifiers] == [0.9, 0.7]
    split = verdict({"mobilenet": np.array([0.1]), "resnet50v2": np.array([0.95])}, pins, None, RULE)
    assert split.label is Label.NEEDS_REVIEW
    assert Code.CLASSIFIERS_DISAGREE in split.reasons


def test_one_bright_slice_alone_makes_no_tumour_of_a_volume() -> None:
    slices = np.zeros(40)
    slices[20] = 1.0
    alone = verdict({"mobilenet": slices}, [pin()], 3.0, RULE)
    assert alone.label is Label.NO_TUMOUR
    slices[19:23] = 0.9
    assert verdict({"mobilenet": slices}, [pin()], 3.0, RULE).label is Label.TUMOUR


@pytest.mark.parametrize(("slice_mm", "run"), [(1.0, 5), (3.0, 4), (5.0, 2), (8.0, 2), (None, 2)])
def test_a_run_reaches_as_far_as_a_small_lesion(slice_mm: float | None, run: int) -> None:
    assert RULE.run(slice_mm, 100) == run
    assert RULE.run(slice_mm, 1) == 1


@given(values=PROBABILITIES, run=st.integers(1, 5))
def test_a_volume_is_never_more_probable_than_its_most_probable_slice(values: np.ndarray, run: int) -> None:
    assert of_scan(values, min(run, len(values))) <= float(values.max()) + 1e-4


@given(values=PROBABILITIES, run=st.integers(1, 5), place=st.integers(0, 39))
def test_a_more_suspicious_slice_never_calms_a_volume(values: np.ndarray, run: int, place: int) -> None:
    run, place = min(run, len(values)), place % len(values)
    higher = values.copy()
    higher[place] = 1.0
    assert of_scan(higher, run) >= of_scan(values, run)


def test_calibration_is_temperature_scaling_and_survives_any_logit() -> None:
    logits = np.array([-1000.0, -2.0, 0.0, 2.0, 1000.0], np.float32)
    expected = [0.0, round(1 / (1 + math.e), 4), 0.5, round(1 / (1 + 1 / math.e), 4), 1.0]
    assert calibrated(logits, 2.0).tolist() == expected


def test_a_scan_without_content_needs_review_and_no_mask() -> None:
    found = blank([pin()])
    assert (found.label, found.reasons) == (Label.NEEDS_REVIEW, (Code.BLANK,))
    assert not wants_mask(found, "all")


def test_a_large_mask_contradicts_no_tumour() -> None:
    found = with_mask(of_picture(0.1), 0.05, RULE)
    assert (found.label, found.reasons) == (Label.NEEDS_REVIEW, (Code.MASK_DISAGREES,))
    assert with_mask(of_picture(0.1), 0.0001, RULE).label is Label.NO_TUMOUR


def test_an_empty_mask_never_calms_an_alarm_but_is_told() -> None:
    found = with_mask(of_picture(0.9), 0.0, RULE)
    assert (found.label, found.reasons) == (Label.TUMOUR, (Code.MASK_DISAGREES,))


@pytest.mark.parametrize(
    ("segment", "wanted"),
    [("positive", [True, True, False]), ("all", [True, True, True]), ("none", [False, False, False])],
)
def test_masks_are_made_for_what_the_options_say(segment: str, wanted: list[bool]) -> None:
    assert [wants_mask(of_picture(p), segment) for p in (0.9, 0.5, 0.1)] == wanted


def test_a_classifier_that_said_nothing_is_a_fault_of_the_program() -> None:
    with pytest.raises(Broken):
        verdict({}, [pin()], None, RULE)
