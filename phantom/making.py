"""Phantoms made side by side, in order."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

import cv2

from phantom import catalogue
from phantom.catalogue import Made, Order


def make_all(wanted: Iterator[Order], jobs: int) -> Iterator[Made]:
    """Make the scans in order, `jobs` at a time; never more than a few wait to be written."""
    if jobs == 1:
        yield from map(catalogue.make, wanted)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        while chunk := list(islice(wanted, 8 * jobs)):
            yield from pool.map(catalogue.make, chunk)


def _one_thread() -> None:
    """OpenCV's threads only get in each other's way when each core has a process of its own."""
    cv2.setNumThreads(1)
