"""DICOM headers: what a file is, whether it belongs in a scan, and where it lies, without reading a pixel.

Sources: DICOM PS3.3 (C.7.6.2 image plane, C.8.3 and C.8.13 MR image, C.7.6.16 multi-frame), PS3.5 (encoding), PS3.10
    (files).
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.uid import ExplicitVRLittleEndian

from neurobatch.codes import Code
from neurobatch.errors import LeftOut, ScanFailed
from neurobatch.records import Value
from pipeline.read import body_parts
from pipeline.read.streams import RAW, Head, TooLong, inflated

PYDICOM_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OverflowError,
    ZeroDivisionError,
    RecursionError,
    RuntimeError,
    AssertionError,
    struct.error,
    OSError,
)  # what pydicom 3 and its decoders were seen to raise, or may by their code, on hostile bytes

DEFLATED = "1.2.840.10008.1.2.1.99"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
ENHANCED_CLASSES = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")  # multi-frame MR
MR_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", *ENHANCED_CLASSES)
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # double float, float and integer pixels

HEADER_ONLY_BYTES = 16 * 1024  # a file that is larger and names no kind of object has lost its header

_PREAMBLE = 128
_MAGIC_END = 132
_FIRST_PIXEL_TAG = 0x7FE00001
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
_SHORT_VRS = (
    b"AE",
    b"AS",
    b"AT",
    b"CS",
    b"DA",
    b"DS",
    b"DT",
    b"FL",
    b"FD",
    b"IS",
    b"LO",
    b"LT",
    b"PN",
    b"SH",
    b"SL",
    b"SS",
    b"ST",
    b"TM",
    b"UI",
    b"UL",
    b"US",
)
_B_VALUE = 0x00189087
_PRIVATE_B_VALUES = (0x0019100C, 0x20011003, 0x00431039)  # Siemens, Philips, GE
_GE_B_VALUE_BASE = 1_000_000_000  # GE adds this to b-values


class DicomHeader(Value):
    """What planning and grouping need of one instance; JSON-able, and without a name or a text of the patient's."""

    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    sop_class: str = ""
    syntax: str = ""  # transfer syntax UID
    modality: str = ""
    image_type: tuple[str, ...] = ()
    rows: Annotated[int, Field(ge=0)] = 0  # px
    columns: Annotated[int, Field(ge=0)] = 0  # px
    frames: Annotated[int, Field(ge=1)] = 1
    position: tuple[float, float, float] | None = None  # LPS+ mm, centre of the first pixel
    orientation: tuple[float, float, float, float, float, float] | None = None  # LPS+ cosines along a row, a column
    pixel_mm: tuple[float, float] | None = None  # between centres of rows, of columns
    thickness_mm: float | None = None
    number: int = 0  # instance number
    order: tuple[float, ...] = ()  # b-value, time, echo, acquisition: tells volumes at one position apart
    mosaic: bool = False
    body_known: bool = True  # False: no text says that it is a head, and none that it is not
    phantom: bool = False
    burned_in: bool = False


def looks_so(head: bytes) -> bool:
    """Whether these first bytes are DICOM's: with preamble, or a bare data set that starts with group 2 or
    8.
    """
    if head[_PREAMBLE:_MAGIC_END] == b"DICM":
        return True
    return _bare(head, "<") or _bare(head, ">")


@contextmanager
def translated(code: Code, detail: str) -> Iterator[None]:
    """Turn what pydicom raises into `ScanFailed`; silence its warnings, which quote values of patients.

    Errors that are neurobatch's own pass.
    """
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            yield
        except PYDICOM_ERRORS as error:
            # Not chained: pydicom's messages quote the file's bytes, which may be a patient's name.
            raise ScanFailed(code, f"{detail} ({type(error).__name__})") from None


def read_header(head: Head) -> DicomHeader | None:
    """Read and judge a header.

    Args:
        head: the file from its first byte, gunzipped.

    Returns:
        None where it has DICOM's magic but cannot be read: a scan that will fail.

    Raises:
        LeftOut: `dicomdir`, `not_mr`, `not_head`, `localizer`, `no_pixels`, `not_a_volume`, `empty_file`.
    """
    try:
        with translated(Code.DAMAGED, "the header cannot be read"):
            data, last = header_of(head)
            if unreadable(data, last, head):
                return None
            judge(data, has_pixels=last in PIXEL_TAGS)
            return summary(data)
    except ScanFailed:
        return None


