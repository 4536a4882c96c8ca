"""The pixels of one DICOM file: decoded by permissively licensed libraries only, checked before memory is taken.

JPEG 2000 and HTJ2K by OpenJPEG, JPEG and JPEG-LS by GDCM, RLE by pydicom itself. 12-bit JPEG Extended is decoded by
none.
"""

import io
import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from pipeline.limits import Limits
from pipeline.read.dicom_header import deflated_from, number, text, translated, whole
from pipeline.read.streams import RAW, joined, pieces
from pipeline.volumes import check_size

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.98"})
COMPRESSED = frozenset(
    {
        "1.2.840.10008.1.2.5",  # RLE
        "1.2.840.10008.1.2.4.50",
        JPEG_EXTENDED,
        "1.2.840.10008.1.2.4.57",
        "1.2.840.10008.1.2.4.70",  # JPEG
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.81",  # JPEG-LS
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.91",  # JPEG 2000
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.4.202",
        "1.2.840.10008.1.2.4.203",  # HTJ2K
    }
)
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY = ("MONOCHROME1", "MONOCHROME2", "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """Decoded frames of one file, in its own order and values."""

    frames: NDArray[Any]  # (f, h, w) grey of any type, or (f, h, w, 3) uint8 or uint16 RGB
    slope: float = 1.0  # modality rescale of the file; functional groups may say otherwise for a frame
    intercept: float = 0.0
    inverted: bool = False  # MONOCHROME1: the smallest value is white
    bits: int = 16  # stored for each sample
    data: Dataset  # the header that came with them

    @property
    def coloured(self) -> bool:
        """Whether frames have three samples."""
        return self.frames.ndim == 4


def opened(data: bytes, limits: Limits) -> Dataset:
    """Read a file's elements, and refuse what cannot be decoded or would take too much.

    Args:
        data: the file, gunzipped.

    Raises:
        ScanFailed: `truncated`, `damaged`, `unsupported_syntax`, `unsupported_type`, `too_many_pixels`, `too_small`,
            `out_of_memory`.
    """
    with translated(Code.DAMAGED, "the file cannot be read"):
        dataset = _whole_dataset(data, limits)
        _check(dataset, limits)
    return dataset


def decoded(dataset: Dataset) -> Pixels:
    """Decode all frames of what `opened` gave.

    Raises:
        ScanFailed: `damaged`, `unsupported_syntax`, `unsupported_type`.
    """
    extended = str(dataset.file_meta.TransferSyntaxUID) == JPEG_EXTENDED
    broken = Code.UNSUPPORTED_SYNTAX if extended else Code.DAMAGED
    with translated(broken, "the pixels cannot be decoded"):
        frames = _decoded(dataset)
    return Pixels(
        frames=frames,
        slope=_or(number(dataset, "RescaleSlope"), 1.0),
        intercept=_or(number(dataset, "RescaleIntercept"), 0.0),
        inverted=text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
        bits=_or(whole(dataset, "BitsStored"), 16),
        data=dataset,
    )


def _whole_dataset(data: bytes, limits: Limits) -> Dataset:
    start = deflated_from(io.BytesIO(data))
    if start is None:
        dataset: Dataset = dcmread(io.BytesIO(data), force=True)
        if not dataset.file_meta.get("TransferSyntaxUID"):
            implicit, _little = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        return dataset
    plain = joined(pieces(io.BytesIO(data[start:])), limits.file_bytes, RAW)
    inflated: Dataset = dcmread(io.BytesIO(plain), force=True)
    inflated.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return inflated


def _check(dataset: Dataset, limits: Limits) -> None:
    """Refuse before decoding what cannot be decoded, or would take too much."""
    if not any(keyword in dataset for keyword in _PIXEL_KEYWORDS):
        # pydicom gives an empty data set, and no error, for a file that is cut inside compressed pixels
        raise ScanFailed(Code.TRUNCATED, "the file ends before its pixels do")
    rows, columns, frames = (whole(dataset, word) or 0 for word in ("Rows", "Columns", "NumberOfFrames"))
    if not rows or not columns:
        raise ScanFailed(Code.DAMAGED, "the header gives no size")
    frames = max(1, frames)
    check_size(rows, columns, frames, limits)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax not in NATIVE | COMPRESSED:
        raise ScanFailed(Code.UNSUPPORTED_SYNTAX, f"transfer syntax {syntax}")
    if _or(whole(dataset, "SamplesPerPixel"), 1) not in (1, 3):
        raise ScanFailed(Code.UNSUPPORTED_TYPE, "samples per pixel")
    if syntax in NATIVE:
        _check_length(dataset, rows * columns * frames)


def _check_length(dataset: Dataset, pixels: int) -> None:
    samples = _or(whole(dataset, "SamplesPerPixel"), 1)
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2
    bits = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
    for keyword in _PIXEL_KEYWORDS:
        if keyword in dataset:
            needed = math.ceil(pixels * samples * bits.get(keyword, _or(whole(dataset, "BitsAllocated"), 16)) / 8)
            if len(dataset[keyword].value or b"") < needed:
                raise ScanFailed(Code.TRUNCATED, "there are fewer pixels than the header says")


def _decoded(dataset: Dataset) -> NDArray[Any]:
    """Frames `(f, h, w)` or `(f, h, w, 3)`; palettes and YBR become RGB."""
    array: NDArray[Any] = pixel_array(dataset)
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, dataset)
        photometric = "RGB"
    coloured = photometric not in _GREY
    if array.ndim == (3 if coloured else 2):
        array = array[None]
    if array.ndim != (4 if coloured else 3) or (coloured and array.shape[-1] != 3):
        raise ScanFailed(Code.UNSUPPORTED_TYPE, "the shape of the pixels")
    return array


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
