"""Fitting into a network's square as batch operations: `pipeline.prepare.fit` for a device.

Resizing is linear along each axis, so it is a matrix from each side: averages over areas where the side shrinks, linear
where it grows. A matrix also says where the box lies in the square: its other rows are nothing.
"""

from keras import ops

from models.prepare.canvas import Tensor, count


def placed(planes: Tensor, sizes: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Place planes in squares.

    Args:
        planes: `(B, H, W)` float32, grey levels.
        sizes: their heights and widths, `(B, 2)` float32.
        boxes: rows and columns of the boxes that they shall fill, `(B, 2)` float32; 0: the square stays black.
        side: px of the square.

    Returns:
        `(B, side, side)` float32, grey levels.
    """
    down = _matrix(planes.shape[1], sizes[:, :1], boxes[:, :1], side)
    along = _matrix(planes.shape[2], sizes[:, 1:], boxes[:, 1:], side)
    resized = ops.matmul(ops.matmul(down, planes), ops.transpose(along, (0, 2, 1)))
    halved = ops.all(ops.equal(2 * boxes, sizes), axis=1)[:, None, None]  # for which OpenCV has a way of its own
    return ops.where(halved, ops.floor(resized + 0.5), ops.round(resized))


def _matrix(longest: int, lengths: Tensor, boxes: Tensor, side: int) -> Tensor:
    """What each place of the square takes of each pixel: `(B, side, longest)`."""
    lengths, boxes = lengths[..., None], boxes[..., None]
    target = count(side)[None, :, None] - ops.floor((side - boxes) * 0.5)  # place in the box
    source = count(longest)[None, None]
    # In parts of a pixel of which both grids have whole numbers, so that what they share is exact.
    shared = ops.minimum((source + 1) * boxes, (target + 1) * lengths) - ops.maximum(source * boxes, target * lengths)
    averages = ops.clip(shared, 0, boxes) / lengths
    middle = ops.clip(((2 * target + 1) * lengths - boxes) / ops.maximum(2 * boxes, 1), 0, lengths - 1)
    linear = ops.maximum(1 - ops.abs(middle - source), 0)
    taken = ops.where(lengths > boxes, averages, linear)
    inside = ops.logical_and(target >= 0, target < boxes)
    return ops.where(inside, taken, 0.0)
