"""The overlay shows the right slice, with the tumour in red and everything else as it was."""

import io

import numpy as np
from PIL import Image

from pipeline.drawing import RED, overlay, shown_slice

GREY = np.random.default_rng(4).integers(0, 255, (60, 80), np.uint8)
MASK = np.zeros((60, 80), np.bool_)
MASK[20:40, 30:60] = True


def drawn(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_outside_the_mask_the_picture_is_untouched() -> None:
    found = drawn(overlay(GREY, MASK))
    assert found.shape == (60, 80, 3)
    assert np.array_equal(found[~MASK], np.repeat(GREY[..., None], 3, axis=2)[~MASK])


def test_the_rim_is_red_and_the_inside_shines_through() -> None:
    found = drawn(overlay(GREY, MASK)).astype(int)
    assert (found[20, 30:60] == RED).all()
    inside = found[25:35, 35:55]
    assert (inside[..., 0] > inside[..., 1]).all()
    assert len(np.unique(inside[..., 1])) > 10


def test_a_mask_at_the_border_has_a_rim_there_too() -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[:10, :10] = True
    assert (drawn(overlay(GREY, mask))[0, :10] == RED).all()


def test_without_a_mask_the_plane_is_shown_as_it_is() -> None:
    assert np.array_equal(drawn(overlay(GREY, None))[..., 0], GREY)


def test_drawing_changes_neither_plane_nor_mask() -> None:
    plane = np.dstack([GREY] * 3)
    before, mask = plane.copy(), MASK.copy()
    overlay(plane, mask)
    assert np.array_equal(plane, before)
    assert np.array_equal(mask, MASK)


def test_equal_inputs_are_equal_bytes() -> None:
    assert overlay(GREY, MASK) == overlay(GREY.copy(), MASK.copy())


def test_the_slice_with_the_largest_mask_is_shown_else_the_most_probable() -> None:
    masks = np.zeros((3, 60, 80), np.bool_)
    masks[1], masks[2, 0, 0] = MASK, True
    probabilities = np.array([0.1, 0.2, 0.9])
    assert shown_slice(masks, probabilities) == 1
    assert shown_slice(np.zeros_like(masks), probabilities) == 2
    assert shown_slice(None, probabilities) == 2
