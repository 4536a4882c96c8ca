"""Fixtures for all rooms: real servers, started once a session on free ports of loopback, and the test data.

A service that is missing skips its tests on a laptop and fails them in CI (`CI=true`).
"""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis

from deploy.local.gateway import LocalGateway
from neurobatch.client import Client
from neurobatch.gateway import Gateway
from neurobatch.settings import load_settings
from storage.objects import S3Options
from tests.api.wired import Bench
from tests.servers import ceph as ceph_server
from tests.servers import redis as redis_servers
from tests.servers import seaweed as seaweed_server
from tests.servers.s3 import S3Server


def need(missing: str | None) -> None:
    """Skip, or in CI fail, where a service is missing."""
    if missing is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session", autouse=True)
def _engines_made_once() -> Iterator[None]:
    """Tests have data folders of their own, but networks are converted once, as an installation does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROBATCH_ENGINES", str(load_settings().engines_folder.absolute()))
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The test data folder: real scans, which are not part of the repository."""
    folder = os.environ.get("NEUROBATCH_TEST_DATA")
    if not folder:
        pytest.skip("NEUROBATCH_TEST_DATA is not set: it names the test data folder")
    return Path(folder)


@dataclass(frozen=True, kw_only=True)
class S3Place:
    """A fresh, empty place on a real S3 server."""

    url: str  # s3://bucket/prefix, for open_store
    options: S3Options
    server: S3Server


@pytest.fixture(scope="session")
def seaweed() -> Iterator[S3Server]:
    """A SeaweedFS with one bucket, for the whole session."""
    need(seaweed_server.missing())
    with seaweed_server.seaweed() as server:
        yield server


@pytest.fixture(scope="session")
def seaweed_bucket(seaweed: S3Server) -> str:
    """One bucket for the session: each one costs SeaweedFS volumes of its own."""
    return seaweed.bucket()


@pytest.fixture
def seaweed_place(seaweed: S3Server, seaweed_bucket: str) -> S3Place:
    """A fresh prefix on SeaweedFS."""
    url = f"s3://{seaweed_bucket}/{uuid.uuid4().hex}"
    return S3Place(url=url, options=seaweed.options(), server=seaweed)


@pytest.fixture(scope="session")
def ceph() -> Iterator[S3Server]:
    """A Ceph RGW with one bucket, for the whole session (about 20 s to start)."""
    need(ceph_server.missing())
    with ceph_server.ceph() as server:
        yield server


@pytest.fixture(scope="session")
def ceph_bucket(ceph: S3Server) -> str:
    """One bucket for the session."""
    return ceph.bucket()


@pytest.fixture
def ceph_place(ceph: S3Server, ceph_bucket: str) -> S3Place:
    """A fresh prefix on Ceph RGW."""
    return S3Place(url=f"s3://{ceph_bucket}/{uuid.uuid4().hex}", options=ceph.options(), server=ceph)


@pytest.fixture(scope="session")
def _valkey() -> Iterator[str]:
    with redis_servers.valkey() as url:
        yield url


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[str]:
    need(redis_servers.redis_server_missing())
    with redis_servers.redis_server() as url:
        yield url


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def valkey_url(_valkey: str) -> str:
    """An empty Valkey."""
    return _emptied(_valkey)


@pytest.fixture(params=["valkey", "redis-server"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """An empty Redis: the test runs on Valkey and on Debian's redis-server."""
    server = "_valkey" if request.param == "valkey" else "_redis_server"
    return _emptied(request.getfixturevalue(server))


@pytest.fixture(params=["http", "local"])
def gateway(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Gateway]:
    """Both ways to a batch of a room's own `bench`: over HTTP and from the store."""
    if request.param == "local":
        yield LocalGateway(bench.ledger, "local")
    else:
        with Client("http://127.0.0.1", transport=httpx.WSGITransport(bench.app)) as client:
            yield client
