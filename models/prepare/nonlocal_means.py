"""Non-local means as batch operations: `pipeline.prepare.nonlocal_means` for a device.

The same weights, from the same table. Sums of squared differences are whole numbers below 2²⁴, so float32 holds them
exactly, and so it does the sums of weights. What weights bring is added up as differences from the pixel itself, which
keeps it small: beyond 2²⁴ it is rounded, and a pixel that lies half-way between two grey levels may get the other one.
"""

from typing import Any

import numpy as np
from keras import ops

from models.prepare.canvas import Tensor, constant, count, gathered, looked_up, mirrored
from pipeline.prepare.likeness import PATCH, RADIUS, SHIFT, weights_of


def filtered(planes: Tensor, sizes: Tensor, strength: float, search: int) -> Tensor:
    """Filter planes, the channels of each together.

    Args:
        planes: `(B, channels, H, W)` float32, grey levels.
        sizes: height and width of each, `(B, 2)` float32, at most `(H, W)`.
        strength: grey levels, OpenCV's h.
        search: px of the window in which patches are compared, odd.

    Returns:
        The same shape; what lies beyond a plane's size means nothing.
    """
    channels, half = planes.shape[1], search // 2
    frames = [_framed(planes[:, channel], sizes, half) for channel in range(channels)]
    table = weights_of(strength, search, channels).table
    known = constant(table[: np.count_nonzero(table) + 1])  # the last is 0
    away = [(dy, dx) for dy in range(half + 1) for dx in range(-half, half + 1) if (dy, dx) > (0, 0)]
    shifts = ops.convert_to_tensor(np.array(away, np.int32))
    height, width = planes.shape[2:]
    own = [_cut(frame, half + RADIUS, _left(half), height, width) for frame in frames]

    def add(number: Any, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shift = ops.take(shifts, number, axis=0)
        dy, dx = shift[0], shift[1]
        weights = looked_up(known, _unlikeness(frames, dy, dx, half, known.shape[0] - 1))
        there = _cut(weights, half, half, height, width)
        back = _cut(weights, half - dy, half - dx, height, width)
        more = [sums[0] + there + back]
        for frame, mine, sum_ in zip(frames, own, sums[1:], strict=True):
            top, left = half + RADIUS, _left(half)
            ahead = _cut(frame, top + dy, left + dx, height, width) - mine
            behind = _cut(frame, top - dy, left - dx, height, width) - mine
            more.append(sum_ + there * ahead + back * behind)
        return tuple(more)

    none = 0 * own[0]
    sums = ops.fori_loop(0, len(away), add, (none + float(table[0]), *(none for _ in own)))
    return ops.stack([mine + _rounded(sum_, sums[0]) for mine, sum_ in zip(own, sums[1:], strict=True)], axis=1)


def _rounded(dividend: Tensor, divisor: Tensor) -> Tensor:
    """The quotient as a whole number, halves up; looked over, since the device's division may miss a half."""
    near = ops.floor(dividend / divisor + 0.5)
    rest = dividend - near * divisor
    up, down = ops.cast(2 * rest >= divisor, "float32"), ops.cast(2 * rest < -divisor, "float32")
    return near + up - down


def _left(half: int) -> int:
    return 2 * half + RADIUS


def _framed(plane: Tensor, sizes: Tensor, half: int) -> Tensor:
    """Each plane in a frame of its mirror image: `half + RADIUS` px above and below, `_left` px beside."""
    _, height, width = plane.shape
    above, left = half + RADIUS, _left(half)
    rows = mirrored(count(height + 2 * above)[None] - above, sizes[:, :1])
    columns = mirrored(count(width + 2 * left)[None] - left, sizes[:, 1:])
    return gathered(plane, rows, columns)


def _cut(plane: Tensor, top: Any, left: Any, height: int, width: int) -> Tensor:
    return ops.slice(plane, (0, top, left), (plane.shape[0], height, width))


def _unlikeness(frames: list[Tensor], dy: Any, dx: Any, half: int, cap: int) -> Tensor:
    """Where in the table the weight of each pixel against the one `(dy, dx)` away stands.

    For pixels up to `half` px above and beside the plane too: theirs are the weights of the opposite shift.
    """
    _, tall, broad = frames[0].shape
    height, width = tall - half, broad - 2 * half
    squares = 0.0
    for frame in frames:
        difference = _cut(frame, 0, half, height, width) - _cut(frame, dy, half + dx, height, width)
        squares = squares + difference * difference
    patches = _seven(_seven(squares, 1), 2)
    return ops.minimum(ops.floor(patches * (1 / (1 << SHIFT))), float(cap))


def _seven(values: Tensor, axis: int) -> Tensor:
    """Sums of seven neighbours along an axis, which gets six shorter."""
    length = values.shape[axis]

    def part(sums: Tensor, start: int, size: int) -> Tensor:
        cut = [slice(None)] * 3
        cut[axis] = slice(start, start + size)
        return sums[tuple(cut)]

    two = part(values, 0, length - 1) + part(values, 1, length - 1)
    four = part(two, 0, length - 3) + part(two, 2, length - 3)
    size = length - PATCH + 1
    return part(four, 0, size) + part(two, 4, size) + part(values, 6, size)