def header_of(stream: Any) -> tuple[Dataset, int]:
    """Read elements up to the pixels, and the tag that ended it (0 at the end of the file).

    Deflated files are inflated here, bounded by the head: pydicom would inflate all of them, without a bound.
    """
    last = 0

    def stop(tag: Any, _vr: str | None, _length: int) -> bool:
        nonlocal last
        last = int(tag)
        return int(tag) >= _FIRST_PIXEL_TAG

    start = deflated_from(stream)
    if start is None:
        data: Dataset = read_partial(stream, stop_when=stop, force=True)
    else:
        stream.seek(start)
        plain = Head(_quietly(inflated(iter(lambda: stream.read(1 << 16), b""), 1 << 40, RAW)), 32 << 20)
        data = read_partial(plain, stop_when=stop, force=True)  # type: ignore[arg-type]  # it reads, seeks and tells
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data, last if last >= _FIRST_PIXEL_TAG else 0


def deflated_from(stream: Any) -> int | None:
    """Where the deflated data set of a file starts; None where it is not deflated (PS3.5 A.5, PS3.10 7.1)."""
    stream.seek(0)
    head = stream.read(4096)
    stream.seek(0)
    if head[_PREAMBLE:_MAGIC_END] != b"DICM":
        return None
    place, deflated = _MAGIC_END, False
    while head[place : place + 2] == b"\x02\x00":
        long = head[place + 4 : place + 6] in _LONG_VRS
        length = int.from_bytes(head[place + 8 : place + 12] if long else head[place + 6 : place + 8], "little")
        value = place + (12 if long else 8)
        if head[place + 2 : place + 4] == b"\x10\x00":
            deflated = head[value : value + length].rstrip(b"\x00 ") == DEFLATED.encode()
        place = value + length
    return place if deflated and place < len(head) else None


def unreadable(data: Dataset, last: int, head: Head) -> bool:
    """Whether a header ended before it should: cut short or damaged, it may have been an image's.

    So it is where nothing is in it, where an MR image lacks its size, and where a file of a size that only pixels give
    says neither what it is nor that it holds any.
    """
    if last in PIXEL_TAGS:
        return False
    sop_class = text(data, "SOPClassUID")
    if len(data) == 0 or (sop_class in MR_CLASSES and "Rows" not in data):
        return True
    named = sop_class or text(data, "Modality") or "DirectoryRecordSequence" in data
    return not named and head.seek(0, io.SEEK_END) > HEADER_ONLY_BYTES


def judge(data: Dataset, *, has_pixels: bool) -> None:
    """Leave out what belongs in no scan.

    Raises:
        LeftOut: with the code that says why.
    """
    sop_class = text(data, "SOPClassUID") or str(data.file_meta.get("MediaStorageSOPClassUID", ""))
    if sop_class == MEDIA_DIRECTORY or "DirectoryRecordSequence" in data:
        raise LeftOut(Code.DICOMDIR)
    modality = text(data, "Modality").upper()
    if modality not in ("", "MR"):
        raise LeftOut(Code.NOT_MR)
    if not has_pixels or not whole(data, "Rows") or not whole(data, "Columns"):
        raise LeftOut(Code.NO_PIXELS)
    if not modality and sop_class not in MR_CLASSES:
        raise LeftOut(Code.NOT_MR)
    if body_parts.of(_words(data), text(data, "BodyPartExamined")) is body_parts.Part.OTHER:
        raise LeftOut(Code.NOT_HEAD)
    if body_parts.is_localizer(strings(data, "ImageType"), text(data, "SeriesDescription"), text(data, "ProtocolName")):
        raise LeftOut(Code.LOCALIZER)
    if (whole(data, "NumberOfFrames") or 1) > 1 and sop_class not in ENHANCED_CLASSES:
        raise LeftOut(Code.NOT_A_VOLUME)  # a cine or time series of the older kind: no frame says where it lies


def summary(data: Dataset) -> DicomHeader:
    """Gather what planning needs of a judged header."""
    position, orientation = (
        numbers(data, "ImagePositionPatient", 3),
        numbers(data, "ImageOrientationPatient", 6),
    )
    spacing = numbers(data, "PixelSpacing", 2)
    kinds = tuple(kind.upper() for kind in strings(data, "ImageType"))
    return DicomHeader(
        study_uid=text(data, "StudyInstanceUID"),
        series_uid=text(data, "SeriesInstanceUID"),
        sop_uid=text(data, "SOPInstanceUID"),
        sop_class=text(data, "SOPClassUID"),
        syntax=str(data.file_meta.get("TransferSyntaxUID", "")),
        modality=text(data, "Modality").upper(),
        image_type=kinds,
        rows=max(0, whole(data, "Rows") or 0),
        columns=max(0, whole(data, "Columns") or 0),
        frames=max(1, whole(data, "NumberOfFrames") or 1),
        position=None if position is None else (position[0], position[1], position[2]),
        orientation=None if orientation is None else _six(orientation),
        pixel_mm=None if spacing is None or min(spacing) <= 0 else (spacing[0], spacing[1]),
        thickness_mm=_above_zero(number(data, "SpacingBetweenSlices")) or _above_zero(number(data, "SliceThickness")),
        number=whole(data, "InstanceNumber") or 0,
        order=volume_order(data),
        mosaic="MOSAIC" in kinds,
        body_known=body_parts.of(_words(data), text(data, "BodyPartExamined")) is body_parts.Part.HEAD,
        phantom=any(
            "phantom" in word.lower() for word in (*_words(data), text(data, "PatientName"), text(data, "PatientID"))
        ),
        burned_in=text(data, "BurnedInAnnotation").upper() == "YES",
    )


