"""The arena: one block of shared memory, allocated once, through which slices and masks pass between
processes.

It is cut into slots. A slot holds one prepared slice, which a decoder writes and the network only reads,
and beside it the mask that the network writes: so a slice can be given to a second network process when the
first has died over it. The supervisor alone says whose a slot is; children see numbers.
"""

import errno
import math
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Broken

COLOURS = 3  # of a prepared slice: RGB
MASKS = 2  # channels of a mask: FLAIR abnormality, tumour core
MASK_STEPS = 255  # a mask's probability is kept as a whole number of these
LINE = 64  # bytes of a cache line: no two processes write into one

_SHARED = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True)
class ArenaPlan:
    """What a child needs to know of the arena to find slots in it."""

    name: str  # of the shared memory block
    side: int  # px of the largest slice that a slot holds
    slots: int

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot, whole cache lines."""
        return slot_bytes(self.side)


def slot_bytes(side: int) -> int:
    """Bytes of a slot for slices of `side` × `side` px, whole cache lines."""
    return -(-side * side * (COLOURS + MASKS) // LINE) * LINE


class Arena:
    """The shared block, as seen by one process. It cannot be closed while there are views into it."""

    def __init__(self, plan: ArenaPlan, memory: SharedMemory) -> None:
        self.plan = plan
        self._memory = memory

    @classmethod
    def create(cls, size: int, side: int) -> "Arena":
        """Allocate `size` bytes for good, in slots for slices of up to `side` px.

        Raises:
            Broken: `bad_setting`, there is no room for one slot or less shared memory than that.
        """
        slots = size // slot_bytes(side)
        if slots < 1:
            raise Broken(Code.BAD_SETTING, f"NEUROBATCH_ARENA: a slice needs {slot_bytes(side)} bytes")
        wanted = slots * slot_bytes(side)
        try:
            memory = SharedMemory(create=True, size=wanted)
        except OSError as error:
            raise _too_small(wanted) from error
        try:
            _claim(memory, wanted)
        except Broken:
            memory.close()
            memory.unlink()
            raise
        return cls(ArenaPlan(name=memory.name, side=side, slots=slots), memory)

    @classmethod
    def attach(cls, plan: ArenaPlan) -> "Arena":
        """Map the block that the supervisor made into this process."""
        return cls(plan, SharedMemory(name=plan.name))

    def picture(self, slot: int, size: int) -> NDArray[np.uint8]:
        """The prepared slice of a slot: a view `(size, size, 3)` uint8, size at most the plan's side."""
        return self._view(slot, 0, size, COLOURS)

    def put(self, slot: int, pixels: NDArray[np.uint8]) -> None:
        """Write a prepared slice `(size, size, 3)`, or one that is packed `(n,)`, into a slot."""
        np.copyto(self._view_flat(slot, pixels.size), pixels.reshape(-1))

    def held(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """What was put into a slot, from its first byte on: a view of this shape."""
        return self._view_flat(slot, math.prod(shape)).reshape(shape)

    def mask(self, slot: int, size: int) -> NDArray[np.uint8]:
        """The mask of a slot: a view `(size, size, 2)` uint8, probabilities in 255ths."""
        return self._view(slot, self.plan.side * self.plan.side * COLOURS, size, MASKS)

    def close(self) -> None:
        """Give the block back to the system; for the process that created it, after all children ended."""
        self._memory.close()
        self._memory.unlink()

    def _view(self, slot: int, offset: int, size: int, channels: int) -> NDArray[np.uint8]:
        return self._view_flat(slot, size * size * channels, offset).reshape(size, size, channels)

    def _view_flat(self, slot: int, count: int, offset: int = 0) -> NDArray[np.uint8]:
        start = slot * self.plan.slot_bytes + offset
        return np.frombuffer(cast(memoryview, self._memory.buf), np.uint8, count=count, offset=start)


class Slots:
    """Which slots are free: the supervisor's list."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = deque(range(count))
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """How many are free."""
        return len(self._free)

    def take(self, count: int) -> tuple[int, ...] | None:
        """`count` slots, or None where fewer are free."""
        if count > len(self._free):
            return None
        taken = tuple(self._free.popleft() for _ in range(count))
        self._taken.update(taken)
        return taken

    def give(self, slots: Iterable[int]) -> None:
        """Free slots that were taken. Raises `KeyError` for one that was not: two owners would share it."""
        for slot in slots:
            self._taken.remove(slot)
            self._free.append(slot)


def _claim(memory: SharedMemory, size: int) -> None:
    """Take the pages now: later a full file system would kill whichever process touches the next one."""
    place = _SHARED / memory.name
    if not place.exists():
        return
    with place.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise
            raise _too_small(size) from error


def _too_small(wanted: int) -> Broken:
    return Broken(
        Code.BAD_SETTING,
        f"NEUROBATCH_ARENA: there are no {wanted} bytes of shared memory; ask for less, "
        "or give the container more (shm_size)",
    )
