"""Where planes lie in the patient, and how they came from the file's own array: geometry never travels bare.

Conventions, each named where it is used:
    DICOM  LPS+: x grows to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1), millimetres.
    NIfTI  RAS+: x grows to the patient's right, y to the front, z to the head (nifti1.h), millimetres.
    plane  `planes[slice, row, column]`, row 0 at the top as a radiologist looks at it: on axial planes the front is at
           the top and the patient's right at the left; on coronal and sagittal planes the head is at the top, and on
           sagittal planes the front is at the left. DICOM planes are as their maker stored them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Affine = tuple[tuple[float, float, float, float], ...]  # 4 rows; the last is 0 0 0 1

ANISOTROPIC_RATIO = 1.5  # the thickest axis of a volume is its acquisition axis if this much thicker than the next
EVEN_GAP_TOLERANCE = 0.05  # share of the median gap by which gaps between slices may differ
MISSING_GAP_RATIO = 1.5  # a gap this many times the median is a missing slice
SAME_POSITION_MM = 0.01  # slices nearer than this along the normal lie at one position
SAME_DIRECTION_COSINE = 1e-3  # direction cosines that differ by less are one orientation
ORTHOGONAL_TOLERANCE = 1e-2  # how far row and column directions may be from unit length and a right angle

_AXIS_NAMES = ("sagittal", "coronal", "axial")  # of the RAS axis along which slices follow each other


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How planes are cut out of an array: a permutation of its axes and flips, so exactly invertible."""

    axes: tuple[int, int, int]  # array axis that becomes slice, row, column
    flips: tuple[bool, bool, bool]  # whether slice, row, column then run backwards

    def to_planes(self, array: NDArray[Any]) -> NDArray[Any]:
        """View an array `(a, b, c, ...)` as `(n, h, w, ...)`; further axes stay behind."""
        rest = tuple(range(3, array.ndim))
        return np.transpose(array, self.axes + rest)[self._slices()]

    def to_array(self, planes: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `to_planes`: view `(n, h, w, ...)` as the array `(a, b, c, ...)`."""
        back = tuple(int(axis) for axis in np.argsort(self.axes))
        return np.transpose(planes[self._slices()], back + tuple(range(3, planes.ndim)))

    def _slices(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The file's own array in the patient."""

    shape: tuple[int, int, int]  # voxels of the array, before it was cut into planes
    affine: Affine | None  # voxel index -> RAS+ mm; None where the file does not say
    layout: Layout
    header: bytes | None = None  # NIfTI: the source's header without its texts, so that a mask keeps it bit by bit


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The grid of a scan's planes."""

    shape: tuple[int, int, int]  # slices, rows, columns of the planes
    pixel_mm: tuple[float, float] | None = None  # between centres of rows, of columns
    slice_mm: float | None = None  # between centres of neighbouring slices, along the normal
    slicing: str | None = None  # axial, coronal or sagittal: the nearest, where the orientation is known
    space: Space | None = None  # None for pictures

    @property
    def pixel_area_mm2(self) -> float | None:
        """Area of one pixel, mm²."""
        return None if self.pixel_mm is None else self.pixel_mm[0] * self.pixel_mm[1]

    @property
    def voxel_volume_mm3(self) -> float | None:
        """Volume of one voxel, mm³."""
        area = self.pixel_area_mm2
        return None if area is None or self.slice_mm is None else area * self.slice_mm


def plane_geometry(rows: int, columns: int, pixel_mm: tuple[float, float] | None = None) -> Geometry:
    """The grid of one picture."""
    return Geometry(shape=(1, rows, columns), pixel_mm=pixel_mm)


def as_affine(matrix: NDArray[Any]) -> Affine:
    """A 4 x 4 matrix as nested tuples of floats, which compare and freeze."""
    rows = [tuple(float(value) for value in row) for row in np.asarray(matrix, np.float64)]
    return tuple((row[0], row[1], row[2], row[3]) for row in rows)


def lps_to_ras(affine_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn an affine into DICOM's LPS+ into one into NIfTI's RAS+: the first two world axes change sign."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps


def voxel_sizes(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Lengths in mm of one step along each array axis."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return float(lengths[0]), float(lengths[1]), float(lengths[2])


def usable(affine: NDArray[np.float64]) -> bool:
    """Whether an affine is finite and spans three dimensions."""
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9)


def nearest_axes(affine: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """For each RAS+ axis: the array axis nearest to it, and whether that one runs against it.

    Greedy on the largest direction cosine, so that each array axis is used once, however oblique.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left = np.abs(cosines).copy()
    axes, against = [0, 0, 0], [False, False, False]
    for _ in range(3):
        world, array = (int(index) for index in np.unravel_index(int(np.argmax(left)), left.shape))
        axes[world], against[world] = array, bool(cosines[world, array] < 0)
        left[world, :] = -1.0
        left[:, array] = -1.0
    return (axes[0], axes[1], axes[2]), (against[0], against[1], against[2])


def slicing_axis(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> int:
    """The RAS+ axis (0, 1, 2) along which a volume is cut: its acquisition axis if clearly thicker, else axial."""
    axes, _ = nearest_axes(affine)
    sizes = voxel_sizes(affine)
    by_size = sorted(range(3), key=lambda world: sizes[axes[world]])
    thickest, next_one = by_size[2], by_size[1]
    if shape[axes[thickest]] == 1 or sizes[axes[thickest]] > ANISOTROPIC_RATIO * sizes[axes[next_one]]:
        return thickest
    flat = [world for world in range(3) if shape[axes[world]] == 1]
    return flat[0] if flat else 2


def radiological_layout(affine: NDArray[np.float64], slicing: int) -> Layout:
    """How to cut an array so that each plane is shown as this module's head says.

    Slices follow each other towards RAS+ (to the head, the front, the right).
    """
    axes, against = nearest_axes(affine)
    row_world = 1 if slicing == 2 else 2  # the top row is the foremost or the uppermost
    column_world = 1 if slicing == 0 else 0  # the left column is the foremost, or the patient's right
    return Layout(
        axes=(axes[slicing], axes[row_world], axes[column_world]),
        flips=(against[slicing], not against[row_world], not against[column_world]),
    )


def slicing_name(axis: int) -> str:
    """The name of planes across a RAS+ axis."""
    return _AXIS_NAMES[axis]


def volume_geometry(
    shape: tuple[int, int, int], affine: NDArray[np.float64], *, known: bool, header: bytes | None = None
) -> Geometry:
    """The grid of a volume given as an array with its affine into RAS+.

    Args:
        shape: of the array, in voxels.
        affine: `(4, 4)` float64, usable.
        known: whether the file says this orientation; else it is a convention and is not named.
        header: cleaned NIfTI header to give back with a mask.
    """
    slicing = slicing_axis(affine, shape)
    layout = radiological_layout(affine, slicing)
    sizes = voxel_sizes(affine)
    deep, tall, wide = layout.axes
    return Geometry(
        shape=(shape[deep], shape[tall], shape[wide]),
        pixel_mm=(sizes[tall], sizes[wide]),
        slice_mm=sizes[deep],
        slicing=slicing_name(slicing) if known else None,
        space=Space(shape=shape, affine=as_affine(affine), layout=layout, header=header),
    )
