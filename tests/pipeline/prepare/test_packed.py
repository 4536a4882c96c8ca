"""A plane that is prepared elsewhere arrives as it was, and comes to what it would have come to here."""

import numpy as np
import pytest

from pipeline.prepare.packed import pack, prepared, unpack
from pipeline.prepare.profiles import PROFILES, prepare
from pipeline.prepare.room import LONGEST, ROOM


@pytest.mark.parametrize("shape", [(64, 64), (50, 90, 3), (1, 30), (700, 40), (600, 513, 3)])
@pytest.mark.parametrize("spacing", [None, (3.0, 1.0)])
def test_a_packed_plane_comes_to_what_it_comes_to_here(
    shape: tuple[int, ...], spacing: tuple[float, float] | None
) -> None:
    plane = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = pack(plane, 224, spacing)
    assert data.ndim == 1
    assert len(data) <= ROOM
    room = np.full(ROOM, 7, np.uint8)  # what lay there before does not matter
    room[: len(data)] = data
    assert np.array_equal(prepare(plane, "nlm-clahe", 224, spacing), prepared(unpack(room), "nlm-clahe", 224))


def test_only_a_plane_that_is_denoised_is_bounded() -> None:
    assert unpack(pack(np.zeros((1024, 2048), np.uint8), 224, None)).plane.shape == (LONGEST // 2, LONGEST, 1)
    assert [name for name, profile in PROFILES.items() if profile.denoises] == ["nlm-clahe", "nlm"]
