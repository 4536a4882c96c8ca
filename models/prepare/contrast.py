"""Contrast-limited adaptive histogram equalisation as batch operations: OpenCV's `CLAHE` for a device.

A histogram is a product of two matrices: a grey level is a high and a low half of four bits, a row of each matrix says
of a pixel which it has, and their product counts. So nothing depends on the order of additions, as scattering would.
"""

import numpy as np
from keras import ops

from models.prepare.canvas import Tensor, constant, count, gathered, looked_up, mirrored, quotient
from pipeline.prepare.contrast import CLIP, TILES

ACROSS = TILES[0]  # tiles each way
BINS = 256
HALF = 16  # values of half a grey level
LEVEL = 255.0


def equalised(planes: Tensor, sizes: Tensor) -> Tensor:
    """Equalise grey levels `(B, H, W)` float32 of planes with heights and widths `(B, 2)` float32; the same shape.

    What lies beyond a plane's size means nothing.
    """
    tiles = _tile_sizes(sizes)
    longest = max(planes.shape[1:]) // ACROSS + 1  # px of the largest tile
    curves = _curves(_counted(planes, sizes, tiles), tiles, longest)
    return _blended(planes, curves, tiles, longest)


def _tile_sizes(sizes: Tensor) -> Tensor:
    """Height and width of a tile, `(B, 2)`: where a side is no multiple of the tiles, both sides get longer."""
    whole = ops.floor(sizes * (1 / ACROSS))
    uneven = ops.max(sizes - ACROSS * whole, axis=1, keepdims=True) > 0
    return ops.where(uneven, whole + 1, whole)


def _counted(planes: Tensor, sizes: Tensor, tiles: Tensor) -> Tensor:
    """Histograms of all tiles, `(B, tiles, BINS)`."""
    batch, height, width = planes.shape
    tall, broad = height // ACROSS + 1, width // ACROSS + 1  # px of the largest tile
    rows, inside_rows = _places(tall, sizes[:, :1], tiles[:, :1])
    columns, inside_columns = _places(broad, sizes[:, 1:], tiles[:, 1:])
    pixels = _by_tile(gathered(planes, rows, columns), tall, broad)
    inside = _by_tile(inside_rows[:, :, None] * inside_columns[:, None, :], tall, broad)
    counted = [_histograms(pixels[:, row], inside[:, row]) for row in range(ACROSS)]  # the matrices are large
    return ops.reshape(ops.stack(counted, axis=1), (batch, ACROSS * ACROSS, BINS))


def _histograms(pixels: Tensor, inside: Tensor) -> Tensor:
    """Of `(B, tiles, pixels)`, where `inside` is 1: `(B, tiles, HALF, HALF)`."""
    high = ops.floor(pixels * (1 / HALF))
    halves = count(HALF)
    has_high = ops.cast(ops.equal(high[..., None], halves), "float32") * inside[..., None]
    has_low = ops.cast(ops.equal((pixels - HALF * high)[..., None], halves), "float32")
    return ops.matmul(ops.transpose(has_high, (0, 1, 3, 2)), has_low)


def _places(longest: int, lengths: Tensor, tiles: Tensor) -> tuple[Tensor, Tensor]:
    """For each place in each tile, where its pixel lies, and 1 where the tile has such a place: `(B, n)` each."""
    within = ops.tile(count(longest), (ACROSS,))[None]
    tile = ops.repeat(count(ACROSS), longest)[None]
    return mirrored(tile * tiles + within, lengths), ops.cast(within < tiles, "float32")


def _by_tile(planes: Tensor, tall: int, broad: int) -> Tensor:
    """`(B, ACROSS · tall, ACROSS · broad)` to `(B, ACROSS, ACROSS, pixels)`."""
    batch = planes.shape[0]
    cut = ops.reshape(planes, (batch, ACROSS, tall, ACROSS, broad))
    return ops.reshape(ops.transpose(cut, (0, 1, 3, 2, 4)), (batch, ACROSS, ACROSS, tall * broad))


def _curves(counted: Tensor, tiles: Tensor, longest: int) -> Tensor:
    """What each tile makes of each grey level, `(B, tiles, BINS)`; what is clipped goes to all bins alike."""
    area = (tiles[:, :1] * tiles[:, 1:])[..., None]  # px
    limit = ops.maximum(ops.floor(area * (CLIP / BINS)), 1)
    clipped = ops.minimum(counted, limit)
    excess = ops.sum(counted - clipped, axis=-1, keepdims=True)
    each = ops.floor(excess * (1 / BINS))
    rest = excess - BINS * each
    step = ops.maximum(quotient(float(BINS), ops.maximum(rest, 1)), 1)
    bins = count(BINS)
    nth = quotient(bins, step)
    one_more = ops.logical_and(ops.equal(nth * step, bins), nth < rest)
    filled = clipped + each + ops.cast(one_more, "float32")
    return ops.round(ops.cumsum(filled, axis=-1) * looked_up(_shares(LEVEL, longest * longest), area))


def _blended(planes: Tensor, curves: Tensor, tiles: Tensor, longest: int) -> Tensor:
    """Each pixel by the curves of the four tiles around it."""
    batch, height, width = planes.shape
    upper, lower, down = (part[:, :, None] for part in _between(height, tiles[:, :1], longest))
    left, right, along = (part[:, None, :] for part in _between(width, tiles[:, 1:], longest))
    flat = ops.reshape(curves, (-1,))
    first = ACROSS * ACROSS * ops.arange(batch, dtype="float32")[:, None, None]

    def by(row: Tensor, column: Tensor) -> Tensor:
        return looked_up(flat, (first + row * ACROSS + column) * BINS + planes)

    above = by(upper, left) * (1 - along) + by(upper, right) * along
    below = by(lower, left) * (1 - along) + by(lower, right) * along
    return ops.round(above * (1 - down) + below * down)


def _between(length: int, tiles: Tensor, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each place, the tile before, the tile after, and how far it is on the way: `(B, length)` each."""
    places = count(length)[None] * looked_up(_shares(1.0, longest), tiles) - 0.5
    before = ops.floor(places)
    far = places - before
    last = float(ACROSS - 1)
    return ops.clip(before, 0.0, last), ops.clip(before + 1, 0.0, last), far


def _shares(whole: float, most: int) -> Tensor:
    """`whole` divided by 0 (anything), 1, … `most`, as the host divides: OpenCV's halves turn on it."""
    return constant(np.float32(whole) / np.maximum(np.arange(most + 1, dtype=np.float32), 1))
