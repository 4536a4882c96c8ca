"""Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994) of lightness."""

import cv2
import numpy as np
from numpy.typing import NDArray

CLIP = 2.0  # limit of a histogram bin, as a multiple of the mean bin
TILES = (8, 8)


def stretch(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Equalise lightness (L of CIE LAB) of a plane `(h, w)` or `(h, w, 3)` RGB uint8; gives the same shape.

    Grey goes the same way as colour, so a grey picture stored as RGB comes out the same.
    """
    colour = plane if plane.ndim == 3 else cv2.cvtColor(np.ascontiguousarray(plane), cv2.COLOR_GRAY2RGB)
    lab = cv2.cvtColor(colour, cv2.COLOR_RGB2LAB)
    clahe = cv2.createCLAHE(clipLimit=CLIP, tileGridSize=TILES)
    lab[:, :, 0] = clahe.apply(np.ascontiguousarray(lab[:, :, 0]))
    stretched = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
    return stretched if plane.ndim == 3 else np.ascontiguousarray(stretched[:, :, 1])
