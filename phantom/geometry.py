"""Where the samples of a phantom lie, and signed distances (mm, negative inside) of the shapes in it.

Head coordinates are RAS+ as in NIfTI, in millimetres: x grows to the subject's right, y to the nose, z to the
vertex. The origin is the middle of the brain at the level of the commissures.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from phantom.noise import Array, Waves


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A grid of samples in head coordinates: sample (i, j) lies at `origin + i * down + j * across`."""

    origin: Array  # (3,), mm
    across: Array  # (3,), mm from one column to the next
    down: Array  # (3,), mm from one row to the next
    shape: tuple[int, int]  # rows, columns

    @cached_property
    def points(self) -> Array:
        """The samples, (3, h, w) in mm."""
        rows = self.down[:, None, None] * np.arange(self.shape[0])[None, :, None]
        columns = self.across[:, None, None] * np.arange(self.shape[1])[None, None, :]
        grid: Array = self.origin[:, None, None] + rows + columns
        return grid

    @cached_property
    def normal(self) -> Array:
        """The unit vector across the plane, to the vertex for an axial one."""
        vector = np.cross(self.down, self.across)
        unit: Array = vector / np.sqrt((vector**2).sum())
        return unit

    @property
    def pitch(self) -> float:
        """The distance between neighbouring samples in mm (samples are square)."""
        return float(np.sqrt((self.across**2).sum()))

    def part(self, rows: slice, columns: slice) -> "Plane":
        """The samples of these rows and columns."""
        return Plane(
            origin=self.origin + rows.start * self.down + columns.start * self.across,
            across=self.across,
            down=self.down,
            shape=(rows.stop - rows.start, columns.stop - columns.start),
        )

    def thinned(self, step: int) -> "Plane":
        """Every `step`-th row and column."""
        return Plane(
            origin=self.origin,
            across=step * self.across,
            down=step * self.down,
            shape=(-(-self.shape[0] // step), -(-self.shape[1] // step)),
        )

    def field(self, waves: Waves) -> Array:
        """A random function of space on this plane, (h, w)."""
        return waves.on(self.origin, self.across, self.down, self.shape)

    def fields(self, waves: Iterable[Waves]) -> Array:
        """Several random functions on this plane, (n, h, w)."""
        return np.stack([self.field(each) for each in waves])


def cover(distance: Array, width: float) -> Array:
    """The share of each sample that a shape covers; the edge at distance 0 is `width` mm wide."""
    share: Array = np.clip(0.5 - distance / width, 0.0, 1.0)
    return share


def ellipsoid(points: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """The distance to an ellipsoid, first order: exact on its surface, and its zero set is exact."""
    squares = [((points[axis] - centre[axis]) / radii[axis]) ** 2 for axis in range(3)]
    outward = np.sqrt(squares[0] + squares[1] + squares[2])
    slope = np.sqrt(squares[0] / radii[0] ** 2 + squares[1] / radii[1] ** 2 + squares[2] / radii[2] ** 2)
    distance: Array = outward * (outward - 1.0) / np.maximum(slope, 1e-9)
    return distance


def capsule(
    points: Array,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radii: tuple[float, float],
) -> Array:
    """The distance to a rod from `start` to `end`; its radius goes evenly from one to the other."""
    rod = [end[axis] - start[axis] for axis in range(3)]
    gap = [points[axis] - start[axis] for axis in range(3)]
    along = (gap[0] * rod[0] + gap[1] * rod[1] + gap[2] * rod[2]) / (rod[0] ** 2 + rod[1] ** 2 + rod[2] ** 2)
    along = np.clip(along, 0.0, 1.0)
    squares = [(gap[axis] - along * rod[axis]) ** 2 for axis in range(3)]
    distance: Array = np.sqrt(squares[0] + squares[1] + squares[2]) - (radii[0] + along * (radii[1] - radii[0]))
    return distance


def length(vectors: Array) -> Array:
    """The length of each of `vectors` (3, ...)."""
    total: Array = np.sqrt(vectors[0] ** 2 + vectors[1] ** 2 + vectors[2] ** 2)
    return total


def mirrored(points: Array, side: int | None = None) -> Array:
    """The points (3, ...) with x counted outwards on `side` (-1 or 1), or on both sides."""
    x = np.abs(points[0]) if side is None else side * points[0]
    return np.stack([x, points[1], points[2]])


def blend(first: Array, second: Array, width: float) -> Array:
    """The union of two shapes, the crease rounded over `width` mm (polynomial smooth minimum)."""
    share = np.clip(0.5 + 0.5 * (second - first) / width, 0.0, 1.0)
    union: Array = second + (first - second) * share - width * share * (1.0 - share)
    return union
