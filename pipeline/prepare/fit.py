"""Fit a plane into a network's square, and bring what the network says back onto the plane's own grid.

A letterbox: the aspect is kept (the physical one where it is known), the picture centred, all else black.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Where a plane lies in a network's square: a box of `rows` × `columns` at (`top`, `left`)."""

    height: int  # px of the plane
    width: int  # px of the plane
    size: int  # px, side of the network's square
    rows: int  # px of the box in the square
    columns: int  # px of the box in the square

    @classmethod
    def of(cls, height: int, width: int, size: int, spacing: tuple[float, float] | None = None) -> "Fit":
        """Lay out a plane of `height` × `width` px.

        Args:
            height: rows of the plane, at least 1.
            width: columns of the plane, at least 1.
            size: side of the network's square in px, at least 1.
            spacing: (row_mm, col_mm) between centres of rows and of columns; None for square pixels.

        Raises:
            ValueError: a length is below 1, or a spacing is not above 0.
        """
        if min(height, width, size) < 1:
            raise ValueError("a plane and a square have at least one pixel each way")
        row_mm, col_mm = spacing or (1.0, 1.0)
        if not (0 < row_mm < float("inf") and 0 < col_mm < float("inf")):
            raise ValueError("a spacing is a finite number above 0")
        tall, broad = height * row_mm, width * col_mm
        scale = size / max(tall, broad)
        return cls(
            height=height,
            width=width,
            size=size,
            rows=_clamped(tall * scale, size),
            columns=_clamped(broad * scale, size),
        )

    @property
    def top(self) -> int:
        """First row of the box in the square."""
        return (self.size - self.rows) // 2

    @property
    def left(self) -> int:
        """First column of the box in the square."""
        return (self.size - self.columns) // 2

    def apply(self, plane: Plane) -> Plane:
        """Place a plane `(height, width[, 3])` uint8 in a square `(size, size, 3)` uint8; grey is repeated.

        Raises:
            ValueError: the plane has another shape than this fit was made for.
        """
        if plane.shape[:2] != (self.height, self.width) or plane.shape[2:] not in ((), (3,)):
            raise ValueError(f"a plane of {plane.shape} is not one of {self.height} x {self.width}")
        box = resize(plane, self.rows, self.columns)
        square = np.zeros((self.size, self.size, 3), np.uint8)
        inside = square[self.top : self.top + self.rows, self.left : self.left + self.columns]
        inside[:] = box if box.ndim == 3 else box[:, :, None]
        return square

    def restore(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a map `(size, size)` float32 back onto the plane's grid: `(height, width)` float32.

        Raises:
            ValueError: the map is not `(size, size)`.
        """
        if probabilities.shape != (self.size, self.size):
            raise ValueError(f"a map of {probabilities.shape} does not come from a square of {self.size}")
        box = probabilities[self.top : self.top + self.rows, self.left : self.left + self.columns]
        return resize(np.ascontiguousarray(box, np.float32), self.height, self.width)


def resize(picture: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Resize each axis by itself: averages over areas where it shrinks, linear where it grows.

    With uneven spacing one axis may shrink while the other grows; one method for both would alias or blur.
    """
    shrunk = _resize(picture, min(rows, picture.shape[0]), min(columns, picture.shape[1]), cv2.INTER_AREA)
    return _resize(shrunk, rows, columns, cv2.INTER_LINEAR)


def _resize(picture: NDArray[Any], rows: int, columns: int, how: int) -> NDArray[Any]:
    if picture.shape[:2] == (rows, columns):
        return picture
    return cv2.resize(picture, (columns, rows), interpolation=how)


def _clamped(length: float, size: int) -> int:
    return min(max(round(length), 1), size)
