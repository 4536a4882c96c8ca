"""NIfTI volumes are cut and shown as geometry says, and lead back to the file's own array."""

from itertools import permutations, product
from typing import Any

import nibabel
import numpy as np
import pytest

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from pipeline.limits import Limits
from pipeline.read.nifti import read_nifti
from tests.pipeline.inputs import nifti

LIMITS = Limits()
VOLUME = np.random.default_rng(3).integers(1, 4000, (20, 24, 28)).astype(np.int16)
BYTES = (VOLUME // 16).astype(np.uint8)


def failure(data: bytes, limits: Limits = LIMITS) -> Code:
    with pytest.raises(ScanFailed) as caught:
        read_nifti(data, limits)
    return caught.value.code


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1.0, -1.0), repeat=3)))
def test_planes_lead_back_to_the_array_of_the_file_in_any_orientation(
    order: tuple[int, ...], signs: tuple[float, ...]
) -> None:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis in range(3):
        affine[order[axis], axis] = signs[axis]
    volume = read_nifti(nifti(BYTES, affine), LIMITS)
    space = volume.geometry.space
    assert space is not None
    assert np.array_equal(space.layout.to_array(volume.planes), BYTES)
    assert volume.geometry.slicing == "axial"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_both_versions_are_read_packed_or_not(packed: bool, second: bool) -> None:
    volume = read_nifti(nifti(VOLUME, packed=packed, second=second), LIMITS)
    assert volume.planes.shape == (28, 24, 20)
    assert volume.geometry.pixel_mm == (2.0, 1.0)
    assert volume.geometry.slice_mm == 3.0


def test_big_endian_gives_the_same_planes() -> None:
    image: Any = nibabel.Nifti1Image
    big = image(VOLUME, np.eye(4), nibabel.Nifti1Header(endianness=">")).to_bytes()  # type: ignore[no-untyped-call]
    assert big[:4] == b"\0\0\x01\x5c"
    assert np.array_equal(read_nifti(big, LIMITS).planes, read_nifti(nifti(VOLUME, np.eye(4)), LIMITS).planes)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_number_type_is_read(kind: Any) -> None:
    assert read_nifti(nifti((VOLUME // 40).astype(kind)), LIMITS).planes.dtype == np.uint8


def test_a_scale_with_a_minus_turns_the_volume() -> None:
    turned = nifti(VOLUME, fields={"scl_slope": -2.0, "scl_inter": 7.0})
    normal = read_nifti(nifti(VOLUME), LIMITS).planes
    assert np.abs(read_nifti(turned, LIMITS).planes.astype(int) - (255 - normal)).max() <= 1


def test_what_is_no_number_is_black_and_sets_no_scale() -> None:
    array = VOLUME.astype(np.float32)
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    volume = read_nifti(nifti(array), LIMITS)
    space = volume.geometry.space
    assert space is not None
    back = space.layout.to_array(volume.planes)
    assert (back[0, 0, 0], back[1, 1, 1]) == (0, 255)
    assert np.array_equal(back[2:], space.layout.to_array(read_nifti(nifti(VOLUME), LIMITS).planes)[2:])


def test_rgb_is_read_in_colour() -> None:
    colours = np.zeros((20, 24, 28), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for number, name in enumerate("RGB"):
        colours[name] = BYTES // (number + 1)
    volume = read_nifti(nifti(colours), LIMITS)
    space = volume.geometry.space
    assert space is not None
    back = space.layout.to_array(volume.planes)
    assert np.array_equal(back[..., 2], BYTES // 3)


def test_a_thick_axis_is_cut_across() -> None:
    volume = read_nifti(nifti(VOLUME, np.diag([1.0, 5.0, 1.0, 1.0])), LIMITS)
    assert volume.geometry.shape == (24, 28, 20)
    assert volume.geometry.slicing == "coronal"


def test_an_orientation_that_the_file_does_not_say_is_told() -> None:
    volume = read_nifti(nifti(VOLUME, fields={"sform_code": 0, "qform_code": 0}), LIMITS)
    assert volume.warnings == (Code.ORIENTATION_UNKNOWN,)
    assert volume.geometry.slicing is None


def test_a_flat_file_is_one_plane() -> None:
    assert read_nifti(nifti(VOLUME[:, :, 0]), LIMITS).planes.shape == (1, 24, 20)


def test_labels_are_no_scan() -> None:
    assert failure(nifti((VOLUME > 2000).astype(np.uint8))) is Code.NOT_A_VOLUME


def test_an_empty_volume_is_read_for_a_person_to_see() -> None:
    assert not read_nifti(nifti(np.zeros_like(VOLUME)), LIMITS).planes.any()


@pytest.mark.parametrize("packed", [False, True])
def test_a_volume_that_is_cut_short_is_truncated(packed: bool) -> None:
    data = nifti(VOLUME, packed=packed)
    assert failure(data[: len(data) * 2 // 3]) is Code.TRUNCATED


def test_complex_numbers_are_not_supported() -> None:
    assert failure(nifti(VOLUME.astype(np.complex64))) is Code.UNSUPPORTED_TYPE


def test_damaged_gzip_is_damaged() -> None:
    data = bytearray(nifti(VOLUME, packed=True))
    data[2000:2100] = b"\xff" * 100
    assert failure(bytes(data)) is Code.DAMAGED


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = nifti(np.zeros((256, 256, 256), np.int16), packed=True)
    assert len(bomb) < 100_000
    assert failure(bomb, Limits(file_bytes=1 << 20)) is Code.OUT_OF_MEMORY


def test_dimensions_beyond_the_limit_are_refused_before_the_voxels_are_touched() -> None:
    data = bytearray(nifti(VOLUME))
    data[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], np.int16).tobytes()
    assert failure(bytes(data)) is Code.TOO_MANY_PIXELS


def test_the_header_that_is_kept_names_nobody() -> None:
    volume = read_nifti(nifti(VOLUME, fields={"descrip": b"Jane Doe", "db_name": b"Jane"}), LIMITS)
    assert volume.geometry.space is not None
    assert volume.geometry.space.header is not None
    assert b"Jane" not in volume.geometry.space.header
