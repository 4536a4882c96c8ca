"""The client's errors become ours, whatever the broker does."""

from pathlib import Path

import pytest
import redis
import redis.exceptions

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, Unavailable
from storage.bells import Bells
from storage.broker import answers, connect, script, socket_url, translated
from storage.leases import Leases
from storage.names import BatchKey
from storage.progress import Progress
from tests.servers.processes import free_ports

KEY = BatchKey("lab", "0190a0a0-0000-7000-8000-000000000001")


def test_a_broker_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    assert not answers(client)
    for ask in (
        lambda: Leases(client).take("a/b", "me"),
        lambda: Leases(client).alive(["a/b"]),
        lambda: Leases(client).holder("a/b"),
        lambda: Bells(client).mark("shard", KEY),
        lambda: Bells(client).unmark("shard", KEY),
        lambda: Progress(client).read(KEY),
        lambda: Progress(client).finish(KEY),
        lambda: Progress(client).forget(KEY),
        lambda: next(Progress(client).watch(KEY, 1)),
    ):
        with pytest.raises(Unavailable) as told:
            ask()
        assert told.value.code is Code.BROKER_UNAVAILABLE


def test_a_broker_without_memory_is_unavailable(redis_url: str) -> None:
    client = connect(redis_url)
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(Unavailable):
            Leases(client).take("a/b", "me")
    finally:
        client.config_set("maxmemory", "0")


def test_a_wrong_password_is_told_and_not_shown(redis_url: str) -> None:
    client = connect(redis_url.replace("redis://", "redis://someone:wrong-secret@"))
    with pytest.raises(Broken) as told:
        Leases(client).take("a/b", "me")
    assert told.value.code is Code.BAD_SETTING
    assert "wrong-secret" not in str(told.value)


def test_a_script_that_is_wrong_is_no_matter_of_waiting(redis_url: str) -> None:
    with pytest.raises(Broken):
        script(connect(redis_url), "return redis.call('NOSUCH')")([])


def test_scripts_come_back_after_the_broker_forgot_them(redis_url: str) -> None:
    client = connect(redis_url)
    run = script(client, "return 7")
    assert run([]) == 7
    client.script_flush()
    assert run([]) == 7


def test_no_error_of_the_client_leaves_the_room() -> None:
    kinds = [
        kind
        for kind in vars(redis.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, redis.exceptions.RedisError)
    ]
    assert len(kinds) > 20
    for kind in kinds:
        with pytest.raises(NeurobatchError), translated():
            raise kind.__new__(kind)


def test_sockets_are_named_as_each_client_wants() -> None:
    assert socket_url("redis+socket:///run/v.sock?virtual_host=2") == "unix:///run/v.sock?db=2"
    assert socket_url("redis+socket:///run/v.sock") == "unix:///run/v.sock?db=0"
    assert socket_url("redis://host/1") == "redis://host/1"
    with pytest.raises(Broken):
        connect("amqp://host")
    with pytest.raises(Broken):
        connect(str(Path("/some/path")))
