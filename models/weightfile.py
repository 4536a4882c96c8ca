"""Weight files: Keras's `.weights.h5` with float16 arrays and nothing but arrays."""

import hashlib
from pathlib import Path

import h5py
import numpy as np

from neurobatch.codes import Code
from neurobatch.errors import Broken


def check(file: Path) -> None:
    """Refuse a weight file that holds anything but numbers of its own: no links out of it, no objects.

    Raises:
        Broken: `weights_damaged`.
    """
    try:
        with h5py.File(file, "r") as content:
            _check_group(content)
    except (OSError, RuntimeError, ValueError) as error:
        raise Broken(Code.WEIGHTS_DAMAGED, "a weight file is not HDF5 or holds more than arrays") from error


def digest(file: Path) -> str:
    """The sha256 of a weight file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def shrink(source: Path, target: Path) -> None:
    """Write the weights of `source` as float16, compressed, without the optimiser's state.

    Raises:
        ValueError: a weight does not fit float16.
    """
    with h5py.File(source, "r") as whole, h5py.File(target, "w", track_order=False) as small:
        _copy(whole, small)


def _copy(source: h5py.Group, target: h5py.Group) -> None:
    target.attrs.update(source.attrs)
    for name in sorted(source):
        if name == "optimizer":
            continue
        item = source[name]
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name))
            continue
        values = np.asarray(item[()])
        with np.errstate(over="ignore"):  # told just below, by name
            half = values.astype(np.float16) if values.dtype == np.float32 else values
        if not np.isfinite(half).all():
            raise ValueError(f"a value of {item.name} does not fit float16")
        packing = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if half.size > 64 else {}
        target.create_dataset(name, data=half, track_times=False, **packing)


def _check_group(group: h5py.Group) -> None:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError("a link leads out of the weight file")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_group(item)
        elif item.dtype.kind not in "fiu" or item.external:
            raise ValueError("a data set holds something else than numbers")
