"""The embedded broker starts, is private, is shared or refused, and dies with its parent."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kombu
import pytest

from deploy.broker import EmbeddedBroker
from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused
from storage.broker import answers, connect

OWN = """
import sys
from pathlib import Path
from deploy.broker import EmbeddedBroker
with EmbeddedBroker(Path(sys.argv[1])) as broker:
    print(broker.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another command that owns the broker of a data folder."""
    command = [sys.executable, "-c", OWN, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("redis+socket://")
        try:
            yield process
        finally:
            process.kill()


def test_it_answers_redis_and_celerys_transport(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        assert broker.owned
        with connect(broker.url) as client:
            client.set("a", "1")
        with connect(broker.redis_url) as client:
            assert client.get("a") == "1"
            assert client.config_get("maxmemory-policy", "appendonly", "save", "port") == {
                "maxmemory-policy": "noeviction",
                "appendonly": "no",
                "save": "",
                "port": "0",
            }
        with kombu.Connection(broker.url) as connection, connection.SimpleQueue("normal") as queue:
            queue.put({"batch": "1"})
            message = queue.get(timeout=5)
            message.ack()
            assert message.payload == {"batch": "1"}


def test_nobody_else_can_look_in(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path):
        assert stat.S_IMODE((tmp_path / "broker").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "broker/valkey.sock").stat().st_mode) == 0o700


def test_it_ends_with_its_block_and_starts_again_empty(tmp_path: Path) -> None:
    for _ in range(2):
        with EmbeddedBroker(tmp_path) as broker, connect(broker.url) as client:
            assert client.dbsize() == 0
            client.set("a", "1")
        assert not (tmp_path / "broker/valkey.sock").exists()


def test_a_data_folder_may_lie_deep(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 20) / ("er" * 20)
    with EmbeddedBroker(home) as broker:
        socket = Path(broker.redis_url.removeprefix("unix://").partition("?")[0])
        assert len(os.fsencode(socket)) < 107
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        with EmbeddedBroker(home, share=True) as shared, connect(shared.url) as client:
            assert answers(client)
    assert not socket.parent.exists()


def test_a_second_command_is_refused_or_shares(tmp_path: Path) -> None:
    with owner(tmp_path):
        with pytest.raises(Refused) as refused:
            EmbeddedBroker(tmp_path).__enter__()
        assert refused.value.code is Code.FOLDER_IN_USE
        with EmbeddedBroker(tmp_path, share=True) as shared:
            assert not shared.owned
            with connect(shared.url) as client:
                assert answers(client)
        with EmbeddedBroker(tmp_path, share=True) as again, connect(again.url) as client:
            assert answers(client)


def test_sharing_without_an_owner_is_owning(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path, share=True) as broker:
        assert broker.owned


def test_it_dies_with_a_killed_owner_and_the_next_one_starts(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        with connect(f"unix://{tmp_path}/broker/valkey.sock") as client:
            server = int(client.info("server")["process_id"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        end = time.monotonic() + 5
        while Path(f"/proc/{server}").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
    with EmbeddedBroker(tmp_path) as broker, connect(broker.url) as client:
        assert answers(client)


def test_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker, connect(broker.url) as client:
        server = int(client.info("server")["process_id"])
        assert os.getpgid(server) != os.getpgid(0)


def test_of_many_that_start_at_once_one_owns(tmp_path: Path) -> None:
    told: list[bool] = []
    ready, done = threading.Barrier(4), threading.Barrier(4)

    def start() -> None:
        ready.wait()
        with EmbeddedBroker(tmp_path, share=True) as broker, connect(broker.url) as client:
            assert answers(client)
            told.append(broker.owned)
            done.wait()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False, False, False, True]


def test_a_server_that_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.broker.get_binary_path", lambda: Path("/bin/false"))
    with pytest.raises(Broken) as told:
        EmbeddedBroker(tmp_path).__enter__()
    assert told.value.code is Code.BROKER_UNAVAILABLE
    monkeypatch.undo()
    with EmbeddedBroker(tmp_path) as broker:
        assert broker.owned
