"""The overlay: one plane of a scan with its tumour in red, for people. Nothing is written into the picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.masks import Mask
from pipeline.png import png
from pipeline.volumes import Planes

RED = (255, 0, 0)
FILL = 0.35  # share of red within the outline
OUTLINE_PER_PX = 1 / 400  # px of outline for each px of the plane's longer side


def overlay(plane: Planes, mask: Mask | None) -> bytes:
    """Draw a mask over a plane.

    Args:
        plane: `(h, w)` grey or `(h, w, 3)` RGB, uint8.
        mask: `(h, w)`, or None where nothing was segmented: the plane is then shown as it is.

    Returns:
        A PNG in colour, of the plane's size; equal inputs give equal bytes.
    """
    colours = np.repeat(plane[..., None], 3, axis=2) if plane.ndim == 2 else plane.copy()
    if mask is not None and mask.any():
        blended = np.rint(colours[mask] * (1.0 - FILL) + np.array(RED) * FILL)
        colours[mask] = blended.astype(np.uint8)
        colours[_outline(mask)] = RED
    return png(colours)


def shown_slice(mask: Mask | None, probabilities: NDArray[np.float64]) -> int:
    """The slice to draw: that of the largest mask, else the most probable one; the first of equals.

    Args:
        mask: `(n, h, w)`, or None where nothing was segmented.
        probabilities: `(n,)`.
    """
    if mask is not None and mask.any():
        return int(np.argmax(np.count_nonzero(mask, axis=(1, 2))))
    return int(np.argmax(probabilities))


def _outline(mask: Mask) -> Mask:
    """The rim of a mask, inside of it."""
    width = max(1, round(max(mask.shape) * OUTLINE_PER_PX))
    inner = cv2.erode(
        mask.astype(np.uint8),
        np.ones((3, 3), np.uint8),
        iterations=width,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return np.asarray(mask & (inner == 0))
