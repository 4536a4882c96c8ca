"""A series is judged by a stated rule: neighbours must agree, one odd slice decides nothing, more never calms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.records import Label, ModelPin, SeriesForm, SeriesRule
from pipeline.finding import UNFITTED, of_series, verdict, wants_mask
from pipeline.series import CLASSIFIER, WITH_MASK, run_length, run_medians, weighed

FORM = SeriesForm(mask_weight=0.5, offset=1.0, temperature=2.0, threshold=0.5, review_low=0.4, review_high=0.6)
RULE = SeriesRule(
    name="neighbours", version=7, span_mm=15.0, shortest=3, head_mm=150.0, clip=6.0, floor=0.001, mask_from=0.2,
    alone=FORM.model_copy(update={"mask_weight": 0.0, "offset": 0.0}), with_mask=FORM,
)  # fmt: skip
SLICES = st.lists(st.floats(0, 1), min_size=2, max_size=40).map(lambda values: np.round(values, 4))


def pin(**fields: object) -> ModelPin:
    return ModelPin.model_validate(
        {
            "name": "mobilenet", "kind": "classifier", "sha256": "0" * 64, "profile": "plain", "size": 224,
            "threshold": 0.1, "review_low": 0.08, "review_high": 0.12, "series": RULE, **fields,
        }
    )  # fmt: skip


def label(probabilities: np.ndarray, slice_mm: float | None = 5.0, **fields: object) -> Label:
    return verdict(of_series({"mobilenet": probabilities}, [pin(**fields)], slice_mm)).label


def healthy(slices: int = 20) -> np.ndarray:
    return np.full(slices, 0.05)


def lesion(slices: int = 20, length: int = 6) -> np.ndarray:
    values = healthy(slices)
    values[7 : 7 + length] = 0.97
    return values


@pytest.mark.parametrize(
    ("slice_mm", "slices", "length"),
    [(5.0, 20, 3), (7.0, 20, 3), (3.0, 50, 5), (1.0, 160, 15), (0.9, 192, 17), (1.0, 8, 8), (5.0, 2, 2), (5.0, 1, 1)],
)
def test_a_run_reaches_as_far_whatever_the_thickness(slice_mm: float, slices: int, length: int) -> None:
    assert run_length(RULE, slices, slice_mm) == length


@pytest.mark.parametrize(("slices", "length"), [(20, 3), (50, 5), (150, 15), (4, 3)])
def test_without_a_distance_a_series_shows_a_head_from_end_to_end(slices: int, length: int) -> None:
    assert run_length(RULE, slices, None) == run_length(RULE, slices, 0.0) == length


def test_more_than_half_of_a_run_must_agree() -> None:
    assert run_medians(np.array([0.0, 9.0, 0.0, 9.0, 9.0]), 3).tolist() == [0.0, 9.0, 9.0]
    assert run_medians(np.array([9.0, 9.0, 0.0, 0.0]), 4).tolist() == [0.0]
    assert run_medians(np.array([9.0, 0.0]), 2).tolist() == [0.0]


@pytest.mark.parametrize("place", range(20))
def test_one_noisy_slice_makes_no_tumour_of_a_healthy_series(place: int) -> None:
    odd = healthy()
    odd[place] = 1.0
    shares = np.zeros(20)
    shares[place] = 0.5
    assert label(odd) is Label.NO_TUMOUR
    assert weighed(odd, shares, 5.0, RULE) == weighed(healthy(), np.zeros(20), 5.0, RULE)


@pytest.mark.parametrize("place", range(20))
def test_one_missed_slice_hides_no_tumour(place: int) -> None:
    odd = lesion()
    odd[place] = 0.0
    assert label(odd) is label(lesion()) is Label.TUMOUR


@pytest.mark.parametrize("slices", [20, 40, 80, 160, 480])
def test_the_same_head_in_thinner_slices_is_judged_the_same(slices: int) -> None:
    each = np.repeat(lesion(), slices // 20)
    assert weighed(each, None, 100 / slices, RULE).probability == weighed(lesion(), None, 5.0, RULE).probability


@pytest.mark.parametrize("slices", [2, 3, 4])
def test_few_slices_are_judged_where_they_agree(slices: int) -> None:
    assert label(np.full(slices, 0.97)) is Label.TUMOUR
    assert label(np.full(slices, 0.05)) is Label.NO_TUMOUR
    odd = np.full(slices, 0.05)
    odd[0] = 1.0
    assert label(odd) is Label.NO_TUMOUR


@given(values=SLICES, place=st.integers(0, 39), slice_mm=st.one_of(st.none(), st.floats(0.3, 10)))
def test_a_more_suspicious_slice_never_calms_a_series(values: np.ndarray, place: int, slice_mm: float | None) -> None:
    higher = values.copy()
    higher[place % len(values)] = 1.0
    assert weighed(higher, None, slice_mm, RULE).probability >= weighed(values, None, slice_mm, RULE).probability


@given(values=SLICES, place=st.integers(0, 39), share=st.floats(0, 1))
def test_a_larger_mask_never_calms_a_series(values: np.ndarray, place: int, share: float) -> None:
    none = np.zeros(len(values))
    some = none.copy()
    some[place % len(values)] = share
    assert weighed(values, some, 5.0, RULE).probability >= weighed(values, none, 5.0, RULE).probability


@given(values=SLICES)
def test_order_of_the_slices_does_not_matter_from_which_end(values: np.ndarray) -> None:
    assert weighed(values[::-1], None, 5.0, RULE).probability == weighed(values, None, 5.0, RULE).probability


def test_the_numbers_are_those_that_are_stated() -> None:
    shares = np.full(20, 0.01)
    told = weighed(lesion(), shares, 5.0, RULE)
    z = math.log(0.97 / 0.03) + 0.5 * math.log(1 + 0.01 / 0.001)
    assert told.evidence == round(z, 4)
    assert told.probability == round(1 / (1 + math.exp(-(z - 1.0) / 2.0)), 4)
    assert (told.first, told.length, told.inputs, told.rule) == (6, 3, WITH_MASK, "neighbours 7")
    alone = weighed(lesion(), None, 5.0, RULE)
    assert (alone.inputs, alone.evidence) == (CLASSIFIER, round(math.log(0.97 / 0.03), 4))


def test_a_series_has_the_rules_threshold_unless_the_batch_forces_one() -> None:
    faint = {"mobilenet": np.full(20, 0.2)}
    own, forced = (verdict(of_series(faint, [pin()], 5.0, forced=each)) for each in (False, True))
    assert (own.label, own.threshold) == (Label.NO_TUMOUR, 0.5)
    assert (forced.label, forced.threshold) == (Label.TUMOUR, 0.1)
    assert own.probability == forced.probability


def test_masks_are_drawn_from_where_they_can_decide() -> None:
    for probability, wanted in ((0.02, False), (0.1, True), (0.9, True)):
        votes = of_series({"mobilenet": np.full(20, probability)}, [pin()], 5.0)
        assert wants_mask(verdict(votes), votes, "positive") is wanted


def test_a_classifier_without_a_rule_is_taken_at_its_slices_word() -> None:
    votes = of_series({"mobilenet": lesion()}, [pin(series=None)], 5.0)
    assert votes[0].evidence is not None
    assert votes[0].evidence.rule == "neighbours 0"
    assert verdict(votes).probability == pytest.approx(0.97, abs=1e-3)
    assert UNFITTED.version == 0


def test_two_classifiers_that_disagree_on_a_series_call_for_a_person() -> None:
    pins = [pin(), pin(name="resnet50v2")]
    split = verdict(of_series({"mobilenet": lesion(), "resnet50v2": healthy()}, pins, 5.0))
    assert (split.label, split.reasons[-1]) == (Label.NEEDS_REVIEW, Code.CLASSIFIERS_DISAGREE)
