"""Masks lie exactly on the scan's own grid, are measured in its own units, and are the same bytes each time."""

import gzip
import io
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from neurobatch.errors import Broken
from pipeline.geometry import Geometry, plane_geometry
from pipeline.limits import Limits
from pipeline.masks import Masks, as_nifti, as_picture, components, extent, extents, restored, without_specks
from pipeline.read.dicom import read_series
from pipeline.read.nifti import read_nifti
from tests.pipeline.inputs import dicom_series, nifti

LIMITS = Limits()


def back(data: bytes) -> Any:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def one(mask: Any, geometry: Geometry) -> Any:
    return extent("tumour", np.asarray(mask, np.bool_), geometry)


def test_a_map_of_the_grids_own_size_comes_back_pixel_for_pixel() -> None:
    drawn = np.zeros((64, 64, 1), np.float32)
    drawn[20:30, 5:50] = 1.0
    masks = restored([(0, drawn)], plane_geometry(64, 64), ["tumour"])
    assert np.array_equal(masks.channels[0, 0], drawn[..., 0] >= 0.5)


@given(height=st.integers(16, 200), width=st.integers(16, 200))
def test_a_mask_has_the_shape_of_its_picture_whatever_the_aspect(height: int, width: int) -> None:
    full = np.ones((64, 64, 2), np.float32)
    masks = restored([(0, full)], plane_geometry(height, width), ["a", "b"])
    assert masks.channels.shape == (2, 1, height, width)
    assert masks.channels.all()


def test_slices_that_were_not_segmented_stay_empty() -> None:
    geometry = Geometry(shape=(5, 64, 64))
    masks = restored([(3, np.ones((64, 64, 1), np.float32))], geometry, ["tumour"])
    assert masks.joined.any(axis=(1, 2)).tolist() == [False, False, False, True, False]


def test_a_map_with_other_channels_than_the_card_says_is_a_fault_of_the_program() -> None:
    with pytest.raises(Broken):
        restored([(0, np.ones((64, 64, 1), np.float32))], plane_geometry(64, 64), ["a", "b"])


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_volumes_mask_has_shape_affine_and_codes_of_the_original(
    second: bool, endian: str, order: tuple[int, ...]
) -> None:
    affine = np.zeros((4, 4))
    for axis, (world, step) in enumerate(zip(order, (-0.5, 0.75, 4.0), strict=True)):
        affine[world, axis] = step
    affine[:3, 3], affine[3, 3] = (7.0, -8.0, 9.5), 1.0
    array = np.random.default_rng(2).integers(1, 999, (20, 22, 18)).astype(np.int16)
    kind: Any = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    header = kind.header_class(endianness=endian)
    header.set_qform(affine, code=1)
    original = kind(array, affine, header)
    volume = read_nifti(original.to_bytes(), LIMITS)
    space = volume.geometry.space
    assert space is not None
    mask = volume.planes > 100
    found = kind.from_bytes(gzip.decompress(as_nifti(mask, volume.geometry)))
    assert found.shape == original.shape
    assert np.array_equal(found.affine, kind.from_bytes(original.to_bytes()).affine)
    for field in ("qform_code", "sform_code", "pixdim", "quatern_b", "qoffset_x", "srow_x"):
        assert np.array_equal(found.header[field], original.header[field]), field
    assert np.array_equal(np.asarray(found.dataobj).astype(bool), space.layout.to_array(mask))


def test_a_dicom_series_mask_lies_where_the_series_lies() -> None:
    volume = read_series(dicom_series(4), LIMITS)
    mask = np.zeros((4, 24, 32), np.bool_)
    mask[2, 5, 7] = True  # slice, row, column
    found = back(as_nifti(mask, volume.geometry))
    assert found.shape == (32, 24, 4)
    (voxel,) = np.argwhere(np.asarray(found.dataobj))
    assert voxel.tolist() == [7, 5, 2]
    there = (found.affine @ [*voxel, 1])[:3]
    lps = np.array([-10.0 + 7 * 0.75, -20.0 + 5 * 0.5, 3.0 * 2])  # as DICOM says
    assert there.tolist() == pytest.approx((lps * [-1, -1, 1]).tolist())


def test_our_own_mask_is_no_scan() -> None:
    volume = read_series(dicom_series(4), LIMITS)
    header = back(as_nifti(np.zeros((4, 24, 32), np.bool_), volume.geometry)).header
    assert int(header["intent_code"]) == 1002


