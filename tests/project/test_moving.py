"""The health check of the worker's image: alive means that scans move."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.docker.moving import moving
from worker.heartbeat import Heartbeat, Pulse


@pytest.fixture
def pulse() -> Pulse:
    return Pulse(pid=os.getpid(), at=time.time(), under_way=0, stuck=0.0, done=1, slices=1, batches=1)


def test_a_container_without_a_worker_is_unhealthy(tmp_path: Path) -> None:
    assert not moving(tmp_path, limit=60)


def test_an_idle_worker_is_healthy(tmp_path: Path, pulse: Pulse) -> None:
    Heartbeat(tmp_path / "run").beat(pulse)
    assert moving(tmp_path, limit=60)


def test_a_worker_that_beats_but_whose_scans_are_stuck_is_unhealthy(tmp_path: Path, pulse: Pulse) -> None:
    Heartbeat(tmp_path / "run").beat(replace(pulse, under_way=3, stuck=61.0))
    assert not moving(tmp_path, limit=60)


def test_a_worker_that_has_stopped_beating_is_unhealthy(tmp_path: Path, pulse: Pulse) -> None:
    Heartbeat(tmp_path / "run").beat(replace(pulse, at=time.time() - 120))
    assert not moving(tmp_path, limit=60)
