from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.auth import Door, is_loopback
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.settings import Settings
from tests.api.wired import Bench

TOKEN = "correct-horse-battery"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_serving_beyond_loopback_needs_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(Broken) as caught:
        Door.of(Settings(home=tmp_path, host=host))
    assert caught.value.code is Code.BIND_WITHOUT_TOKEN
    Door.of(Settings(home=tmp_path, host=host, tokens={"local": TOKEN}))  # type: ignore[dict-item]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(tmp_path: Path, host: str) -> None:
    assert is_loopback(host)
    assert Door.of(Settings(home=tmp_path, host=host)).tokens == {}


@pytest.mark.parametrize("token", ["", "short"])
def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(Broken) as caught:
        Door.of(Settings(home=tmp_path, tokens={"local": token}))  # type: ignore[dict-item]
    assert caught.value.code is Code.BAD_SETTING


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN}x", 401),
        ("Bearer ", 401),
        ("", 401),
    ],
)
def test_tokens_open_the_api(make_bench: Callable[..., Bench], header: str, status: int) -> None:
    bench = make_bench(host="0.0.0.0", tokens={"local": TOKEN})
    reply: Any = bench.client.get("/v1/batches", headers={"Authorization": header, "Host": "scans.example.org"})
    assert reply.status_code == status
    if status == 401:
        assert reply.json["code"] == Code.UNAUTHORISED
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_with_tokens_the_console_and_probes_are_open_and_nothing_else(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(tokens={"local": TOKEN})
    opened = [path for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz") if status(bench, path) == 200]
    assert opened == ["/", "/docs", "/openapi.json", "/healthz", "/readyz"]
    assert {status(bench, path) for path in ("/v1/batches", "/v1/codes", "/v1/models", "/v1/nope")} == {401}


def status(bench: Bench, path: str, **headers: str) -> int:
    return bench.client.get(path, headers=headers).status_code


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.1", "localhost.evil.example:80"])
def test_without_tokens_a_rebound_name_gets_nothing(bench: Bench, host: str) -> None:
    for path in ("/v1/batches", "/", "/openapi.json"):
        assert status(bench, path, Host=host) == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8700", "127.0.0.1:8700", "[::1]:8700"])
def test_without_tokens_loopback_names_are_answered(bench: Bench, host: str) -> None:
    assert status(bench, "/v1/batches", Host=host) == 200


def test_without_tokens_other_machines_get_nothing(bench: Bench) -> None:
    far: Any = bench.client.get("/v1/batches", environ_overrides={"REMOTE_ADDR": "10.0.0.7"})
    assert (far.status_code, far.json["code"]) == (403, Code.FORBIDDEN)
    near = bench.client.get("/v1/batches", environ_overrides={"REMOTE_ADDR": "::1"})
    assert near.status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:9999"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9999"}, False),
    ],
)
def test_without_tokens_another_sites_page_changes_nothing(
    bench: Bench, headers: dict[str, str], allowed: bool
) -> None:
    key = bench.submitted()
    reply = bench.client.post(f"/v1/batches/{key.batch}/cancel", headers=headers)
    assert (reply.status_code == 202) is allowed
    assert bench.ledger.cancelling(key) is allowed
