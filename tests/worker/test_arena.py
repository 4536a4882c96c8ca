"""The arena: slots that do not overlap, and a list of them in which none has two owners."""

import multiprocessing

import numpy as np
import pytest

from neurobatch.errors import Broken
from neurobatch.settings import MIB
from worker.arena import Arena, ArenaPlan, Slots, slot_bytes


def test_a_slot_that_is_taken_is_nobody_elses_until_it_is_given_back() -> None:
    slots = Slots(3)
    assert slots.take(2) == (0, 1)
    assert slots.take(2) is None
    assert slots.free == 1
    slots.give((0,))
    assert slots.take(2) == (2, 0)
    with pytest.raises(KeyError):
        slots.give((7,))


def test_no_slot_can_be_given_back_twice() -> None:
    slots = Slots(1)
    slots.take(1)
    slots.give((0,))
    with pytest.raises(KeyError):
        slots.give((0,))


def test_slices_and_masks_of_all_slots_lie_apart() -> None:
    arena = Arena.create(3 * slot_bytes(32), 32)
    try:
        for slot in range(3):
            arena.picture(slot, 32)[:] = 10 + slot
            arena.mask(slot, 32)[:] = 20 + slot
        assert [int(arena.picture(slot, 32).min()) for slot in range(3)] == [10, 11, 12]
        assert [int(arena.picture(slot, 32).max()) for slot in range(3)] == [10, 11, 12]
        assert [int(arena.mask(slot, 32).min()) for slot in range(3)] == [20, 21, 22]
        assert [int(arena.mask(slot, 32).max()) for slot in range(3)] == [20, 21, 22]
        assert arena.picture(1, 16).shape == (16, 16, 3)
    finally:
        arena.close()


def test_what_one_process_writes_another_reads() -> None:
    arena = Arena.create(MIB, 32)
    try:
        process = multiprocessing.get_context("spawn").Process(target=write, args=(arena.plan, 5))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert np.all(arena.picture(5, 32) == 77)
    finally:
        arena.close()


def write(plan: ArenaPlan, slot: int) -> None:
    Arena.attach(plan).picture(slot, 32)[:] = 77


def test_an_arena_without_room_for_a_slice_is_refused() -> None:
    with pytest.raises(Broken, match="NEUROBATCH_ARENA"):
        Arena.create(1000, 224)
