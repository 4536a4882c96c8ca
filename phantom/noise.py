"""Smooth random functions of space, drawn once from a seed and the same on every plane that cuts them.

Each is a sum of plane waves whose lengths lie in a band (a Gaussian random field, Rice 1944). Its
zero set is a maze of even width, which is what folds of the cortex look like; with long waves it bends shapes
and shades coils.
"""

import math
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waves:
    """A random function of space with mean 0 and standard deviation 1."""

    vectors: Array  # (n, 3), radians per mm
    phases: Array  # (n,), radians

    @classmethod
    def draw(cls, rng: np.random.Generator, *, shortest: float, longest: float, count: int = 32) -> Self:
        """Draw `count` plane waves, `shortest` to `longest` mm long, in directions at random."""
        directions = rng.standard_normal((count, 3))
        directions /= np.sqrt((directions**2).sum(axis=1, keepdims=True))
        lengths = 1 / rng.uniform(1 / longest, 1 / shortest, (count, 1))
        return cls(vectors=directions * (2 * np.pi / lengths), phases=rng.uniform(0, 2 * np.pi, count))

    def at(self, points: Array) -> Array:
        """The function at `points` (3, n) in mm, (n,)."""
        waves = np.cos(_product(self.vectors, points) + self.phases[:, None])
        total: Array = waves.sum(axis=0) * math.sqrt(2 / len(self.phases))
        return total

    def on(self, origin: Array, across: Array, down: Array, shape: tuple[int, int]) -> Array:
        """The function at the points `origin + j * across + i * down` (mm) of a plane, of `shape` (h, w).

        The phase is linear in i and j, so the sum of waves is two products of small matrices: a millisecond.
        """
        rows = np.outer(np.arange(shape[0]), self.vectors @ down) + (self.vectors @ origin + self.phases)
        columns = np.outer(self.vectors @ across, np.arange(shape[1]))
        total: Array = _product(np.cos(rows), np.cos(columns)) - _product(np.sin(rows), np.sin(columns))
        return total * math.sqrt(2 / len(self.phases))


def _product(left: Array, right: Array) -> Array:
    """The matrix product by OpenCV: NumPy's BLAS lost 10 ms to its own threads where cores were busy."""
    none = np.zeros((0, 0))
    product = cv2.gemm(left, np.ascontiguousarray(right), 1.0, none, 0.0)
    return np.asarray(product, dtype=np.float64)
