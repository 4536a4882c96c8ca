"""Planes of different sizes on canvases of one shape, so that a device sees fixed shapes.

A plane lies in the upper left corner of its canvas; how large it is travels beside it. Whole numbers are kept in
float32, which holds them exactly below 2²⁴ and which every device reckons with. Nothing hangs on the last bit of a
division: devices, and optimisers of graphs, take reciprocals that are not quite right.
"""

from typing import Any

import numpy as np
from keras import ops

Tensor = Any  # of whichever backend Keras runs on


def count(length: int) -> Tensor:
    """0, 1, … `length` - 1."""
    return ops.arange(length, dtype="float32")


def quotient(dividend: Tensor, divisor: Tensor) -> Tensor:
    """How often the one goes into the other, both whole: right also where a device divides by a rough reciprocal."""
    return ops.floor((dividend + 0.5) / divisor)


def mirrored(places: Tensor, lengths: Tensor) -> Tensor:
    """Places beyond a side brought back into it, the border not repeated (OpenCV's `BORDER_REFLECT_101`).

    Args:
        places: `(B, n)` float32, whole, negative ones too.
        lengths: of the sides, `(B, 1)` float32.
    """
    period = ops.maximum(2 * (lengths - 1), 1)
    within = places - period * quotient(places, period)
    return ops.where(lengths > 1, ops.minimum(within, period - within), 0 * places)


def gathered(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Rows and columns of each plane: `(B, H, W)`, `(B, n)` and `(B, m)` to `(B, n, m)`."""
    return _rows(ops.transpose(_rows(ops.transpose(planes, (0, 2, 1)), columns), (0, 2, 1)), rows)


def looked_up(table: Tensor, places: Tensor) -> Tensor:
    """`table[places]`, with places in float32."""
    return ops.take(table, ops.cast(places, "int32"), axis=0)


def _rows(planes: Tensor, rows: Tensor) -> Tensor:
    batch, height, width = planes.shape
    first = height * ops.arange(batch, dtype="float32")[:, None]
    return ops.take(ops.reshape(planes, (batch * height, width)), ops.cast(first + rows, "int32"), axis=0)


def constant(values: Any) -> Tensor:
    """A table on the device, float32."""
    return ops.convert_to_tensor(np.asarray(values, np.float32))
