"""Non-local means (Buades, Coll, Morel, CVPR 2005), the same as OpenCV's to the grey level in a third of its time.

OpenCV's arithmetic is the definition: weights are whole numbers from a table by the squared difference of two patches,
with 49 pixels taken for 64; small ones count as none; the border is reflected without its last pixel.
"""

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.shifts import RADIUS, SHIFT, kernel, margins

PATCH = 2 * RADIUS + 1  # px
LEVEL = 255
LEAST = 0.001  # of the full weight: what is less is none
WHOLE = 2**31 - 1  # all weights of a pixel together, times the largest level, stay within it


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The weights of one strength, as `shifts.mean` takes them."""

    table: NDArray[np.int32]
    caps: NDArray[Any]


def filtered(planes: NDArray[np.uint8], strength: float, search: int) -> NDArray[np.uint8]:
    """Filter planes that belong together: patches are compared over all of them.

    Args:
        planes: `(channels, height, width)` uint8, not empty.
        strength: grey levels, OpenCV's h, from 0 on.
        search: px of the window in which patches are compared, odd.

    Returns:
        The same shape.
    """
    channels, height, width = planes.shape
    half = search // 2
    above, left, right = margins(half)
    edge = half + RADIUS
    frame = np.zeros((channels, height + 2 * above, left + width + right), np.int16)
    for plane, framed in zip(planes, frame, strict=True):
        around = cv2.copyMakeBorder(plane, edge, edge, edge, edge, cv2.BORDER_REFLECT_101)
        framed[:, left - edge : left + width + edge] = around
    cleaned = np.empty((channels, height, width), np.uint8)
    weights = weights_of(strength, 2 * half + 1, channels)
    kernel()(frame, cleaned, weights.table, half, weights.caps)
    return cleaned


@functools.lru_cache(maxsize=16)
def weights_of(strength: float, search: int, channels: int) -> Weights:
    """The table of OpenCV's `FastNlMeansDenoisingInvoker`, up to seven times the first difference without weight."""
    full = WHOLE // (search * search * LEVEL)
    step = (1 << SHIFT) / PATCH**2
    squares = np.float32(strength) * np.float32(strength) * np.float32(channels)
    differences = np.arange(int(LEVEL**2 * channels / step + 1)) * step
    with np.errstate(divide="ignore", invalid="ignore"):
        likeness = np.nan_to_num(np.exp(-differences / float(squares)), nan=1.0)
    known = np.rint(full * likeness)
    known[known < LEAST * full] = 0
    count = int(np.count_nonzero(known))  # it falls, so these come first
    cap = count << SHIFT
    table = np.zeros(PATCH * count + 1, np.int32)
    table[:count] = known[:count]
    narrow = channels == 1 and PATCH * cap <= np.iinfo(np.uint16).max
    return Weights(table=table, caps=np.array([cap], np.uint16 if narrow else np.uint32))
