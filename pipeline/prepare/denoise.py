"""Take noise away by non-local means, with our own kernel or, where numba is missing, with OpenCV's."""

import functools
import logging
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.compiled import mark_of
from pipeline.prepare.fit import resize
from pipeline.prepare.room import LONGEST

STRENGTH = 5.0  # grey levels: filter strength h
PATCH = 7  # px, odd
SEARCH = 11  # px, odd; 21 takes four times as long and changes a slice by 0.2 grey levels more

KERNEL = Path(__file__).with_name("shifts.py")

log = logging.getLogger(__name__)


class Filter(Protocol):
    """Non-local means of `(channels, height, width)` uint8, patches compared over all channels; the same shape."""

    def __call__(self, planes: NDArray[np.uint8], strength: float, search: int) -> NDArray[np.uint8]:
        """`strength` in grey levels, `search` in px."""
        ...


def denoise(plane: NDArray[np.uint8], search: int = SEARCH) -> NDArray[np.uint8]:
    """Remove noise from a plane `(h, w)` or `(h, w, 3)` RGB uint8.

    Grey is filtered as one plane, colour in LAB with lightness and colour apart, as OpenCV's
    `fastNlMeansDenoisingColored` does. Gives the same kind, at most `LONGEST` px long.
    """
    small = bounded(plane)
    if small.ndim == 2:
        return _cleaned(small[None], search).reshape(small.shape)
    lab = np.ascontiguousarray(np.moveaxis(cv2.cvtColor(small, cv2.COLOR_LRGB2LAB), 2, 0), np.uint8)
    clean = np.ascontiguousarray(
        np.moveaxis(np.concatenate([_cleaned(lab[:1], search), _cleaned(lab[1:], search)]), 0, 2)
    )
    return np.asarray(cv2.cvtColor(clean, cv2.COLOR_LAB2LRGB), np.uint8)


def bounded(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A plane `(h, w)` or `(h, w, 3)` as it is denoised: at most `LONGEST` px long."""
    height, width = plane.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(plane)
    return resize(np.ascontiguousarray(plane), max(round(height * scale), 1), max(round(width * scale), 1))


@functools.cache
def fastest() -> Filter:
    """The filter that is used here; the first call in a process loads it (half a second) or compiles it."""
    try:
        from pipeline.prepare.nonlocal_means import filtered
        from pipeline.prepare.shifts import kernel
    except ImportError as error:
        log.warning("denoising_by_opencv missing=%s", error.name)
        return opencv
    kernel()
    return filtered


def warm() -> None:
    """Compile what denoising needs, where that was not done before.

    Where it was, loading is left to the first slice: most batches have no network that wants slices denoised, and it
    takes 36 MB of a process.
    """
    mark = mark_of(KERNEL)
    if mark is None or mark.exists():
        return
    fastest()
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:  # a read-only folder: every process warms up for itself
        pass


def opencv(planes: NDArray[np.uint8], strength: float, search: int) -> NDArray[np.uint8]:
    """The filter as OpenCV has it, for one to three channels."""
    picture = np.ascontiguousarray(np.moveaxis(planes, 0, 2))
    clean = cv2.fastNlMeansDenoising(picture, None, strength, PATCH, search)
    return np.ascontiguousarray(np.moveaxis(np.asarray(clean, np.uint8).reshape(picture.shape), 2, 0))


def _cleaned(planes: NDArray[np.uint8], search: int) -> NDArray[np.uint8]:
    """Planes of one level each, such as the colour of a grey picture, are their own mean."""
    flat = np.array_equal(planes.min(axis=(1, 2)), planes.max(axis=(1, 2)))
    return planes if flat else fastest()(planes, STRENGTH, search)
