"""Verdicts follow the stated rules, and every reason for review is told."""

import math

import numpy as np
import pytest

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Finding, Label, ModelPin
from pipeline.finding import (
    blank,
    calibrated,
    of_picture,
    of_series,
    picture_with_mask,
    series_with_mask,
    verdict,
    wants_mask,
)


def pin(name: str = "mobilenet", threshold: float = 0.5, low: float = 0.4, high: float = 0.6) -> ModelPin:
    return ModelPin(
        name=name, kind="classifier", sha256="0" * 64, profile="plain", size=224, threshold=threshold,
        review_low=low, review_high=high,
    )  # fmt: skip


def found(probability: float, **bounds: float) -> Finding:
    votes = of_picture({"mobilenet": np.array([probability])}, [pin(**bounds)])  # type: ignore[arg-type]  # no bound is called name
    return verdict(votes)


@pytest.mark.parametrize(
    ("probability", "label"),
    [(0.9, Label.TUMOUR), (0.1, Label.NO_TUMOUR), (0.55, Label.NEEDS_REVIEW), (0.4, Label.NEEDS_REVIEW)],
)
def test_a_picture_is_judged_by_its_own_probability(probability: float, label: Label) -> None:
    said = found(probability)
    assert said.label is label
    assert said.probability == probability
    assert (Code.PROBABILITY_IN_BAND in said.reasons) == (label is Label.NEEDS_REVIEW)


def test_without_a_band_the_threshold_alone_decides() -> None:
    assert found(0.5, low=0.5, high=0.5).label is Label.TUMOUR
    assert found(0.4999, low=0.5, high=0.5).label is Label.NO_TUMOUR


def test_two_classifiers_are_averaged_and_their_disagreement_needs_review() -> None:
    pins = [pin("mobilenet"), pin("resnet50v2", threshold=0.3)]
    agreed = verdict(of_picture({"mobilenet": np.array([0.9]), "resnet50v2": np.array([0.7])}, pins))
    assert (agreed.label, agreed.probability, agreed.threshold) == (Label.TUMOUR, 0.8, 0.4)
    assert [vote.probability for vote in agreed.classifiers] == [0.9, 0.7]
    split = verdict(of_picture({"mobilenet": np.array([0.1]), "resnet50v2": np.array([0.95])}, pins))
    assert split.label is Label.NEEDS_REVIEW
    assert Code.CLASSIFIERS_DISAGREE in split.reasons


def test_calibration_is_temperature_scaling_and_survives_any_logit() -> None:
    logits = np.array([-1000.0, -2.0, 0.0, 2.0, 1000.0], np.float32)
    expected = [0.0, round(1 / (1 + math.e), 4), 0.5, round(1 / (1 + 1 / math.e), 4), 1.0]
    assert calibrated(logits, 2.0).tolist() == expected


def test_a_scan_without_content_needs_review_and_no_mask() -> None:
    empty = blank([pin()])
    assert (empty.label, empty.reasons) == (Label.NEEDS_REVIEW, (Code.BLANK,))
    assert not wants_mask(empty, (), "all")


def test_a_large_mask_contradicts_no_tumour() -> None:
    weighed = picture_with_mask(found(0.1), 0.05)
    assert (weighed.label, weighed.reasons) == (Label.NEEDS_REVIEW, (Code.MASK_DISAGREES,))
    assert picture_with_mask(found(0.1), 0.0001).label is Label.NO_TUMOUR


@pytest.mark.parametrize(
    ("probability", "label"), [(0.9, Label.TUMOUR), (0.5, Label.TUMOUR), (0.49, Label.NEEDS_REVIEW)]
)
def test_an_empty_mask_never_calms_an_alarm_but_is_told_and_a_person_looks_where_it_is_faint(
    probability: float, label: Label
) -> None:
    alarm = found(probability, threshold=0.1, low=0.05, high=0.2)
    assert alarm.label is Label.TUMOUR
    weighed = picture_with_mask(alarm, 0.0)
    assert (weighed.label, weighed.reasons) == (label, (Code.MASK_DISAGREES,))
    assert picture_with_mask(alarm, 0.0001) == alarm


def test_masks_that_calm_what_the_classifier_says_of_a_series_call_for_a_person() -> None:
    calmed = series_with_mask(found(0.9), found(0.1), 0.0)
    assert (calmed.label, calmed.reasons) == (Label.NEEDS_REVIEW, (Code.MASK_DISAGREES,))
    told = series_with_mask(found(0.9), found(0.9), 0.0)
    assert (told.label, told.reasons) == (Label.TUMOUR, (Code.MASK_DISAGREES,))
    assert series_with_mask(found(0.1), found(0.9), 0.02) == found(0.9)


@pytest.mark.parametrize(
    ("segment", "wanted"),
    [("positive", [True, True, False]), ("all", [True, True, True]), ("none", [False, False, False])],
)
def test_masks_are_made_for_what_the_options_say(segment: str, wanted: list[bool]) -> None:
    votes = [of_picture({"mobilenet": np.array([p])}, [pin()]) for p in (0.9, 0.5, 0.1)]
    assert [wants_mask(verdict(each), each, segment) for each in votes] == wanted


def test_a_classifier_that_said_nothing_is_a_fault_of_the_program() -> None:
    for votes in (of_picture, lambda said, pins: of_series(said, pins, None)):
        with pytest.raises(Broken):
            votes({}, [pin()])
    with pytest.raises(Broken):
        verdict(())
