"""Non-local means (Buades, Coll, Morel, CVPR 2005), the same as OpenCV's to the grey level in a third of its time.

Weights are those of `likeness`; the border is reflected without its last pixel.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.likeness import RADIUS, weights_of
from pipeline.prepare.shifts import kernel, margins


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
