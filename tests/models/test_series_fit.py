"""The rule for series is fitted as stated: more evidence is never less probable, and unseen patients calibrate it."""

from dataclasses import replace

import numpy as np
import pytest

from models import series_fit
from models.registry import networks, series_rules
from models.series_card import series_section
from models.series_figures import false_slices, figures, found, wilson
from models.series_fit import NARROWEST, Said, fit, healthy_part, last_step, left_out_probabilities, losses_by_weight
from neurobatch.records import Label, SeriesRule
from pipeline.series import logistic, weighed


def said(number: int, *, part: str = "lgg", seen: bool = False, strength: float = 0.95, slices: int = 24) -> Said:
    """A patient with a tumour on eight slices, and masks on it."""
    rng = np.random.default_rng(number)
    tumour = np.zeros(slices, bool)
    tumour[8:16] = True
    probabilities = np.where(tumour, strength, 0.08) + rng.uniform(-0.04, 0.04, slices)
    return Said(
        name=f"patient {number} {part}", group=f"patient {number}", part=part, seen=seen, tumour=True, slices=tumour,
        probabilities=np.round(probabilities, 4), shares=np.where(tumour, 0.02, 0.0), slice_mm=None,
    )  # fmt: skip


def head(number: int, level: float = 0.1) -> Said:
    return Said(
        name=f"head {number}", group=f"head {number}", part="heads", seen=False, tumour=False, slices=None,
        probabilities=np.full(20, level), shares=np.zeros(20), slice_mm=5.0, about="a head",
    )  # fmt: skip


@pytest.fixture(scope="module")
def series() -> list[Said]:
    whole = [said(n, part=part, seen=n > 5) for n in range(8) for part in ("lgg", "lgg-flair")]
    parts = [part for part in map(healthy_part, whole) if part is not None]
    return [*whole, *parts, *(head(n) for n in range(4))]


@pytest.fixture(scope="module")
def rule(series: list[Said]) -> SeriesRule:
    return fit(series)


def test_what_stands_for_a_healthy_series_keeps_away_from_the_tumour() -> None:
    whole = said(1)
    part = healthy_part(whole)
    assert part is not None
    assert (part.tumour, len(part.probabilities), part.slice_mm) == (False, 24 - 8 - 2, 150 / 24)
    assert part.probabilities.max() < 0.2
    assert part.shares.max() == 0
    assert healthy_part(said(1, slices=17)) is not None
    assert healthy_part(replace(whole, slices=np.ones(24, bool))) is None
    assert healthy_part(head(1)) is None


def test_the_last_step_finds_the_numbers_that_made_the_data() -> None:
    rng = np.random.default_rng(5)
    evidence = rng.uniform(-8, 8, 4000)
    tumour = rng.uniform(size=4000) < 1 / (1 + np.exp(-(evidence - 1.0) / 2.0))
    offset, temperature = last_step(evidence, tumour, np.ones(4000))
    assert offset == pytest.approx(0.9, abs=0.4)
    assert temperature == pytest.approx(2.0, abs=0.25)


def test_kinds_that_do_not_overlap_get_a_finite_slope() -> None:
    evidence = np.array([-3.0, -2.0, 4.0, 5.0])
    offset, temperature = last_step(evidence, evidence > 0, np.ones(4))
    assert -2 < offset < 4
    assert temperature > 0.2


def test_a_fitted_rule_tells_tumours_from_healthy_series_by_classifier_alone_and_with_masks(
    series: list[Said], rule: SeriesRule
) -> None:
    for each in series:
        for shares in (None, each.shares):
            probability = weighed(each.probabilities, shares, each.slice_mm, rule).probability
            assert (probability >= 0.5) is each.tumour
    for form in (rule.alone, rule.with_mask):
        assert form.review_low <= NARROWEST[0] < form.threshold < NARROWEST[1] <= form.review_high
    assert rule.mask_from <= rule.alone.review_low


def test_every_tumour_that_the_fit_saw_is_segmented_and_hardly_one_passes(series: list[Said]) -> None:
    faint = said(99, strength=0.4)
    rule = fit([*series, faint])
    pin = networks()["mobilenet"].pin().model_copy(update={"series": rule})
    assert weighed(faint.probabilities, None, None, rule).probability >= rule.mask_from
    labels = [found(each, pin, "positive").label for each in series if each.tumour]
    assert Label.NO_TUMOUR not in labels


def test_the_last_step_is_fitted_on_patients_whom_the_networks_have_not_seen(
    series: list[Said], rule: SeriesRule
) -> None:
    changed = fit([replace(each, probabilities=each.probabilities**0.1) if each.seen else each for each in series])
    for form in ("alone", "with_mask"):
        steps = [getattr(each, form) for each in (rule, changed)]
        assert (steps[0].offset, steps[0].temperature) == (steps[1].offset, steps[1].temperature)


def test_a_patient_who_is_left_out_does_not_shape_the_own_probability(series: list[Said]) -> None:
    unseen = [each for each in series if not each.seen]
    rule = series_fit.unfitted()
    given = left_out_probabilities(unseen, rule, masks=False)
    rest = [each for each in unseen if each.group != unseen[0].group]
    offset, temperature = last_step(*series_fit.columns(rest, rule, masks=False))
    evidence = unseen[0].evidence(rule, masks=False)
    assert given[0] == pytest.approx(logistic((evidence - offset) / temperature))


def test_figures_tell_seen_from_unseen_patients_and_name_every_head(series: list[Said], rule: SeriesRule) -> None:
    given = figures(series, rule, "mobilenet")
    told = given["by_segment"]["positive"]
    assert {name: told[name]["patients"] for name in told if name != "heads"} == {
        "lgg, unseen": 6, "lgg, seen": 2, "lgg-flair, unseen": 6, "lgg-flair, seen": 2,
    }  # fmt: skip
    assert [each["label"] for each in told["heads"]] == ["no_tumour"] * 4
    assert told["lgg, unseen"]["tumour"] == 6
    assert set(given["log_loss_by_mask_weight"]) == set(losses_by_weight(series))


def test_false_slices_are_counted_where_runs_of_them_alone_would_make_a_tumour(rule: SeriesRule) -> None:
    whole = said(3)
    assert false_slices(whole, rule, masks=False) == 0
    loud = replace(whole, probabilities=np.where(np.arange(24) >= 18, 0.97, whole.probabilities))
    assert false_slices(loud, rule, masks=False) == 6


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(16, 16, 0.806, 1.0), (0, 0, 0.0, 1.0), (8, 16, 0.28, 0.72)]
)
def test_intervals_of_few_patients_are_wide(hits: int, count: int, low: float, high: float) -> None:
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize("classifier", sorted(series_rules()))
def test_every_pin_of_a_classifier_carries_its_rule(classifier: str) -> None:
    pin = networks()[classifier].pin()
    assert pin.series == series_rules()[classifier]
    assert pin.series is not None
    assert pin.series.alone.mask_weight == 0
    assert networks()["unet"].pin().series is None


@pytest.mark.parametrize("classifier", sorted(series_rules()))
def test_the_card_says_that_specificity_on_series_is_hardly_known(classifier: str) -> None:
    rule, text = series_rules()[classifier], series_section(classifier)
    if rule.version == 0:
        assert text == "", "a rule that was not fitted has no figures"
    else:
        assert "How often healthy series pass is hardly known" in " ".join(text.split())
        assert f"`{rule.name} {rule.version}`" in text
