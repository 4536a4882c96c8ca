"""One machine for all system tests: the processes of docker-compose.yml, with two workers."""

from collections.abc import Iterator

import pytest

from tests.system.compose import Machine, composed


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Redis, SeaweedFS, API and two workers. Who stops a worker restarts it."""
    with composed(tmp_path_factory.mktemp("compose"), workers=2) as up:
        yield up
