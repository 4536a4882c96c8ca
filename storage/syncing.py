"""How files are made to last. One `fsync` a file costs a write of the journal and a flush of the disk each; where the
file system is known to keep its word, `syncfs` makes all that was written to it last at the price of one.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

KNOWN = frozenset({"ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
"""File systems whose `syncfs` returns when all is on the disk; one in user space, say, need not be told of it."""

_TELLS_FAULTS = (5, 8)  # the Linux from which `syncfs` tells that writing has failed
_MOUNTS = Path("/proc/self/mountinfo")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

Sync = Callable[[], None]


def sync_folder(folder: str | Path) -> None:
    """Make the names in one folder last."""
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def syncs_whole(folder: Path) -> bool:
    """Whether `whole_sync` can be trusted with what lies in a folder."""
    return _libc() is not None and _file_system(folder) in KNOWN


@contextmanager
def whole_sync(folder: Path) -> Iterator[Sync]:
    """While one writes: what makes all last that was written to the folder's file system.

    It raises `OSError` where anything could not be written since the block began.
    """
    libc = _libc()
    assert libc is not None, "see syncs_whole"
    descriptor = os.open(folder, _FOLDER)  # before anything is written: faults are told to those who were there

    def sync() -> None:
        if libc.syncfs(descriptor) != 0:
            fault = ctypes.get_errno()
            raise OSError(fault, os.strerror(fault))

    try:
        yield sync
    finally:
        os.close(descriptor)


@cache
def _libc() -> ctypes.CDLL | None:
    if sys.platform != "linux" or _release(os.uname().release) < _TELLS_FAULTS:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "syncfs") else None


def _release(told: str) -> tuple[int, ...]:
    """`6.1.0-18-amd64` as (6, 1)."""
    return tuple(int(part) for part in told.split(".")[:2] if part.isdigit())


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on; "" where that cannot be told."""
    try:
        device = folder.stat().st_dev
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return _of_device(mounts, f"{os.major(device)}:{os.minor(device)}")


def _of_device(mounts: Iterable[str], device: str) -> str:
    """From lines like `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw` (proc(5))."""
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        if fields.split(" ")[2:3] == [device]:
            return rest.partition(" ")[0]
    return ""
