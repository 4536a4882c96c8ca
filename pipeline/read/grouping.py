"""From the headers of many DICOM instances to scans: which files form one volume, and in which order.

A series UID says what belongs together, positions say in which order: never file names, and instance numbers only where
there are no positions. Within a series, images of another size or orientation form a volume of their own.
Where several images lie at one position (b-values, echoes, times), they are dealt out to volumes, never averaged: up to
`Limits.volumes_per_series` volumes are a scan each; of more (diffusion in many directions, functional series) only the
first is read, since its neighbours differ from it in nothing that the networks know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from pipeline.geometry import (
    EVEN_GAP_TOLERANCE,
    MISSING_GAP_RATIO,
    SAME_DIRECTION_COSINE,
    SAME_POSITION_MM,
    Geometry,
    Layout,
    Space,
    as_affine,
    lps_to_ras,
    nearest_axes,
    slicing_name,
    usable,
)
from pipeline.limits import Limits
from pipeline.read.dicom_header import DicomHeader

DICOM_LAYOUT = Layout(axes=(2, 1, 0), flips=(False, False, False))  # array[column, row, slice]


@dataclass(frozen=True, kw_only=True)
class SeriesPlan:
    """One scan out of a series: numbers are indexes into the headers that were grouped."""

    study_uid: str
    series_uid: str
    part: int  # number of the scan among those of its series
    members: tuple[int, ...]  # files to read, in the order of their slices
    slices: int  # planes that will be read
    duplicates: tuple[int, ...] = ()  # instances that were already there: left out as `duplicate_instance`
    others: tuple[int, ...] = ()  # of volumes that are not read: left out as `other_volume`


@dataclass(kw_only=True)
class _Stack:
    """Images of one series, size and orientation."""

    key: tuple[int, ...]
    orientation: tuple[float, ...] | None
    indexes: list[int] = field(default_factory=list)

    def takes(self, key: tuple[int, ...], orientation: tuple[float, ...] | None) -> bool:
        if self.key != key or (self.orientation is None) != (orientation is None):
            return False
        if self.orientation is None or orientation is None:
            return True
        return bool(np.allclose(self.orientation, orientation, atol=SAME_DIRECTION_COSINE, rtol=0))


def group(headers: Sequence[DicomHeader], limits: Limits) -> list[SeriesPlan]:
    """Group instances into scans.

    Args:
        headers: in the order in which the files were listed; of one series or of many.

    Returns:
        Plans in the order in which their series were first met. Every index is in exactly one plan, as a member, a
        duplicate or another volume's.
    """
    series: dict[str, list[int]] = {}
    for index, header in enumerate(headers):
        series.setdefault(header.series_uid or f"#{index}", []).append(index)
    plans: list[SeriesPlan] = []
    for indexes in series.values():
        plans += _of_series(headers, indexes, limits)
    return plans


def _of_series(headers: Sequence[DicomHeader], indexes: list[int], limits: Limits) -> list[SeriesPlan]:
    unique, duplicates = _without_duplicates(headers, indexes)
    found: list[tuple[list[int], list[int]]] = []
    for stack in _stacks(headers, unique):
        found += _volumes(headers, stack, limits)
    first = headers[indexes[0]]
    return [
        SeriesPlan(
            study_uid=first.study_uid,
            series_uid=first.series_uid,
            part=part,
            members=tuple(members),
            slices=max(len(members), headers[members[0]].frames),
            duplicates=tuple(duplicates) if part == 0 else (),
            others=tuple(others),
        )
        for part, (members, others) in enumerate(found)
    ]


def _without_duplicates(headers: Sequence[DicomHeader], indexes: list[int]) -> tuple[list[int], list[int]]:
    seen: set[str] = set()
    unique: list[int] = []
    duplicates: list[int] = []
    for index in indexes:
        uid = headers[index].sop_uid
        (duplicates if uid and uid in seen else unique).append(index)
        seen.add(uid)
    return unique, duplicates


def _stacks(headers: Sequence[DicomHeader], indexes: list[int]) -> list[_Stack]:
    stacks: list[_Stack] = []
    for index in indexes:
        header = headers[index]
        alone = index + 1 if header.frames > 1 else 0  # a multi-frame file is a volume by itself
        key = (header.rows, header.columns, int(header.mosaic), alone)
        home = next((stack for stack in stacks if stack.takes(key, header.orientation)), None)
        if home is None:
            home = _Stack(key=key, orientation=header.orientation)
            stacks.append(home)
        home.indexes.append(index)
    return stacks


def _volumes(headers: Sequence[DicomHeader], stack: _Stack, limits: Limits) -> list[tuple[list[int], list[int]]]:
    """Volumes of a stack, each with the files that go with it unread."""
    indexes = stack.indexes
    if headers[indexes[0]].mosaic or any(headers[index].position is None for index in indexes):
        return [(sorted(indexes, key=lambda index: (headers[index].number, index)), [])]
    places = _at_positions(headers, indexes)
    count = max(map(len, places))
    volumes = [[place[number] for place in places if len(place) > number] for number in range(count)]
    whole = [volume for volume in volumes if 2 * len(volume) >= len(places)]  # repeats of a few slices are no volume
    kept = whole if len(whole) <= limits.volumes_per_series else whole[:1]
    rest = [index for volume in volumes if volume not in kept for index in volume]
    return [(volume, rest if number == 0 else []) for number, volume in enumerate(kept)]


def _at_positions(headers: Sequence[DicomHeader], indexes: list[int]) -> list[list[int]]:
    """Images by position along the normal, and at each position in the order of their volumes."""
    depth = depths([headers[index] for index in indexes])
    order = sorted(range(len(indexes)), key=lambda number: (depth[number], number))
    places: list[list[int]] = []
    last = -np.inf
    for number in order:
        if depth[number] - last > SAME_POSITION_MM:
            places.append([])
            last = depth[number]
        places[-1].append(indexes[number])
    return [sorted(p, key=lambda index: (headers[index].order, headers[index].number, index)) for p in places]


def depths(headers: Sequence[DicomHeader]) -> NDArray[np.float64]:
    """Where images of one orientation lie along their normal, mm `(n,)`; along the axis of most spread without one."""
    positions = np.array([header.position for header in headers], np.float64)
    axis = normal(headers[0])
    if axis is None:
        axis = np.eye(3)[int(np.argmax(np.ptp(positions, axis=0)))]
    return np.asarray(positions @ axis, np.float64)


def normal(header: DicomHeader) -> NDArray[np.float64] | None:
    """Unit vector across an image, LPS+, `(3,)`: row direction x column direction; None where it has none."""
    if header.orientation is None:
        return None
    cross = np.cross(header.orientation[:3], header.orientation[3:])
    length = float(np.linalg.norm(cross))
    return cross / length if abs(length - 1.0) < 0.1 else None


def series_geometry(headers: Sequence[DicomHeader]) -> tuple[Geometry, set[Code]]:
    """The grid of a volume from its slices' headers, in order, and what is missing or odd in it."""
    first, count = headers[0], len(headers)
    found: set[Code] = set() if first.pixel_mm else {Code.SPACING_UNKNOWN}
    shape = (count, first.rows, first.columns)
    array_shape = (first.columns, first.rows, count)
    if any(header.position is None for header in headers) or normal(first) is None:
        space = Space(shape=array_shape, affine=None, layout=DICOM_LAYOUT)
        found.add(Code.ORIENTATION_UNKNOWN)
        return Geometry(shape=shape, pixel_mm=first.pixel_mm, slice_mm=first.thickness_mm, space=space), found
    slice_mm = first.thickness_mm
    if count > 1:
        gaps = np.diff(depths(headers))
        slice_mm = float(np.median(gaps))
        found |= _odd_gaps(gaps, slice_mm)
    affine = _affine(headers, slice_mm)
    known = usable(affine)
    return Geometry(
        shape=shape,
        pixel_mm=first.pixel_mm,
        slice_mm=slice_mm,
        slicing=_slicing(affine) if known else None,
        space=Space(shape=array_shape, affine=as_affine(affine) if known else None, layout=DICOM_LAYOUT),
    ), found | (set() if known else {Code.ORIENTATION_UNKNOWN})


