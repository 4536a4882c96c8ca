"""The sums behind non-local means as machine code: each pixel's mean over its neighbours, weighted by likeness.

Goes by shifts, not by pixels (Darbon et al., ISBI 2008): squared differences between the plane and the plane shifted by
(dy, dx), summed over patches by running sums, weigh a pixel p against q = p + (dy, dx), and q against p as well, so
that half of the shifts do (Condat, 2010). All is done in integers, so results are the same on every processor.

Two things make it fast. Indices are unsigned: a signed one might be negative, and the test for that would keep loops
from being vectorised. And rows are offsets into flat arrays: a view of a row costs as much as half the work on it.
"""

import functools
import logging
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import int16, int32, intp, njit, uint8, uint16, uint32, void
from numpy.typing import NDArray

from pipeline.prepare.likeness import RADIUS, SHIFT

GROUP = 3  # shifts whose weights are added up together

Array = NDArray[Any]
Offset = Any  # into a flat array: an int, and unsigned from where loops begin
Kernel = Callable[[NDArray[np.int16], NDArray[np.uint8], NDArray[np.int32], int, Array], None]
Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
SIGNATURES = [void(int16[:, :, ::1], uint8[:, :, ::1], int32[::1], intp, cap[::1]) for cap in (uint16, uint32)]

log = logging.getLogger(__name__)


@functools.cache
def kernel() -> Kernel:
    """`mean` as machine code for both types of sums, so that no call compiles.

    Compiled in some seconds and kept in numba's cache (`NUMBA_CACHE_DIR`, else beside this file, else in the user's
    cache folder); from there loaded in half a second.
    """
    try:
        return cast(Kernel, njit(SIGNATURES, cache=True, **OPTIONS)(mean))
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:  # no place for it, or a torn file
        log.warning("kernel_not_kept error=%s", type(error).__name__)
        return cast(Kernel, njit(SIGNATURES, **OPTIONS)(mean))


class Work(NamedTuple):
    """What is added up, and the rows that are under way; all flat."""

    levels: Array  # int32, (channels, height, width): levels times weights
    sums: Array  # int32, (height, width): weights
    columns: Array  # (shifts, broad + 6): squared differences over columns of a patch
    capped: Array  # (broad + 6): those of one shift, up to the cap
    patches: Array  # (broad): squared differences over patches, of one shift
    weights: Array  # int32, (shifts, pitch)


def margins(half: int) -> tuple[int, int, int]:
    """Px of frame around the planes for shifts up to `half` px: above and below, left, right.

    Only `half + RADIUS` of them each way are looked at; what lies beyond is computed with but never used.
    """
    return half + RADIUS, 2 * half + RADIUS, 2 * half + RADIUS + GROUP


def _part(function: Function) -> Function:
    return cast(Function, njit(**OPTIONS)(function))


@_part
def _slide(
    columns: Array, at: Offset, capped: Array, cap: Any, frame: Array, p: Offset, q: Offset, r: Offset, s: Offset
) -> None:
    """Move a row of sums over columns of a patch down by one row.

    What enters are the squared differences between rows of the frame at `p` and at `q`, what leaves are those between
    `r` and `s` (nothing where these are the same). `capped` gets the sums up to the cap: a patch in which one column,
    or one pixel, reaches the cap has no weight, so what lies above need not be kept apart.
    """
    square_cap = np.uint16(min(cap, 65535))
    at, p, q, r, s = np.uintp(at), np.uintp(p), np.uintp(q), np.uintp(r), np.uintp(s)
    for i in range(np.uintp(capped.size)):
        enters = np.int16(frame[p + i] - frame[q + i])
        leaves = np.int16(frame[r + i] - frame[s + i])
        change = min(np.uint16(enters * enters), square_cap) - min(np.uint16(leaves * leaves), square_cap)
        columns[at + i] = columns[at + i] + change
        capped[i] = min(columns[at + i], cap)


@_part
def _weigh(weights: Array, at: Offset, patches: Array, capped: Array, table: Array) -> None:
    """Sum seven columns each, and look the weights up."""
    at = np.uintp(at)
    for i in range(np.uintp(patches.size)):
        left = capped[i] + capped[i + np.uintp(1)] + capped[i + np.uintp(2)]
        right = capped[i + np.uintp(4)] + capped[i + np.uintp(5)] + capped[i + np.uintp(6)]
        patches[i] = left + capped[i + np.uintp(3)] + right
    for i in range(np.uintp(patches.size)):
        weights[at + i] = table[patches[i] >> SHIFT]


@_part
def _add(
    levels: Array,
    sums: Array,
    at: Offset,
    weights: Array,
    first: Offset,
    step: Offset,
    frame: Array,
    q: Offset,
    count: int,
) -> None:
    """Add three rows of weights to a row of sums; to levels, each times the frame from `q`, `q + 1`, `q + 2` on."""
    a, b, c = np.uintp(first), np.uintp(first + step), np.uintp(first + 2 * step)
    at, q = np.uintp(at), np.uintp(q)
    for i in range(np.uintp(count)):
        levels[at + i] += (
            weights[a + i] * np.int32(frame[q + i])
            + weights[b + i] * np.int32(frame[q + i + np.uintp(1)])
            + weights[c + i] * np.int32(frame[q + i + np.uintp(2)])
        )
        sums[at + i] += weights[a + i] + weights[b + i] + weights[c + i]


