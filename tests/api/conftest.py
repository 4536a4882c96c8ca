"""Fixtures: the API, wired over a real store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from neurobatch.settings import Settings
from storage.memory import Memory
from storage.objects import Objects
from tests.api.wired import Bench


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Bench]:
    """Build a bench with other settings, or over another store."""

    def make(store: Objects | None = None, **settings: object) -> Bench:
        return Bench(store or Memory(), Settings(home=tmp_path, **settings))  # type: ignore[arg-type]

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench over a store in memory, on loopback and without tokens."""
    return make_bench()
