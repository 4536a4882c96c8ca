import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import api
from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, NeurobatchError, Unavailable
from storage.memory import Memory
from storage.objects import Stored
from tests.api.wired import Bench


def test_an_address_that_does_not_exist_is_a_problem(bench: Bench) -> None:
    for path in ("/nope", "/v1", "/v1/nope", "/v1/batches/x/y/z", "/console/../app.py", "/console/none.js"):
        reply: Any = bench.client.get(path)
        assert (reply.status_code, reply.content_type) == (404, "application/problem+json")
        assert reply.json["code"] == Code.NOT_FOUND
        assert reply.json["title"] == Code.NOT_FOUND.sentence
        assert reply.json["type"] == "/v1/codes#not_found"


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/batches"), ("DELETE", "/v1/codes"), ("POST", "/healthz")])
def test_a_method_that_is_not_answered_is_a_problem_with_allow(bench: Bench, method: str, path: str) -> None:
    reply: Any = bench.client.open(path, method=method)
    assert (reply.status_code, reply.json["code"]) == (405, Code.METHOD_NOT_ALLOWED)
    assert "GET" in reply.headers["Allow"]


class Fails(Memory):
    """A store that raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get(self, name: str) -> bytes:
        raise self.error

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        raise self.error

    def put(self, name: str, body: object, *, content_type: str = "") -> Stored:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unavailable(Code.STORE_UNAVAILABLE, "no answer"), 503, Code.STORE_UNAVAILABLE),
        (Unavailable(Code.STORE_FULL), 507, Code.STORE_FULL),
        (Missing(Code.NOT_FOUND), 404, Code.NOT_FOUND),
    ],
)
def test_a_store_that_fails_is_told_with_when_to_try_again(
    make_bench: Callable[..., Bench], error: NeurobatchError, status: int, code: Code
) -> None:
    bench = make_bench(Fails(error))
    reply: Any = bench.client.get("/v1/batches")
    assert (reply.status_code, reply.json["code"]) == (status, code)
    assert ("Retry-After" in reply.headers) == (status in (503, 507))


@pytest.mark.parametrize(
    "error",
    [RuntimeError("Meier, Anna at /data/secret"), Broken(Code.INTERNAL, "a stored batch record is damaged at id")],
)
def test_what_breaks_inside_leaks_nothing_and_is_found_by_its_incident(
    make_bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    bench = make_bench(Fails(error))
    with caplog.at_level(logging.ERROR, "neurobatch.api"):
        reply: Any = bench.client.get("/v1/batches")
    assert (reply.status_code, reply.json["code"]) == (500, Code.INTERNAL)
    assert set(reply.json) == {"type", "title", "status", "code", "incident"}
    assert re.search(r"secret|Meier|\.py|Traceback|damaged", reply.text) is None
    assert reply.json["incident"] in caplog.text
    assert type(error).__name__ in caplog.text
    assert "Meier" not in caplog.text


def test_every_code_is_told_with_its_sentence_and_status(bench: Bench) -> None:
    reply: Any = bench.client.get("/v1/codes")
    assert {item["code"]: (item["sentence"], item["status"]) for item in reply.json["items"]} == {
        code.value: (code.sentence, code.status) for code in Code
    }


def test_every_problem_code_that_the_api_names_is_an_error_status() -> None:
    sources = "".join(file.read_text() for file in Path(str(api.__file__)).parent.glob("*.py"))
    named = {Code[name] for name in re.findall(r"Code\.([A-Z_]+)\b", sources)}
    assert {code for code in named if code.status < 400} == set()
    assert len(named) > 15


def test_every_answer_carries_the_headers_that_protect_it(bench: Bench) -> None:
    for path in ("/", "/docs", "/v1/batches", "/nope", "/healthz", "/openapi.json"):
        headers = bench.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_health_and_readiness(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    assert bench.client.get("/healthz").json["status"] == "ok"  # type: ignore[index]
    reply: Any = bench.client.get("/readyz")
    assert (reply.status_code, reply.json["ready"]) == (200, True)
    sleepy, lonely = make_bench(), make_bench()
    sleepy.worker_alive = False
    lonely.bells.down = True
    for other, missing in ((sleepy, {"worker"}), (lonely, {"broker", "worker"})):
        reply = other.client.get("/readyz")
        assert reply.status_code == 503
        assert {name for name, holds in reply.json.items() if holds is False} == {"ready", *missing}
    broken = make_bench(Fails(Unavailable(Code.STORE_UNAVAILABLE)))
    assert broken.client.get("/readyz").json["store"] is False  # type: ignore[index]


def test_the_document_is_openapi_3_1_with_every_address_and_no_dangling_reference(bench: Bench) -> None:
    reply: Any = bench.client.get("/openapi.json")
    document = reply.json
    assert document["openapi"].startswith("3.1")
    rules = {
        re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in bench.app.url_map.iter_rules()
        if rule.rule.startswith(("/v1", "/healthz", "/readyz"))
    }
    assert set(document["paths"]) == rules
    text = json.dumps(document)
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert named <= set(document["components"]["schemas"])
    operations = [
        operation
        for path in document["paths"].values()
        for method, operation in path.items()
        if method in ("get", "post", "delete")
    ]
    assert all(operation["responses"]["default"]["content"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_the_document_that_is_published_is_the_one_that_a_server_gives(bench: Bench) -> None:
    published = Path(__file__).parents[2] / "docs" / "schemas" / "openapi.json"
    given: Any = bench.client.get("/openapi.json").json
    assert given.pop("servers") == [{"url": "http://localhost/"}]  # which server it is, the published one cannot know
    assert json.loads(published.read_text()) == given


def test_what_the_document_promises_is_what_is_sent(bench: Bench) -> None:
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    key = bench.submitted()
    bench.finished(key)
    document: Any = bench.client.get("/openapi.json").json
    registry: Any = Registry().with_resource("urn:d", Resource.from_contents({"$schema": SCHEMA, **document}))
    for path in ("/v1/batches", "/v1/batches/{batch}", "/v1/batches/{batch}/scans", "/v1/batches/{batch}/left-out"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        body = bench.client.get(path.replace("{batch}", key.batch)).json
        absolute = {"$ref": "urn:d" + schema["$ref"]}
        Draft202012Validator(absolute, registry=registry).validate(body)


SCHEMA = "https://json-schema.org/draft/2020-12/schema"