def test_equal_masks_are_equal_bytes() -> None:
    volume = read_nifti(nifti(np.arange(8000, dtype=np.int16).reshape(20, 20, 20)), LIMITS)
    mask = volume.planes > 99
    assert as_nifti(mask, volume.geometry) == as_nifti(mask.copy(), volume.geometry)
    assert as_picture(mask[0]) == as_picture(mask[0].copy())


def test_a_pictures_mask_is_black_and_white_in_one_channel() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[4:9, 6:12] = True
    image = Image.open(io.BytesIO(as_picture(mask)))
    assert (image.mode, image.size) == ("L", (30, 20))
    assert np.array_equal(np.asarray(image), mask * 255)


def test_a_picture_is_measured_in_pixels_and_with_spacing_in_millimetres() -> None:
    mask = np.zeros((1, 40, 40), np.bool_)
    mask[0, 10:13, 10:31] = True  # 3 rows of 21 columns
    bare = one(mask, plane_geometry(40, 40))
    assert (bare.pixels, bare.area_mm2, bare.diameter_mm, bare.volume_mm3) == (63, None, None, None)
    known = one(mask, plane_geometry(40, 40, (2.0, 0.5)))
    assert known.area_mm2 == 63.0
    assert known.diameter_mm == pytest.approx(np.hypot(2 * 2.0, 20 * 0.5), abs=0.01)
    assert known.volume_mm3 is None


def test_a_volume_is_measured_in_cubic_millimetres() -> None:
    geometry = Geometry(shape=(6, 30, 30), pixel_mm=(0.5, 0.5), slice_mm=4.0)
    mask = np.zeros((6, 30, 30), np.bool_)
    mask[1, 5:7, 5:7], mask[2, 5:9, 5:9] = True, True
    found = one(mask, geometry)
    assert (found.pixels, found.slices, found.largest_slice, found.components) == (20, 2, 2, 1)
    assert (found.volume_mm3, found.area_mm2) == (20.0, 4.0)


def test_nothing_has_no_largest_slice() -> None:
    found = one(np.zeros((3, 20, 20)), Geometry(shape=(3, 20, 20)))
    assert (found.pixels, found.components, found.slices, found.largest_slice) == (0, 0, 0, None)


def test_two_definitions_are_measured_apart_and_together() -> None:
    channels = np.zeros((2, 1, 20, 20), np.bool_)
    channels[0, 0, 2:6, 2:6], channels[1, 0, 4:8, 4:8] = True, True
    found = extents(Masks(channels=channels, names=("whole", "core")), plane_geometry(20, 20))
    assert [(part.definition, part.pixels) for part in found] == [("any", 28), ("whole", 16), ("core", 16)]


def test_regions_that_touch_across_slices_are_one() -> None:
    mask = np.zeros((3, 20, 20), np.bool_)
    mask[0, 2:5, 2:5], mask[0, 10:13, 10:13] = True, True
    mask[1, 4:12, 4:12] = True
    mask[2, 15:17, 15:17] = True
    labels, count = components(mask)
    assert count == 2
    assert labels[0, 3, 3] == labels[0, 11, 11] == labels[1, 8, 8] != labels[2, 16, 16]


def by_flood(mask: Any) -> int:
    """Regions, counted the slow way."""
    left, count = {tuple(place) for place in np.argwhere(mask)}, 0
    around = [(0, a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)] + [(-1, 0, 0), (1, 0, 0)]
    while left:
        count += 1
        edge = [left.pop()]
        while edge:
            here = edge.pop()
            for step in around:
                there = tuple(int(a) + b for a, b in zip(here, step, strict=True))
                if there in left:
                    left.remove(there)
                    edge.append(there)
    return count


@given(mask=arrays(np.bool_, (3, 6, 6)))
def test_regions_are_counted_as_a_flood_would(mask: Any) -> None:
    labels, count = components(mask)
    assert count == by_flood(mask)
    assert np.array_equal(labels > 0, mask)
    assert set(np.unique(labels)) <= set(range(count + 1))


@given(mask=arrays(np.bool_, (2, 8, 8)), least=st.integers(0, 12))
def test_specks_are_taken_away_and_all_else_is_kept(mask: Any, least: int) -> None:
    kept = without_specks(mask, least)
    assert not (kept & ~mask).any()
    labels, count = components(mask)
    for number in range(1, count + 1):
        region = labels == number
        assert kept[region].all() == (region.sum() >= least)
        assert kept[region].any() == (region.sum() >= least)
