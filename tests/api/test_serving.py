"""What only a real server shows: streaming, clients that go away, start, wrong settings, brokers that die."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.wsgi import HALT, create_app
from storage import names
from storage.broker import connect
from storage.leases import Leases
from storage.names import BatchKey
from storage.presence import lease_of
from tests.api.serving import ROOT, Served, served
from tests.conftest import S3Place
from tests.servers.processes import free_ports, wait_for
from tests.servers.redis import valkey

MIB = 1 << 20


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with valkey() as url:
        yield url


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api"), broker) as running:
        yield running


def body(size: int, boundary: bytes = b"bb") -> Iterator[bytes]:
    """A multipart body with one file of `size` bytes, made as it is sent."""
    yield b'--bb\r\nContent-Disposition: form-data; name="files"; filename="large.zip"\r\n\r\n'
    for _ in range(size // MIB):
        yield b"\r" * MIB  # what a decoder finds hardest
    yield b"\r\n--" + boundary + b"--\r\n"


def test_an_upload_of_any_size_costs_the_same_memory(api: Served) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=bb"}
    httpx.post(f"{api.url}/v1/batches", content=body(MIB), headers=headers, timeout=60).raise_for_status()
    before, peak, done = api.memory(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, api.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    reply = httpx.post(f"{api.url}/v1/batches", content=body(200 * MIB), headers=headers, timeout=120)
    done.set()
    watcher.join()
    key = BatchKey("local", reply.raise_for_status().json()["id"])
    stored = api.ledger.objects.head(names.upload(key, 0))
    assert stored is not None
    assert stored.size == 200 * MIB
    assert peak - before < 40 * MIB


def test_a_connection_that_is_cut_leaves_nothing(api: Served) -> None:
    address = httpx.URL(api.url)
    sent = (
        b"POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
        b"Content-Type: multipart/form-data; boundary=bb\r\n\r\n"
        b'--bb\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 500_000
    )
    before = everything(api)
    with socket.create_connection((address.host, address.port or 80)) as connection:
        connection.sendall(sent)
        assert wait_for(lambda: everything(api) != before, 10)
    assert wait_for(lambda: everything(api) == before, 10)


def everything(api: Served) -> set[str]:
    return {stored.name for stored in api.ledger.objects.list("")}


def test_a_refusal_reaches_who_is_still_sending(tmp_path: Path, broker: str) -> None:
    with served(tmp_path, broker, upload_limit=str(MIB)) as api:
        headers = {"Content-Type": "multipart/form-data; boundary=bb"}
        reply = httpx.post(f"{api.url}/v1/batches", content=body(20 * MIB), headers=headers, timeout=60)
        assert (reply.status_code, reply.json()["code"]) == (413, "too_large")


def test_it_starts_in_little_time_and_is_ready_when_a_worker_is_there(api: Served, broker: str) -> None:
    assert api.cpu_seconds() < 4  # on an idle machine it answers within 2 s; others compute here too
    reply = httpx.get(f"{api.url}/readyz")
    assert (reply.status_code, reply.json()["broker"], reply.json()["worker"]) == (503, True, False)
    with connect(broker) as client:
        Leases(client).take(lease_of("here-1"), "here-1")
    assert wait_for(lambda: httpx.get(f"{api.url}/readyz").status_code == 200, 10)


def test_without_a_broker_batches_are_accepted_and_shown_all_the_same(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    with served(tmp_path, f"redis://127.0.0.1:{nobody}/0") as api:
        reply = httpx.post(f"{api.url}/v1/batches", files={"files": ("a.png", b"x")}, timeout=30)
        assert reply.status_code == 202
        assert httpx.get(f"{api.url}/v1/batches/{reply.json()['id']}").json()["state"] == "accepted"
        assert httpx.get(f"{api.url}/readyz").json()["broker"] is False


def test_over_s3_uploads_stream_and_ranges_are_read(tmp_path: Path, broker: str, seaweed_place: S3Place) -> None:
    options = seaweed_place.options
    settings = {
        "store": seaweed_place.url,
        "s3_endpoint": options.endpoint or "",
        "s3_access_key": options.access_key or "",
        "s3_secret_key": options.secret_key or "",
    }
    with served(tmp_path, broker, **settings) as api:
        headers = {"Content-Type": "multipart/form-data; boundary=bb", "Idempotency-Key": "one"}
        first, again = (
            httpx.post(f"{api.url}/v1/batches", content=body(20 * MIB), headers=headers, timeout=60) for _ in range(2)
        )
        assert first.status_code == again.status_code == 202
        assert first.json()["id"] == again.json()["id"]
        key = BatchKey("local", first.json()["id"])
        assert [stored.size for stored in api.ledger.objects.list(f"{key.prefix}inputs/")] == [20 * MIB]
        assert len(list(api.ledger.opened())) == 1
        made = [first.json()["id"]]
        for number in range(4):
            some = httpx.post(f"{api.url}/v1/batches", files={"files": (f"{number}.png", b"x")}, timeout=60)
            made.append(some.json()["id"])
        assert listed(api, limit=2) == made[::-1]


def listed(api: Served, limit: int) -> list[str]:
    """Ids of all batches, page by page."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page: Any = httpx.get(f"{api.url}/v1/batches", params={"limit": limit, **cursor}, timeout=60).json()
        ids += [item["id"] for item in page["items"]]
        if page["next"] is None:
            return ids
        cursor = {"cursor": page["next"]}


def test_a_store_that_is_down_is_503_with_when_to_try_again(tmp_path: Path, broker: str) -> None:
    [nobody] = free_ports(1)
    settings = {
        "store": "s3://scans",
        "s3_endpoint": f"http://127.0.0.1:{nobody}",
        "s3_access_key": "a",
        "s3_secret_key": "b",
    }
    with served(tmp_path, broker, **settings) as api:
        reply = httpx.get(f"{api.url}/v1/batches", timeout=60)
        assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")
        assert int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HOST": "0.0.0.0"}, "NEUROBATCH_TOKENS"),
        ({"HOST": "0.0.0.0", "TOKENS": "local=short"}, "at least 16 characters"),
        ({"BROKER": ""}, "NEUROBATCH_BROKER"),
        ({"STORE": "ftp://x"}, "A store is"),
        ({"PORT": "many", "UPLOAD_LIMIT": "0"}, "NEUROBATCH_UPLOAD_LIMIT"),
    ],
)
def test_with_wrong_settings_it_ends_with_one_plain_line(
    tmp_path: Path,
    settings: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NEUROBATCH_HOME", str(tmp_path))
    monkeypatch.setenv("NEUROBATCH_BROKER", "redis://127.0.0.1:1/0")
    for name, value in settings.items():
        monkeypatch.setenv(f"NEUROBATCH_{name}", value)
    with pytest.raises(SystemExit) as ended:
        create_app()
    assert ended.value.code == HALT
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("neurobatch: ")
    assert said in line


def test_gunicorn_ends_upon_wrong_settings_instead_of_trying_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROBATCH_HOME", str(tmp_path))
    monkeypatch.setenv("NEUROBATCH_HOST", "0.0.0.0")
    [port] = free_ports(1)
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "api.wsgi:create_app()"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == HALT
    assert "Traceback" not in ended.stderr
