"""A plane that is prepared elsewhere, as bytes: with its size, and with the box that it shall fill in the square."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.denoise import bounded
from pipeline.prepare.fit import Fit
from pipeline.prepare.profiles import PROFILES
from pipeline.prepare.room import HEAD, RGB

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """What is prepared elsewhere."""

    plane: NDArray[np.uint8]  # (height, width, 1 or 3), at most `LONGEST` px long
    rows: int  # px of the box in the square
    columns: int  # px of the box in the square


def pack(plane: NDArray[np.uint8], size: int, spacing: tuple[float, float] | None) -> Bytes:
    """Pack a plane `(h, w)` grey or `(h, w, 3)` RGB uint8 for a square of `size` px; `(n,)` uint8, at most `ROOM`.

    It is shrunk first where it is too long to be denoised. `spacing`: (row_mm, col_mm), None where it is not known.
    """
    fit = Fit.of(plane.shape[0], plane.shape[1], size, spacing)
    small = bounded(plane)
    channels = 1 if small.ndim == 2 else RGB
    head = np.array([*small.shape[:2], channels, fit.rows, fit.columns], np.int32)
    return np.concatenate([head.view(np.uint8), small.ravel()])


def unpack(data: Bytes) -> Packed:
    """What was packed, from `(n,)` uint8 that begin with it; a view into them."""
    height, width, channels, rows, columns = (int(number) for number in data[:HEAD].view(np.int32))
    pixels = data[HEAD : HEAD + height * width * channels]
    return Packed(plane=pixels.reshape(height, width, channels), rows=rows, columns=columns)


def prepared(one: Packed, profile: str, size: int) -> NDArray[np.uint8]:
    """What `profiles.prepare` makes of the plane that was packed: `(size, size, 3)` uint8."""
    plane = one.plane if one.plane.shape[2] == RGB else one.plane[..., 0]
    for step in PROFILES[profile].steps:
        plane = step(plane)
    height, width = plane.shape[:2]
    return Fit(height=height, width=width, size=size, rows=one.rows, columns=one.columns).apply(plane)
