"""A plane goes into the network's square and comes back onto its own grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.prepare.fit import Fit

SIZE = 224
lengths = st.integers(1, 900)
spacings = st.one_of(st.none(), st.tuples(st.floats(0.2, 6.0), st.floats(0.2, 6.0)))


@settings(deadline=None, max_examples=60)
@given(height=lengths, width=lengths, spacing=spacings)
def test_shapes_are_exact_whatever_the_aspect(height: int, width: int, spacing: tuple[float, float] | None) -> None:
    layout = Fit.of(height, width, SIZE, spacing)
    assert layout.apply(np.full((height, width), 200, np.uint8)).shape == (SIZE, SIZE, 3)
    assert (height, width) == layout.restore(np.zeros((SIZE, SIZE), np.float32)).shape
    assert max(layout.rows, layout.columns) == SIZE


@settings(deadline=None, max_examples=60)
@given(height=lengths, width=lengths, spacing=spacings)
def test_a_plane_of_one_level_fills_its_box_and_nothing_else(
    height: int, width: int, spacing: tuple[float, float] | None
) -> None:
    layout = Fit.of(height, width, SIZE, spacing)
    square = layout.apply(np.full((height, width), 200, np.uint8))
    assert layout.rows * layout.columns == np.count_nonzero(square[:, :, 0])
    assert {200} == set(np.unique(square[square > 0]).tolist())


@settings(deadline=None, max_examples=40)
@given(height=st.integers(60, 700), width=st.integers(60, 700), seed=st.integers(0, 2**16), spacing=spacings)
def test_a_mask_drawn_on_the_plane_comes_back_in_its_place(
    height: int, width: int, seed: int, spacing: tuple[float, float] | None
) -> None:
    layout = Fit.of(height, width, SIZE, spacing)
    if min(layout.rows, layout.columns) < 60:
        return  # so thin a box cannot hold the outline
    rng = np.random.default_rng(seed)
    row, column = rng.uniform(0.35, 0.65, 2) * (height, width)
    y, x = np.mgrid[:height, :width]
    mask = ((y - row) / (0.25 * height)) ** 2 + ((x - column) / (0.25 * width)) ** 2 < 1
    square = layout.apply((mask * 255).astype(np.uint8))[:, :, 0].astype(np.float32) / np.float32(255)
    back = layout.restore(square) > 0.5
    assert np.count_nonzero(back & mask) / np.count_nonzero(back | mask) > 0.93


def test_a_plane_of_the_squares_size_comes_back_bit_by_bit() -> None:
    chance = np.random.default_rng(1).random((SIZE, SIZE)).astype(np.float32)
    assert np.array_equal(chance, Fit.of(SIZE, SIZE, SIZE).restore(chance))


def test_a_thick_slice_gets_its_physical_aspect() -> None:
    layout = Fit.of(20, 200, SIZE, spacing=(10.0, 1.0))
    assert (layout.rows, layout.columns) == (SIZE, SIZE)


def test_a_line_of_pixels_keeps_at_least_one_row() -> None:
    layout = Fit.of(1, 5000, SIZE)
    assert (layout.rows, layout.columns) == (1, SIZE)
    assert layout.restore(np.ones((SIZE, SIZE), np.float32)).shape == (1, 5000)


def test_colour_keeps_the_order_of_its_channels() -> None:
    plane = np.zeros((300, 200, 3), np.uint8)
    plane[:] = (10, 20, 30)
    assert Fit.of(300, 200, SIZE).apply(plane)[112, 112].tolist() == [10, 20, 30]


@pytest.mark.parametrize("row_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spacing_that_cannot_be_is_refused(row_mm: float) -> None:
    with pytest.raises(ValueError, match="finite number above 0"):
        Fit.of(5, 5, SIZE, (row_mm, 1.0))


def test_a_plane_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        Fit.of(0, 5, SIZE)


def test_a_plane_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="is not one of 10 x 10"):
        Fit.of(10, 10, SIZE).apply(np.zeros((11, 10), np.uint8))
    with pytest.raises(ValueError, match="does not come from a square"):
        Fit.of(10, 10, SIZE).restore(np.zeros((10, 10), np.float32))