def volume_order(data: Dataset) -> tuple[float, ...]:
    """b-value, temporal position, echo, acquisition and trigger time: what differs between volumes of one series.

    Missing ones are 0. Magnitude images come before phase, real and imaginary ones.
    """
    kinds = [kind.upper() for kind in strings(data, "ImageType")]
    other = any(kind in ("P", "R", "I", "PHASE", "REAL", "IMAGINARY") for kind in kinds[2:])
    fields = ("TemporalPositionIdentifier", "EchoTime", "AcquisitionNumber", "TriggerTime")
    return (float(other), b_value(data), *(number(data, field) or 0.0 for field in fields))


def b_value(data: Dataset) -> float:
    """Diffusion weighting in s/mm², from the standard's element or a maker's own; 0 where there is none."""
    for tag in (_B_VALUE, *_PRIVATE_B_VALUES):
        if tag in data:
            found = _first_number(data[tag].value)
            if found is not None and found >= 0:
                return found % _GE_B_VALUE_BASE
    return 0.0


def text(data: Dataset, keyword: str) -> str:
    """A text element, stripped; empty where it is missing."""
    value = data.get(keyword)
    return "" if value is None else str(value).strip(" \x00")


def strings(data: Dataset, keyword: str) -> list[str]:
    """A multi-valued text element."""
    value = data.get(keyword)
    if value is None:
        return []
    return [str(part).strip() for part in ([value] if isinstance(value, str) else value)]


def number(data: Dataset, keyword: str) -> float | None:
    """A numeric element; None where it is missing, empty, no number or not finite."""
    try:
        return _first_number(data.get(keyword))
    except (ValueError, TypeError, OverflowError):
        return None


def whole(data: Dataset, keyword: str) -> int | None:
    """An integer element, None as for `number`."""
    found = number(data, keyword)
    return None if found is None else int(found)


def numbers(data: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    try:
        value = data.get(keyword)
        found = tuple(float(part) for part in value) if value is not None else ()
    except (ValueError, TypeError, OverflowError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def _first_number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        value = struct.unpack("<f", value)[0] if len(value) == 4 else value.decode("ascii", "ignore").strip(" \x00")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else math.nan
    try:
        found = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _six(values: tuple[float, ...]) -> tuple[float, float, float, float, float, float]:
    return values[0], values[1], values[2], values[3], values[4], values[5]


def _above_zero(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _words(data: Dataset) -> tuple[str, ...]:
    fields = ("SeriesDescription", "StudyDescription", "ProtocolName", "RequestedProcedureDescription")
    return tuple(text(data, field) for field in fields)


def _bare(head: bytes, order: str) -> bool:
    """Two elements in a row that a data set of group 2 or 8 could start with, explicit or implicit."""
    first = _element(head, 0, order)
    if first is None or first[0] not in (0x0002, 0x0008):
        return False
    second = _element(head, first[2], order)
    return second is not None and (first[0], first[1]) < (second[0], second[1]) and second[0] <= 0x0020


def _element(head: bytes, place: int, order: str) -> tuple[int, int, int] | None:
    """Group, element and end of a plausible element at `place`."""
    if len(head) < place + 8:
        return None
    group, element = struct.unpack_from(f"{order}HH", head, place)
    vr = head[place + 4 : place + 6]
    if vr in _SHORT_VRS:
        length, start = struct.unpack_from(f"{order}H", head, place + 6)[0], place + 8
    elif vr in _LONG_VRS and len(head) >= place + 12:
        length, start = struct.unpack_from(f"{order}I", head, place + 8)[0], place + 12
    elif order == "<":
        length, start = struct.unpack_from("<I", head, place + 4)[0], place + 8
    else:
        return None
    return (group, element, start + length) if length <= 256 else None


def _quietly(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A damaged or short deflated stream ends as a cut file would."""
    try:
        yield from chunks
    except (TooLong, EOFError, zlib.error):
        return
