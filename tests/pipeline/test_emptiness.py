"""Air is told from anatomy, and no slice with a tumour is ever taken for air."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.emptiness import is_empty, shown_slices


def test_black_and_noise_are_empty() -> None:
    noise = np.random.default_rng(1).integers(0, 20, (128, 128), np.uint8)
    assert is_empty(np.zeros((64, 64), np.uint8))
    assert is_empty(noise)


def test_one_bright_level_shows_nothing() -> None:
    assert is_empty(np.full((64, 64), 200, np.uint8))


def test_a_small_head_in_a_large_field_is_no_air() -> None:
    plane = np.zeros((256, 256), np.uint8)
    plane[100:130, 100:130] = np.random.default_rng(1).integers(40, 200, (30, 30))
    assert not is_empty(plane)


def test_colour_counts_by_its_brightest_channel() -> None:
    plane = np.zeros((64, 64, 3), np.uint8)
    plane[10:50, 10:50, 1] = 180
    assert not is_empty(plane)


def test_shown_slices_are_named_in_order() -> None:
    planes = np.zeros((4, 32, 32), np.uint8)
    planes[[1, 3], 5:25, 5:25] = 99
    assert shown_slices(planes).tolist() == [1, 3]


@pytest.mark.slow
@pytest.mark.parametrize("room", ["lgg", "t1ce"])
def test_no_slice_with_a_tumour_is_taken_for_air(test_data: Path, room: str) -> None:
    seen = 0
    with (test_data / room / "slices.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if int(row["tumour_pixels"]):
                plane = np.asarray(Image.open(test_data / room / row["file"]))
                assert not is_empty(plane), row["file"]
                seen += 1
    assert seen > 1000
