"""The scans of a measurement: phantoms, so that anybody can repeat it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from phantom import catalogue
from phantom.catalogue import Kind, Order
from phantom.sequences import Look
from worker.cores import usable_cores

SEED = 1_000  # of the first round's phantoms; each round has others, so that nothing can be remembered
SIDE = 256  # px, of what is mostly handed in


def pictures(folder: Path, count: int, *, round_number: int = 0, side: int = SIDE) -> tuple[Path, ...]:
    """Make `count` pictures of 8 bits (PNG, JPEG, TIFF; grey and colour), every second with a tumour.

    8 bits, since there is one way only to read them: peers and neurobatch must see the same pixels.
    """
    orders = _orders(count, Kind.PICTURE, SEED + round_number, side, 1)
    return _made(folder, [replace(order, deep=False) for order in orders])


def volumes(folder: Path, count: int, *, slices: int, side: int) -> tuple[Path, ...]:
    """Make `count` NIfTI volumes of so many slices, every second with a tumour."""
    return _made(folder, list(_orders(count, Kind.NIFTI, SEED, side, slices)))


def dicom_series(wanted: Sequence[tuple[Path, int]]) -> None:
    """Make DICOM series with a tumour, 1 mm from slice to slice, each in a folder of its own with so many slices."""
    orders = [
        Order(name=folder.name, seed=SEED + number, kind=Kind.DICOM, look=Look.T1CE, lesion=True, size=SIDE,
              slices=slices, thickness=1.0)
        for number, (folder, slices) in enumerate(wanted)
    ]  # fmt: skip
    with _pool(len(orders)) as pool:
        list(pool.map(_write, [folder.parent for folder, _ in wanted], orders))


def copies(folder: Path, count: int, *, side: int, slices: int = 1, distinct: int = 8) -> None:
    """Put `count` scans into `folder`, of which only `distinct` differ: pictures, or volumes of several slices."""
    few = min(distinct, count)
    firsts = pictures(folder, few, side=side) if slices == 1 else volumes(folder, few, slices=slices, side=side)
    contents = [(path.read_bytes(), "".join(path.suffixes)) for path in firsts]
    for index in range(count - len(firsts)):
        content, suffix = contents[index % len(contents)]
        (folder / f"copy_{index:07d}{suffix}").write_bytes(content)


def _made(folder: Path, wanted: Sequence[Order]) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    with _pool(len(wanted)) as pool:
        list(pool.map(_write, repeat(folder), wanted, chunksize=4))
    return tuple(folder / order.name for order in wanted)


def _pool(most: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(usable_cores(), most), mp_context=get_context("spawn"))


def _orders(count: int, kind: Kind, seed: int, side: int, slices: int) -> Iterator[Order]:
    return catalogue.orders(count=count, seed=seed, kind=kind, lesions=0.5, look=None, size=side, slices=slices)


def _write(folder: Path, order: Order) -> None:
    catalogue.write(folder, catalogue.make(order).files)
