"""What looks unlike the training pictures gets no verdict of its own: a person looks."""

import json

import numpy as np
import pytest

from neurobatch.codes import Code
from neurobatch.records import Finding, Label, ModelPin, OddnessPin, ScanKind
from pipeline.finding import of_picture, verdict
from pipeline.oddness import of_scan, weighed, written
from pipeline.run import Setting, conclude, decode, judge, look
from tests.pipeline.inputs import nifti
from tests.pipeline.test_order import head, planned, setting


def pin(name: str = "mobilenet", threshold: float | None = 2.0) -> ModelPin:
    return ModelPin(
        name=name, kind="classifier", sha256="0" * 64, profile="plain", size=64, threshold=0.5, review_low=0.5,
        review_high=0.5, oddness=None if threshold is None else OddnessPin(sha256="1" * 64, threshold=threshold),
    )  # fmt: skip


def found_of(*checked: tuple[ModelPin, float], probability: float = 0.9) -> Finding:
    pins = [pin for pin, _ in checked]
    found = verdict(of_picture({pin.name: np.array([probability]) for pin in pins}, pins))
    return weighed(found, {pin.name: np.array([odd]) for pin, odd in checked if pin.oddness}, pins)


@pytest.mark.parametrize("probability", [0.9, 0.1])
def test_an_odd_picture_needs_review_whatever_its_probability(probability: float) -> None:
    found = found_of((pin(), 2.0), probability=probability)
    assert found.label is Label.NEEDS_REVIEW
    assert found.reasons == (Code.UNLIKE_TRAINING,)
    assert found.probability == probability


def test_a_picture_that_is_not_odd_keeps_its_verdict() -> None:
    found = found_of((pin(), 1.999))
    assert (found.label, found.reasons) == (Label.TUMOUR, ())


def test_either_of_two_classifiers_may_find_it_odd() -> None:
    found = found_of((pin(), 1.0), (pin("resnet50v2", 5.0), 5.5))
    assert found.reasons == (Code.UNLIKE_TRAINING,)
    assert found_of((pin(), 1.0), (pin("resnet50v2", 5.0), 4.5)).label is Label.TUMOUR


def test_a_network_without_a_check_finds_nothing_odd() -> None:
    assert found_of((pin(threshold=None), 99.0)).label is Label.TUMOUR


@pytest.mark.parametrize(
    ("slices", "expected"), [([3.0], 3.0), ([1.0, 9.0], 1.0), ([9.0, 1.0, 8.0], 8.0), ([9.0, 1.0, 8.0, 2.0], 2.0)]
)
def test_a_volume_is_odd_where_more_than_half_of_its_slices_are(slices: list[float], expected: float) -> None:
    assert of_scan(np.array(slices)) == expected


def test_what_is_compared_is_what_is_written() -> None:
    assert written(np.array([1.99951, -0.2], np.float32)).tolist() == [2.0, 0.0]


def test_the_report_of_a_volume_says_each_slice_s_oddness_and_the_threshold() -> None:
    planes = np.stack([head(), head() * 0, head()], axis=2)
    volume = decode(ScanKind.NIFTI, [nifti(planes)], setting().limits)
    shown = look(volume)
    assert len(shown) == 2
    used = Setting(**{**setting().__dict__, "pins": (pin(),)})
    said = {"mobilenet": np.array([[4.0, 7.0], [4.0, 1.0]], np.float32)}
    judged = judge(volume, shown, said, used)
    files = conclude(planned(ScanKind.NIFTI), volume, judged, None, used).files
    report = json.loads(files["report.json"])
    assert [each["oddness"] for each in report["slices"]] == [{"mobilenet": 7.0}, {}, {"mobilenet": 1.0}]
    assert report["oddness"] == [{"model": "mobilenet", "oddness": 1.0, "threshold": 2.0}]
    assert report["models"][0]["oddness"] == {"sha256": "1" * 64, "threshold": 2.0}