@_part
def _add_levels(
    levels: Array, at: Offset, weights: Array, first: Offset, step: Offset, frame: Array, q: Offset, count: int
) -> None:
    """The same without the sums, which all channels share."""
    a, b, c = np.uintp(first), np.uintp(first + step), np.uintp(first + 2 * step)
    at, q = np.uintp(at), np.uintp(q)
    for i in range(np.uintp(count)):
        levels[at + i] += (
            weights[a + i] * np.int32(frame[q + i])
            + weights[b + i] * np.int32(frame[q + i + np.uintp(1)])
            + weights[c + i] * np.int32(frame[q + i + np.uintp(2)])
        )


@_part
def _weigh_row(work: Work, frame: Array, table: Array, cap: Any, half: int, row: int, dy: int, first: int) -> None:
    """Go down to `row` with all shifts of this `dy`, from `dx = first` on, and weigh its pixels."""
    flat, (channels, height, width) = frame.ravel(), frame.shape
    columns, capped, patches, weights = work.columns, work.capped, work.patches, work.weights
    lane, pitch = capped.size, patches.size + GROUP - 1
    entering = (row + half + 2 * RADIUS) * width + half
    leaving = entering - (2 * RADIUS + 1) * width
    for shift in range(half + 1 - first):
        away = dy * width + first + shift
        for channel in range(channels):
            p = channel * height * width + entering
            r = channel * height * width + leaving
            s = r + away
            if row <= -dy:  # the patches have not all their rows yet
                r = s = p
            _slide(columns, shift * lane, capped, cap, flat, p, p + away, r, s)
        if row >= -dy:
            _weigh(weights, shift * pitch + GROUP - 1, patches, capped, table)


@_part
def _add_row(work: Work, frame: Array, shape: Any, half: int, to: int, row: int, first: int, back: bool) -> None:
    """Add to the plane's row `to` what the frame's row `row` says of it: shifts from there, or `back` to there."""
    flat, (_, tall, wide) = frame.ravel(), frame.shape
    channels, height, width = shape
    levels, sums, weights, pitch = work.levels, work.sums, work.weights, work.patches.size + GROUP - 1
    for shift in range(0, half + 1 - first, GROUP):
        dx = first + shift
        if back:
            at, step, q = (shift + GROUP - 1) * pitch + half - dx, 1 - pitch, -dx - GROUP + 1
        else:
            at, step, q = shift * pitch + half + GROUP - 1, pitch, dx
        line = (row + half + RADIUS) * wide + 2 * half + RADIUS + q
        _add(levels, sums, to * width, weights, at, step, flat, line, width)
        for channel in range(1, channels):
            line += tall * wide
            _add_levels(levels, (channel * height + to) * width, weights, at, step, flat, line, width)


@_part
def _begin(frame: Array, shape: Any, half: int, weight: int, sums: Any) -> Work:
    """Each pixel has itself with the full weight."""
    channels, height, width = shape
    broad, shifts = width + 2 * half, 2 * half + 1
    levels = np.empty((channels, height, width), np.int32)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                level = frame[channel, row + half + RADIUS, column + 2 * half + RADIUS]
                levels[channel, row, column] = weight * np.int32(level)
    return Work(
        levels.ravel(),
        np.full(height * width, weight, np.int32),
        np.zeros(shifts * (broad + 2 * RADIUS), sums.dtype),
        np.zeros(broad + 2 * RADIUS, sums.dtype),
        np.zeros(broad, sums.dtype),
        np.zeros((shifts + GROUP - 1) * (broad + GROUP - 1), np.int32),
    )


@_part
def _divide(work: Work, out: Array) -> None:
    for i in range(out.size):
        weight = np.uint32(work.sums[i % work.sums.size])
        out[i] = (np.uint32(work.levels[i]) + weight // np.uint32(2)) // weight


def mean(frame: Array, out: Array, table: Array, half: int, caps: Array) -> None:
    """Put the weighted mean of each pixel's neighbours into `out`.

    Args:
        frame: the planes with `margins` around them, `(channels, tall, wide)` int16.
        out: `(channels, height, width)` uint8.
        table: weights by sum of squared differences over a patch and channels, shifted right by `SHIFT`; the first is
            the largest. Sums reach seven times the cap. int32; all weights of a pixel times 255 fit into int32.
        half: px of the largest shift each way.
        caps: one value, from which on sums have no weight: uint16 where seven times it fits, else uint32.
    """
    height, cap = out.shape[1], caps[0]
    work = _begin(frame, out.shape, half, table[0], caps)
    pitch = work.patches.size + GROUP - 1
    for dy in range(half + 1):
        first = -half if dy else 1
        work.columns[:] = 0
        work.weights[(half + 1 - first) * pitch :] = 0
        for row in range(-dy - 2 * RADIUS, height):
            _weigh_row(work, frame, table, cap, half, row, dy, first)
            if row >= 0:
                _add_row(work, frame, out.shape, half, row, row + dy, first, False)
            if row >= -dy and row + dy < height:
                _add_row(work, frame, out.shape, half, row + dy, row, first, True)
    _divide(work, out.ravel())