def _odd_gaps(gaps: NDArray[np.float64], median: float) -> set[Code]:
    if np.any(gaps > MISSING_GAP_RATIO * median):
        return {Code.SLICES_MISSING}
    return {Code.SPACING_UNEVEN} if np.any(np.abs(gaps - median) > EVEN_GAP_TOLERANCE * median) else set()


def _affine(headers: Sequence[DicomHeader], slice_mm: float | None) -> NDArray[np.float64]:
    """Voxel (column, row, slice) -> RAS+ mm (PS3.3 C.7.6.2.1.1, and from the first to the last slice)."""
    first, last = headers[0], headers[-1]
    row_mm, column_mm = first.pixel_mm or (1.0, 1.0)
    across = normal(first)
    if first.orientation is None or first.position is None or last.position is None or across is None:
        raise ValueError("an affine needs positions and an orientation")
    step = across * (slice_mm or 1.0)
    if len(headers) > 1:
        step = (np.array(last.position) - np.array(first.position)) / (len(headers) - 1)
    lps = np.eye(4)
    lps[:3, 0] = np.array(first.orientation[:3]) * column_mm
    lps[:3, 1] = np.array(first.orientation[3:]) * row_mm
    lps[:3, 2] = step
    lps[:3, 3] = first.position
    return lps_to_ras(lps)


def _slicing(affine: NDArray[np.float64]) -> str:
    axes, _ = nearest_axes(affine)
    return slicing_name(axes.index(2))
