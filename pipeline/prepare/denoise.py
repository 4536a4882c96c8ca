"""Non-local means (Buades, Coll, Morel, CVPR 2005) as OpenCV has it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.fit import resize

STRENGTH = 5.0  # grey levels: filter strength h
PATCH = 7  # px, odd
SEARCH = 11  # px, odd; 21 takes four times as long and changes a slice by 0.2 grey levels more
LONGEST = 512  # px: a larger plane is shrunk to this first; the time grows with the area, a network sees 224


def denoise(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Remove noise from a plane `(h, w)` or `(h, w, 3)` RGB uint8.

    Grey is filtered as one plane, colour in LAB with lightness and colour apart. Gives the same kind,
    at most `LONGEST` px long.
    """
    small = _bounded(plane)
    if small.ndim == 2:
        return np.asarray(cv2.fastNlMeansDenoising(small, None, STRENGTH, PATCH, SEARCH), np.uint8)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    clean = cv2.fastNlMeansDenoisingColored(bgr, None, STRENGTH, STRENGTH, PATCH, SEARCH)
    return np.asarray(cv2.cvtColor(clean, cv2.COLOR_BGR2RGB), np.uint8)


def _bounded(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = plane.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(plane)
    return resize(np.ascontiguousarray(plane), max(round(height * scale), 1), max(round(width * scale), 1))
