"""How much one patch counts for another: the weights of non-local means, as OpenCV's arithmetic defines them.

They are whole numbers from a table by the squared difference of two patches, with 49 pixels taken for 64; small ones
count as none. Needs no compiler, since whatever runs the sums takes its weights from here.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Compiled code is known by the file `shifts.py`: whoever changes a radius or shift here touches that one too.
RADIUS = 3  # px of a patch, 7 × 7
PATCH = 2 * RADIUS + 1  # px
SHIFT = 6  # the sum over a patch is looked up as sum >> 6, as OpenCV does: as if a patch had 64 pixels
LEVEL = 255
LEAST = 0.001  # of the full weight: what is less is none
WHOLE = 2**31 - 1  # all weights of a pixel together, times the largest level, stay within it


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The weights of one strength, as `shifts.mean` takes them."""

    table: NDArray[np.int32]
    caps: NDArray[Any]


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
