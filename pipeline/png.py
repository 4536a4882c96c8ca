"""PNG files of what was drawn: quickly packed, since every result has one or two; equal pictures are equal bytes."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Level 6 takes five times as long for a fifth less. Without a choice the encoder tries all filters on each row.
_PACKING = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER)
_COLOUR = (*_PACKING, cv2.IMWRITE_PNG_FILTER_AVG, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT)
_MASK = (*_PACKING, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture without loss.

    Args:
        picture: `(h, w)` of few grey levels, as masks have, or `(h, w, 3)` RGB, uint8.
    """
    grey = picture.ndim == 2
    channels: Any = picture if grey else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", channels, _MASK if grey else _COLOUR)[1].tobytes()
