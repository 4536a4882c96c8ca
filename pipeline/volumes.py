"""What reading yields: the planes of one scan, with where they lie. One type for a picture (one plane) and a volume."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from neurobatch.records import ScanKind
from pipeline.geometry import Geometry
from pipeline.limits import Limits

Planes = NDArray[np.uint8]

PERCENTILES = (0.5, 99.5)  # of a scan's own values: black and white of its planes
SAMPLES = 1 << 20  # values that the percentiles are taken over, evenly spread, where there are more


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """One scan, read: its planes in order and where they lie."""

    kind: ScanKind
    planes: Planes  # (n, h, w) grey or (n, h, w, 3) RGB, uint8, C-contiguous
    geometry: Geometry
    warnings: tuple[Code, ...] = ()
    study_uid: str | None = None
    series_uid: str | None = None

    @property
    def is_flat(self) -> bool:
        """Whether its mask is a picture of the one plane; else it is a NIfTI file in the original geometry."""
        return self.kind is not ScanKind.NIFTI and len(self.planes) == 1


def check_size(rows: int, columns: int, slices: int, limits: Limits) -> None:
    """Refuse planes that are too small or too many before their memory is taken.

    Raises:
        ScanFailed: `too_small`, `too_many_pixels`.
    """
    if min(rows, columns) < limits.min_side:
        raise ScanFailed(Code.TOO_SMALL, f"{rows} x {columns} px")
    pixels = rows * columns
    if max(rows, columns) > limits.max_side or pixels > limits.picture_pixels:
        raise ScanFailed(Code.TOO_MANY_PIXELS, f"{rows} x {columns} px")
    if slices < 1 or pixels * slices > limits.volume_voxels:
        raise ScanFailed(Code.TOO_MANY_PIXELS, f"{slices} planes of {rows} x {columns} px")


def window(values: NDArray[Any]) -> tuple[float, float]:
    """Black and white for values of any numeric type: their 0.5 and 99.5 percentiles, zeros (padding, air) apart.

    Returns:
        (low, high); equal where all values are.
    """
    flat = values.reshape(-1)
    sample = flat[:: max(1, -(-flat.size // SAMPLES))]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    signal = sample[sample != 0]
    if signal.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(signal.astype(np.float64), PERCENTILES)
    return float(low), float(high)


def to_bytes(values: NDArray[Any], low: float, high: float, *, inverted: bool = False) -> Planes:
    """Map low..high of one plane onto 0..255, rounded; what is not a number becomes black.

    A plane without contrast (low = high) becomes 0 where it is at or below, 255 above.
    """
    plane = values.astype(np.float32)
    if values.dtype.kind == "f":
        plane = np.nan_to_num(plane, nan=low, posinf=high, neginf=low)
    span = high - low
    scaled = (plane - np.float32(low)) * np.float32(255.0 / span) if span > 0 else (plane > low) * np.float32(255.0)
    byte = np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
    return np.subtract(255, byte, dtype=np.uint8) if inverted else byte


def scaled_planes(planes: Sequence[NDArray[Any]] | NDArray[Any], *, inverted: bool = False) -> Planes:
    """Planes `(n, h, w)` of one numeric type on one grey scale for all: uint8, C-contiguous. Plane by plane, to save
    memory.
    """
    whole = np.asarray(planes)
    low, high = window(whole)
    out = np.empty(whole.shape, np.uint8)
    for index in range(len(whole)):
        out[index] = to_bytes(whole[index], low, high, inverted=inverted)
    return out


def grey_if_grey(planes: Planes) -> Planes:
    """Drop equal colour channels: `(..., h, w, 3)` with R = G = B everywhere becomes `(..., h, w)`."""
    if np.array_equal(planes[..., 0], planes[..., 1]) and np.array_equal(planes[..., 0], planes[..., 2]):
        return np.ascontiguousarray(planes[..., 0])
    return np.ascontiguousarray(planes)


_RANKS = {code: number for number, code in enumerate(Code)}


def ordered(codes: Iterable[Code]) -> tuple[Code, ...]:
    """Warnings without repetition, in the order of their declaration, so that results are the same bytes."""
    return tuple(sorted(set(codes), key=_RANKS.__getitem__))
