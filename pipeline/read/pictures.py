"""Pictures: PNG, JPEG, TIFF, BMP, WebP of any depth and colour, as one plane.

The plane is the picture as it is *shown*: rotated as its EXIF or TIFF orientation says, alpha laid over black. Masks
and overlays are on this displayed grid.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from neurobatch.records import ScanKind
from pipeline.geometry import plane_geometry
from pipeline.limits import Limits
from pipeline.volumes import Planes, Volume, check_size, grey_if_grey, ordered, scaled_planes

FORMATS = tuple(
    plugin.format
    for plugin in (
        BmpImagePlugin.BmpImageFile,
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)  # by class, since Pillow knows a format only once its plugin is imported; JPEG's reads MPO too

PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
    ZeroDivisionError,
    AssertionError,
    struct.error,
    zlib.error,
    cv2.error,
)  # what Pillow's readers raise on hostile bytes; UnidentifiedImageError is an OSError

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # more than 8 bits of grey
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL = 258, 277  # TIFF tags
_PNG_COLOUR_TYPES = (2, 6)  # RGB, RGBA
_ORIENTATION = 0x0112  # EXIF tag
_IMAGE_DESCRIPTION = 270  # TIFF tag
_DESCRIPTIONS = ("Description", "Title", "Comment", "comment")  # PNG's keywords and JPEG's comment


def read_picture(data: bytes, limits: Limits) -> Volume:
    """Decode a picture's first page.

    Args:
        data: the file.
        limits: bounds on its size in pixels.

    Returns:
        A volume of one plane: `(1, h, w)` grey or `(1, h, w, 3)` RGB. 16-bit and float grey are scaled by their own
        percentiles; equal colour channels become grey. The spacing is not known: a picture's dpi is that of paper.

    Raises:
        ScanFailed: `damaged`, `truncated`, `unsupported_type`, `too_many_pixels`, `too_small`.
    """
    with _translated(data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        several = bool(getattr(image, "is_animated", False))
        phantom = _says_phantom(image)
        check_size(image.height, image.width, 1, limits)
        plane = _deep_colour(image, data) if _is_deep_colour(image, data) else _decoded(image)
    check_size(plane.shape[0], plane.shape[1], 1, limits)
    return Volume(
        kind=ScanKind.PICTURE,
        planes=np.ascontiguousarray(plane[None]),
        geometry=plane_geometry(plane.shape[0], plane.shape[1]),
        warnings=ordered({*([Code.FIRST_PAGE_ONLY] * several), *([Code.PHANTOM] * phantom)}),
    )


def _says_phantom(image: Image.Image) -> bool:
    """Whether the picture's own description or comment says that it shows a phantom."""
    told = [image.info.get(name) for name in _DESCRIPTIONS]
    if image.format == "TIFF":
        told.append(image.tag_v2.get(_IMAGE_DESCRIPTION))  # type: ignore[attr-defined]  # TIFF pictures have it
    return any(b"phantom" in (word.encode() if isinstance(word, str) else word).lower() for word in told if word)


@contextmanager
def _translated(data: bytes) -> Iterator[None]:
    """Turn Pillow's errors into `ScanFailed`; its bomb warning is not needed, since sizes are checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Image.DecompressionBombError as error:
            raise ScanFailed(Code.TOO_MANY_PIXELS) from error
        except MemoryError as error:
            raise ScanFailed(Code.OUT_OF_MEMORY) from error
        except PILLOW_ERRORS as error:
            code = Code.TRUNCATED if "truncated" in str(error) or _lacks_end(data) else Code.DAMAGED
            raise ScanFailed(code, type(error).__name__) from error


def _lacks_end(data: bytes) -> bool:
    """Whether the mark is missing with which each format ends, or its own length reaches beyond the file."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]
    if data.startswith(b"RIFF") and len(data) >= 8:
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data.startswith(b"BM") and len(data) >= 6:
        return int.from_bytes(data[2:6], "little") > len(data)
    return False


def _decoded(image: Image.Image) -> Planes:
    image.load()
    upright = _upright(image)
    if upright.mode in _DEEP_MODES:
        return scaled_planes(np.asarray(upright)[None]).reshape(upright.height, upright.width)
    if upright.mode == "LAB":
        raise ScanFailed(Code.UNSUPPORTED_TYPE, "colours in CIELAB")
    if upright.mode in ("1", "L"):
        return np.array(upright.convert("L"), np.uint8)
    if upright.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in upright.info:
        upright = _over_black(upright)
    return grey_if_grey(np.array(upright.convert("RGB"), np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    """Turn as the EXIF orientation says; a picture whose EXIF cannot be read is taken as it is."""
    try:
        if image.getexif().get(_ORIENTATION, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except PILLOW_ERRORS:
        return image


def _over_black(image: Image.Image) -> Image.Image:
    colours = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colours.size, (0, 0, 0, 255)), colours)


def _is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether it has 16 bits a colour, which Pillow would cut to the upper 8: a 12-bit scan would come out black."""
    if image.format == "PNG":
        return data[24] == 16 and data[25] in _PNG_COLOUR_TYPES
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]  # TIFF pictures have it
        return len(bits) in (3, 4) and set(bits) == {16}
    return False


def _deep_colour(image: Image.Image, data: bytes) -> Planes:
    """Decode 16-bit colour with OpenCV, all channels on one scale.

    OpenCV turns TIFFs by their orientation as Pillow does; PNG's EXIF it leaves, so that is done here.
    """
    found: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3 or found.shape[2] not in (3, 4):
        raise ScanFailed(Code.DAMAGED, "16-bit colour")
    colours = found[..., 2::-1].astype(np.float32)
    if found.shape[2] == 4:
        colours *= (found[..., 3:] / np.float32(65535)).astype(np.float32)
    scaled = scaled_planes(colours[None])[0]
    if image.format == "PNG":
        turned = Image.fromarray(scaled)
        turned.info["exif"] = image.info.get("exif", b"")
        scaled = np.array(_upright(turned), np.uint8)
    return grey_if_grey(scaled)
