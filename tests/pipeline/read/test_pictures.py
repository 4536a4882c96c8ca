"""Pictures of every depth and colour become one plane, shown as a viewer would show it."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from pipeline.limits import Limits
from pipeline.read.pictures import read_picture
from pipeline.volumes import Planes
from tests.pipeline.inputs import picture

LIMITS = Limits()
GREY = np.linspace(0, 255, 40 * 24).astype(np.uint8).reshape(40, 24)
COLOUR = np.stack([GREY, GREY[::-1], GREY // 2], axis=-1)


def plane_of(data: bytes) -> Planes:
    volume = read_picture(data, LIMITS)
    assert volume.planes.shape[:3] == volume.geometry.shape
    assert volume.planes.flags.c_contiguous
    return np.asarray(volume.planes[0])


def failure(data: bytes, limits: Limits = LIMITS) -> Code:
    with pytest.raises(ScanFailed) as caught:
        read_picture(data, limits)
    return caught.value.code


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_grey_comes_through_unchanged(form: str) -> None:
    assert np.array_equal(plane_of(picture(GREY, form)), GREY)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_colour_comes_through_as_rgb(form: str) -> None:
    assert np.array_equal(plane_of(picture(COLOUR, form)), COLOUR)


def test_lossless_webp_comes_through_as_rgb() -> None:
    assert np.array_equal(plane_of(picture(COLOUR, "WEBP", lossless=True)), COLOUR)


def test_colour_without_colour_becomes_grey() -> None:
    assert np.array_equal(plane_of(picture(np.repeat(GREY[..., None], 3, axis=2))), GREY)


def test_one_bit_becomes_black_and_white() -> None:
    out = io.BytesIO()
    Image.fromarray(GREY > 99).save(out, "PNG")
    assert np.array_equal(plane_of(out.getvalue()), (GREY > 99) * np.uint8(255))


def test_a_palette_is_looked_up() -> None:
    out = io.BytesIO()
    image = Image.fromarray(GREY).convert("P")
    image.save(out, "PNG")
    assert np.array_equal(plane_of(out.getvalue()), np.asarray(image.convert("L")))


def test_what_shines_through_alpha_is_black() -> None:
    rgba = np.dstack([COLOUR, np.where(GREY > 99, 255, 0).astype(np.uint8)])
    assert np.array_equal(plane_of(picture(rgba)), COLOUR * (GREY > 99)[..., None])


def test_cmyk_jpeg_has_the_colours_that_a_viewer_shows() -> None:
    out = io.BytesIO()
    Image.fromarray(COLOUR).convert("CMYK").save(out, "JPEG", quality=100, subsampling=0)
    assert np.abs(plane_of(out.getvalue()).astype(int) - COLOUR).mean() < 6


def test_sixteen_bits_are_scaled_by_their_own_percentiles() -> None:
    deep = np.linspace(1000, 5000, 40 * 24).astype(np.uint16).reshape(40, 24)
    plane = plane_of(picture(deep))
    assert (plane.min(), plane.max()) == (0, 255)
    assert (np.diff(plane.reshape(-1).astype(int)) >= 0).all()


def test_zeros_around_a_deep_picture_do_not_set_its_black() -> None:
    deep = np.zeros((40, 40), np.uint16)
    deep[10:30, 10:30] = np.linspace(3000, 4000, 400).reshape(20, 20)
    inside = plane_of(picture(deep))[10:30, 10:30]
    assert inside.max() == 255
    assert np.median(inside) == pytest.approx(127, abs=3)


def test_float_tiffs_are_scaled_and_what_is_no_number_is_black() -> None:
    deep = np.linspace(-1.0, 1.0, 40 * 24).astype(np.float32).reshape(40, 24)
    deep[5, 5] = np.nan
    plane = plane_of(picture(deep, "TIFF"))
    assert plane[5, 5] == 0
    assert plane.max() == 255


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bits_of_grey_in_sixteen_of_colour_do_not_come_out_black(suffix: str) -> None:
    deep = np.linspace(1, 4095, 40 * 24).astype(np.uint16).reshape(40, 24)
    done, data = cv2.imencode(suffix, np.repeat(deep[..., None], 3, axis=2))
    assert done
    plane = plane_of(data.tobytes())
    assert plane.shape == (40, 24)
    assert plane.max() == 255


def test_the_picture_and_so_its_mask_is_the_one_that_is_shown() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn to the left
    plane = plane_of(picture(GREY, "PNG", exif=exif))
    assert np.array_equal(plane, np.rot90(GREY, k=-1))


def test_only_the_first_page_is_read_and_that_is_said() -> None:
    out = io.BytesIO()
    pages = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    volume = read_picture(out.getvalue(), LIMITS)
    assert np.array_equal(volume.planes[0], GREY)
    assert volume.warnings == (Code.FIRST_PAGE_ONLY,)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_picture_that_is_cut_short_fails_and_says_so(form: str) -> None:
    noise = np.random.default_rng(7).integers(0, 255, (96, 96), np.uint8)
    data = picture(noise, form)
    assert failure(data[: len(data) // 2]) in (Code.TRUNCATED, Code.DAMAGED)
    if form != "TIFF":  # a TIFF keeps its directory at the end, so nothing is left that says what was cut
        assert failure(data[: len(data) // 2]) is Code.TRUNCATED


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 100_000
    assert failure(bomb.getvalue()) is Code.TOO_MANY_PIXELS


def test_a_thumbnail_is_too_small() -> None:
    assert failure(picture(GREY[:10, :10])) is Code.TOO_SMALL


def test_damaged_bytes_are_damaged() -> None:
    data = bytearray(picture(GREY))
    data[60:90] = b"\xaa" * 30
    assert failure(bytes(data)) is Code.DAMAGED
