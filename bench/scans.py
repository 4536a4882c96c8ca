"""The scans of a measurement: phantoms, so that anybody can repeat it."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from phantom import catalogue
from phantom.catalogue import Kind, Order
from worker.cores import usable_cores

SEED = 1_000  # of the first round's phantoms; each round has others, so that nothing can be remembered
SIDE = 256  # px, of what is mostly handed in


def pictures(folder: Path, count: int, *, round_number: int = 0, side: int = SIDE) -> tuple[Path, ...]:
    """Make `count` pictures of 8 bits (PNG, JPEG, TIFF; grey and colour), every second with a tumour.

    8 bits, since there is one way only to read them: peers and neurobatch must see the same pixels.
    """
    wanted = [replace(order, deep=False) for order in _orders(count, SEED + round_number, side)]
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(min(usable_cores(), count), mp_context=get_context("spawn")) as pool:
        list(pool.map(_write, repeat(folder), wanted, chunksize=4))
    return tuple(folder / order.name for order in wanted)


def copies(folder: Path, count: int, *, side: int, distinct: int = 8) -> None:
    """Put `count` pictures into `folder`, of which only `distinct` differ."""
    firsts = pictures(folder, min(distinct, count), side=side)
    contents = [(path.read_bytes(), path.suffix) for path in firsts]
    for index in range(count - len(firsts)):
        content, suffix = contents[index % len(contents)]
        (folder / f"copy_{index:07d}{suffix}").write_bytes(content)


def _orders(count: int, seed: int, side: int) -> Iterator[Order]:
    return catalogue.orders(count=count, seed=seed, kind=Kind.PICTURE, lesions=0.5, look=None, size=side, slices=20)


def _write(folder: Path, order: Order) -> None:
    catalogue.write(folder, catalogue.make(order).files)
