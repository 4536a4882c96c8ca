"""Planes and arrays are the same voxels, for any orientation; planes are shown as radiologists see them."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import (
    Layout,
    lps_to_ras,
    nearest_axes,
    radiological_layout,
    slicing_axis,
    volume_geometry,
)

LAYOUTS = st.builds(
    Layout,
    axes=st.sampled_from(list(permutations(range(3)))),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)]


def affine_of(order: tuple[int, ...], signs: tuple[float, ...], sizes: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for array_axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[world, array_axis] = sign * sizes[array_axis]
    return matrix


@given(layout=LAYOUTS, shape=st.tuples(*[st.integers(1, 5)] * 3))
def test_cutting_into_planes_is_undone_exactly(layout: Layout, shape: tuple[int, int, int]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(layout.to_array(layout.to_planes(array)), array)


@given(layout=LAYOUTS)
def test_colour_stays_behind_the_axes_of_space(layout: Layout) -> None:
    array = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    planes = layout.to_planes(array)
    assert planes.shape[3] == 3
    assert np.array_equal(layout.to_array(planes), array)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_axial_planes_show_the_front_at_the_top_and_the_right_at_the_left(
    order: tuple[int, ...], signs: tuple[float, ...]
) -> None:
    affine = affine_of(order, signs, (1.0, 1.0, 1.0))
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in (3, 4, 5)], indexing="ij"), axis=-1)
    world = indices @ affine[:3, :3].T  # RAS+ mm of each voxel
    planes = radiological_layout(affine, 2).to_planes(world)
    assert (np.diff(planes[..., 2], axis=0) > 0).all(), "slices go to the head"
    assert (np.diff(planes[..., 1], axis=1) < 0).all(), "rows go to the back"
    assert (np.diff(planes[..., 0], axis=2) < 0).all(), "columns go to the patient's left"


@pytest.mark.parametrize(("slicing", "row", "column"), [(0, 2, 1), (1, 2, 0)])
def test_sagittal_and_coronal_planes_show_the_head_at_the_top(slicing: int, row: int, column: int) -> None:
    affine = affine_of((1, 2, 0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0))
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in (3, 4, 5)], indexing="ij"), axis=-1)
    planes = radiological_layout(affine, slicing).to_planes(indices @ affine[:3, :3].T)
    assert (np.diff(planes[..., row], axis=1) < 0).all()
    assert (np.diff(planes[..., column], axis=2) < 0).all()


@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    sizes=st.tuples(*[st.floats(0.2, 8.0)] * 3),
    flip=st.booleans(),
)
def test_every_oblique_orientation_uses_each_array_axis_once(
    angles: tuple[float, ...], sizes: tuple[float, ...], flip: bool
) -> None:
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        one = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        one[i, i] = one[j, j] = c
        one[i, j], one[j, i] = -s, s
        turned = turned @ one
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag(sizes) @ np.diag([-1 if flip else 1, 1, 1])
    axes, _ = nearest_axes(affine)
    assert sorted(axes) == [0, 1, 2]


def test_a_thick_axis_is_the_acquisition_axis_and_otherwise_planes_are_axial() -> None:
    thick = affine_of((0, 1, 2), (1.0, 1.0, 1.0), (1.0, 5.0, 1.0))
    cube = affine_of((0, 1, 2), (1.0, 1.0, 1.0), (1.0, 1.4, 1.0))
    assert slicing_axis(thick, (64, 20, 64)) == 1
    assert slicing_axis(cube, (64, 64, 64)) == 2


def test_a_flat_volume_is_one_plane_across_its_flat_axis() -> None:
    affine = affine_of((0, 1, 2), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert volume_geometry((64, 1, 48), affine, known=True).shape == (1, 48, 64)


def test_spacing_follows_the_planes() -> None:
    affine = affine_of((2, 0, 1), (1.0, -1.0, 1.0), (6.0, 0.5, 0.75))  # first array axis: thick, to the head
    geometry = volume_geometry((20, 64, 48), affine, known=True)
    assert geometry.shape == (20, 48, 64)
    assert geometry.pixel_mm == (0.75, 0.5)
    assert geometry.slice_mm == 6.0
    assert geometry.slicing == "axial"
    assert geometry.voxel_volume_mm3 == pytest.approx(2.25)


def test_left_and_back_of_dicom_are_minus_right_and_minus_front_of_nifti() -> None:
    lps = np.eye(4)
    lps[:3, 3] = (10.0, 20.0, 30.0)
    assert lps_to_ras(lps)[:3, 3].tolist() == [-10.0, -20.0, 30.0]
