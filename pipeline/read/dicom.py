"""DICOM series, single images and multi-frame files as volumes, ordered by position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from neurobatch.records import ScanKind
from pipeline.limits import Limits
from pipeline.read.dicom_header import (
    DicomHeader,
    b_value,
    number,
    numbers,
    summary,
    translated,
)
from pipeline.read.dicom_pixels import Pixels, decoded, opened
from pipeline.read.grouping import group, series_geometry
from pipeline.read.streams import gunzipped
from pipeline.volumes import Planes, Volume, check_size, grey_if_grey, ordered, scaled_planes

_EVERY_VOLUME = 1 << 30  # when reading, a plan was made already


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    """One plane before scaling."""

    header: DicomHeader
    values: NDArray[Any]  # (h, w) or (h, w, 3)
    slope: float
    intercept: float
    inverted: bool
    bits: int


def read_series(files: Sequence[bytes], limits: Limits) -> Volume:
    """Read the files of one planned scan: a series' volume, a single image or a multi-frame file.

    Args:
        files: in any order; gzip around a file is taken off.

    Returns:
        Planes by position along their normal, on one grey scale. What is odd or missing in the geometry is warned of.
        Of a multi-frame file with several volumes the first is read.

    Raises:
        ScanFailed: `mosaic`, `series_inconsistent`, or what `opened` and `decoded` raise.
    """
    images = _images(files, limits)
    headers = [header for header, _ in images]
    plans = group(headers, limits)
    if len(plans) != 1 or not plans[0].members:
        raise ScanFailed(Code.SERIES_INCONSISTENT, f"{len(files)} files form {len(plans)} volumes")
    plan = plans[0]
    first, pixels = images[plan.members[0]]
    if first.frames > 1:
        slices, several = _frames(first, pixels, limits)
    else:
        slices, several = [_slice(*images[index]) for index in plan.members], bool(plan.others)
    found = {Code.DUPLICATE_INSTANCE} if plan.duplicates else set()
    found |= {Code.FIRST_VOLUME_ONLY} if several else set()
    geometry, odd = series_geometry([part.header for part in slices])
    return Volume(
        kind=ScanKind.DICOM,
        planes=_planes(slices),
        geometry=geometry,
        warnings=ordered(found | odd | _said(headers)),
        study_uid=first.study_uid or None,
        series_uid=first.series_uid or None,
    )


def _images(files: Sequence[bytes], limits: Limits) -> list[tuple[DicomHeader, Pixels]]:
    """Read each file once; the sum of their pixels is bounded as they come."""
    images: list[tuple[DicomHeader, Pixels]] = []
    planes = 0
    for data in files:
        dataset = opened(gunzipped(data, limits.file_bytes), limits)
        with translated(Code.DAMAGED, "the header cannot be read"):
            header = summary(dataset)
        if header.mosaic:
            raise ScanFailed(Code.MOSAIC)
        planes += header.frames
        check_size(header.rows, header.columns, planes, limits)
        images.append((header, decoded(dataset)))
    return images


def _said(headers: Sequence[DicomHeader]) -> set[Code]:
    said = {
        Code.BODY_PART_UNKNOWN: not all(header.body_known for header in headers),
        Code.PHANTOM: any(header.phantom for header in headers),
        Code.BURNED_IN_TEXT: any(header.burned_in for header in headers),
    }
    return {code for code, holds in said.items() if holds}


def _slice(header: DicomHeader, pixels: Pixels) -> _Slice:
    if len(pixels.frames) != 1:
        raise ScanFailed(Code.SERIES_INCONSISTENT, "a file has more frames than its header says")
    return _of_frame(header, pixels, 0, pixels.slope, pixels.intercept)


def _of_frame(header: DicomHeader, pixels: Pixels, index: int, slope: float, intercept: float) -> _Slice:
    return _Slice(
        header=header,
        values=pixels.frames[index],
        slope=slope,
        intercept=intercept,
        inverted=pixels.inverted,
        bits=pixels.bits,
    )


def _frames(header: DicomHeader, pixels: Pixels, limits: Limits) -> tuple[list[_Slice], bool]:
    """The first volume of a multi-frame file (PS3.3 C.7.6.16), and whether there are more."""
    with translated(Code.DAMAGED, "the functional groups cannot be read"):
        shared = _item(pixels.data, "SharedFunctionalGroupsSequence")
        each = list(pixels.data.get("PerFrameFunctionalGroupsSequence") or ())
        each = each or [Dataset()] * len(pixels.frames)  # no frame says where it lies: they stay as they are
        if len(each) != len(pixels.frames):
            raise ScanFailed(Code.DAMAGED, "frames and functional groups differ in number")
        frames = [_frame_header(header, shared, own, index) for index, own in enumerate(each)]
        scales = [_frame_scale(shared, own, pixels) for own in each]
    plans = group(frames, limits)
    members = plans[0].members
    slices = [_of_frame(frames[index], pixels, index, *scales[index]) for index in members]
    return slices, len(members) < len(frames)


def _frame_header(header: DicomHeader, shared: Dataset, own: Dataset, index: int) -> DicomHeader:
    """A frame as if it were an image of its own."""
    position = numbers(_group(shared, own, "PlanePositionSequence"), "ImagePositionPatient", 3)
    orientation = numbers(_group(shared, own, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    measures = _group(shared, own, "PixelMeasuresSequence")
    content = _group(shared, own, "FrameContentSequence")
    spacing = numbers(measures, "PixelSpacing", 2)
    weight = b_value(_group(shared, own, "MRDiffusionSequence"))
    when = number(content, "TemporalPositionIndex") or 0.0
    return DicomHeader.model_validate(
        {
            **header.model_dump(),
            "frames": 1,
            "sop_uid": "",
            "position": position,
            "orientation": orientation,
            "pixel_mm": spacing if spacing and min(spacing) > 0 else header.pixel_mm,
            "thickness_mm": number(measures, "SpacingBetweenSlices") or number(measures, "SliceThickness"),
            "number": index,
            "order": (weight, when, float(index)),
        }
    )


def _frame_scale(shared: Dataset, own: Dataset, pixels: Pixels) -> tuple[float, float]:
    values = _group(shared, own, "PixelValueTransformationSequence")
    slope, intercept = number(values, "RescaleSlope"), number(values, "RescaleIntercept")
    return (pixels.slope if slope is None else slope, pixels.intercept if intercept is None else intercept)


def _group(shared: Dataset, own: Dataset, name: str) -> Dataset:
    return _item(own, name) if name in own else _item(shared, name)


def _item(data: Dataset, name: str) -> Dataset:
    items = data.get(name)
    return items[0] if items else Dataset()


def _planes(slices: Sequence[_Slice]) -> Planes:
    """All slices on one scale: colour as it is, 8-bit grey as it is, deeper grey by the volume's percentiles."""
    if len({part.values.shape for part in slices}) != 1 or len({part.inverted for part in slices}) != 1:
        raise ScanFailed(Code.SERIES_INCONSISTENT, "the slices differ in size or colour")
    scales = {(part.slope, part.intercept) for part in slices}
    if len(scales) == 1:  # one positive scale for all changes no percentile, so the stored values will do
        values = np.stack([part.values for part in slices])
    else:
        values = np.stack([part.values.astype(np.float32) * part.slope + part.intercept for part in slices])
    turned = len(scales) == 1 and next(iter(scales))[0] < 0
    if values.ndim == 4:
        return grey_if_grey(values if values.dtype == np.uint8 else scaled_planes(values))
    inverted = slices[0].inverted != turned
    if values.dtype == np.uint8 and slices[0].bits == 8:
        return np.ascontiguousarray(np.subtract(255, values, dtype=np.uint8) if inverted else values)
    return scaled_planes(values, inverted=inverted)
