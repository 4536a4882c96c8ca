"""Whose threshold a batch is pinned to."""

import pytest

from models.registry import networks
from neurobatch.records import Options
from worker.planning import pins

CARD = networks()["mobilenet"]


@pytest.mark.parametrize(
    ("asked", "site", "threshold", "whose"),
    [
        (None, None, CARD.threshold, "card"),
        (None, 0.3, 0.3, "site"),
        (0.7, 0.3, 0.7, "batch"),
        (0.7, None, 0.7, "batch"),
    ],
)
def test_a_batch_goes_before_the_site_and_the_site_before_the_card(
    asked: float | None, site: float | None, threshold: float, whose: str
) -> None:
    classifier, segmenter = pins(Options(threshold=asked), site)
    assert (classifier.threshold, classifier.threshold_of) == (threshold, whose)
    assert classifier.review_high - classifier.review_low == pytest.approx(CARD.review_high - CARD.review_low)
    assert segmenter.threshold_of == "card"
