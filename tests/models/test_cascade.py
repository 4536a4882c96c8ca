"""A cascade of classifiers, on logits that the test makes up."""

from dataclasses import replace

import numpy as np
import pytest

from models.cascade import cascade_choices
from models.judging import Judged, Part
from models.registry import Network, networks
from tests.models.labelled import item

TUMOUR = (True, True, True, False, False, False)
FIRST = (4.0, 0.1, -4.0, -4.0, 0.1, -4.0)  # logits: sure, unsure, wrong; sure, unsure, sure
SECOND = (4.0, 3.0, 4.5, -4.0, -3.0, 4.5)  # right on what the first is unsure of; wrong on the last


def network(name: str) -> Network:
    """A shipped classifier whose threshold is one half, and which is unsure about it."""
    return replace(networks()[name], temperature=1.0, threshold=0.5, review_low=0.4, review_high=0.6)


def judged(logits: tuple[float, ...]) -> list[Judged]:
    items = tuple(item(f"group {number % 3}", tumour=tumour) for number, tumour in enumerate(TUMOUR))
    return [Judged(part=Part(name="lgg", items=items, view="colour"), logits=np.array(logits, np.float32))]


def test_a_cascade_asks_the_second_classifier_only_where_the_first_is_unsure() -> None:
    found = cascade_choices((network("mobilenet"), judged(FIRST)), (network("resnet50v2"), judged(SECOND)))
    told = {
        title: {name: (choice["runs"], choice["parts"]["lgg"]["value"]) for name, choice in choices.items()}
        for title, choices in found.items()
    }
    alone, both, unsure = "mobilenet alone", "both", "resnet50v2 where mobilenet is unsure"
    third, two_thirds = pytest.approx(1 / 3, abs=1e-4), pytest.approx(2 / 3, abs=1e-4)
    # Both: where they contradict each other, the second is surer, so the mean is just above one half.
    assert told == {
        "cascade, sensitivity": {alone: (1.0, two_thirds), both: (2.0, 1.0), unsure: (1.33, two_thirds)},
        "cascade, specificity": {alone: (1.0, two_thirds), both: (2.0, two_thirds), unsure: (1.33, 1.0)},
    }
    more = found["cascade, specificity"][unsure]["parts"]["lgg"]
    assert more["more"] == third
    assert "more" not in found["cascade, specificity"][alone]["parts"]["lgg"]


def test_a_part_without_tumours_has_no_sensitivity() -> None:
    healthy = [
        replace(one, part=replace(one.part, items=tuple(replace(item, tumour=False) for item in one.part.items)))
        for one in judged(FIRST)
    ]
    found = cascade_choices((network("mobilenet"), healthy), (network("resnet50v2"), healthy))
    assert all(choice["parts"] == {} for choice in found["cascade, sensitivity"].values())
    assert all("lgg" in choice["parts"] for choice in found["cascade, specificity"].values())
