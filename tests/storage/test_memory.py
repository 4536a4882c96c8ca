"""Objects in memory keep the promises of a store."""

import pytest

from storage.memory import Memory
from storage.testing import Conformance, Races, race_all


@pytest.fixture
def store() -> Memory:
    return Memory()


class TestMemory(Conformance):
    pass


class TestRaces(Races):
    def test_one_of_sixteen_wins_a_thousand_times(self, store: Memory) -> None:
        race_all(store, rounds=1_000, writers=16)
