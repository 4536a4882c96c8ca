import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.records import Options, UploadSource
from neurobatch.settings import Settings
from storage import names
from storage.memory import Memory
from storage.objects import Body, Stored
from tests.api.wired import Bench, send

BOUNDARY = "a-boundary"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A multipart body: (name, filename or None, content)."""
    body = b""
    for name, filename, content in parts:
        named = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def post(bench: Bench, body: bytes, **headers: str) -> Any:
    """Any: werkzeug's reply, whose `json` is typed as perhaps None."""
    return bench.client.post(
        "/v1/batches",
        data=body,
        content_type=KIND,
        headers=headers,
    )


def uploaded(bench: Bench, batch: str) -> list[UploadSource]:
    sources = bench.ledger.sources(bench.ledger.batch(bench.key(batch)))
    return [source for source in sources if isinstance(source, UploadSource)]


def all_names(bench: Bench) -> list[str]:
    return [stored.name for stored in bench.store.list("")]


def test_files_of_a_form_become_a_batch(bench: Bench) -> None:
    scan = b"\r\n--a-bound\r" * 9000  # looks like the boundary again and again
    reply = post(
        bench,
        form(
            ("options", None, b'{"queue": "urgent", "segment": "all"}'),
            ("label", None, "Läsion 7".encode()),
            ("files", "Папка/Снимок.png", scan),
            ("files", "empty.png", b""),
        ),
    )
    assert reply.status_code == 202
    assert reply.headers["Location"] == f"/v1/batches/{reply.json['id']}"
    assert (reply.json["state"], reply.json["label"]) == ("accepted", "Läsion 7")
    batch = bench.ledger.batch(bench.key(reply.json["id"]))
    assert batch.options == Options(queue="urgent", segment="all")
    assert batch.sources == (
        UploadSource(number=0, name="Папка/Снимок.png", size=len(scan), sha256=hashlib.sha256(scan).hexdigest()),
        UploadSource(number=1, name="empty.png", size=0, sha256=hashlib.sha256(b"").hexdigest()),
    )
    assert bench.store.get(names.upload(bench.key(batch.id), 0)) == scan
    assert bench.bells.bells == [("plan", batch.id, "urgent")]


@settings(max_examples=60, deadline=None)
@given(
    contents=st.lists(
        st.lists(st.sampled_from([b"\r", b"\n", b"--", b"a-bound", b"x", b"\0" * 50]), max_size=12).map(b"".join),
        max_size=4,
    )
)
def test_whatever_bytes_are_sent_those_bytes_are_kept(contents: list[bytes]) -> None:
    bench = Bench(Memory(), Settings(home=Path("/nowhere")))
    reply = post(bench, form(("files", "first", b"1"), *(("files", f"{n}", c) for n, c in enumerate(contents))))
    key = bench.key(reply.json["id"])
    assert [bench.store.get(names.upload(key, n + 1)) for n in range(len(contents))] == contents


def test_no_more_than_a_few_chunks_of_an_upload_are_held(make_bench: Callable[..., Bench]) -> None:
    sizes: list[int] = []

    class Watches(Memory):
        def put(self, name: str, body: Body, *, content_type: str = "") -> Stored:
            if "/inputs/" in name and not isinstance(body, bytes | Path):
                sizes.extend(len(chunk) for chunk in body)
                return super().put(name, b"")
            return super().put(name, body)

    bench = make_bench(Watches())
    assert post(bench, form(("files", "large.zip", b"z" * (8 << 20)))).status_code == 202
    assert sum(sizes) == 8 << 20
    assert max(sizes) <= 1 << 20


def test_the_same_file_twice_is_two_sources(bench: Bench) -> None:
    reply = post(bench, form(("files", "a.png", b"x"), ("files", "a.png", b"x")))
    assert [source.name for source in uploaded(bench, reply.json["id"])] == ["a.png", "a.png"]


def test_a_name_that_climbs_is_kept_without_its_climb(bench: Bench) -> None:
    reply = post(bench, form(("files", "../../etc/passwd", b"x")))
    assert [source.name for source in uploaded(bench, reply.json["id"])] == ["etc/passwd"]


def test_a_field_in_which_no_file_was_chosen_is_passed_over(bench: Bench) -> None:
    assert post(bench, form(("files", "", b""))).json["code"] == Code.NO_SOURCES
    reply = post(bench, form(("files", "", b""), ("files", "a.png", b"x")))
    assert [source.name for source in uploaded(bench, reply.json["id"])] == ["a.png"]


REFUSED: list[tuple[bytes, int, Code]] = [
    (form(), 422, Code.NO_SOURCES),
    (form(("options", None, b"{}")), 422, Code.NO_SOURCES),
    (form(("options", None, b'{"classifier": "best"}'), ("files", "a", b"x")), 422, Code.INVALID_FIELD),
    (form(("options", None, b"not json"), ("files", "a", b"x")), 422, Code.INVALID_FIELD),
    (form(("options", None, b'{"unknown": 1}'), ("files", "a", b"x")), 422, Code.INVALID_FIELD),
    (form(("label", None, b"x" * 201), ("files", "a", b"x")), 422, Code.INVALID_FIELD),
    (form(("expires", None, b"tomorrow"), ("files", "a", b"x")), 422, Code.INVALID_FIELD),
    (form(("expires", None, b"2001-01-01T00:00:00Z"), ("files", "a", b"x")), 422, Code.INVALID_FIELD),
    (form(("optoins", None, b"{}"), ("files", "a", b"x")), 422, Code.INVALID_FIELD),
    (form(("label", None, b"\xff"), ("files", "a", b"x")), 400, Code.BAD_REQUEST),
    (form(("label", None, b"x" * 70_000), ("files", "a", b"x")), 413, Code.TOO_LARGE),
    (form(("files", "a", b"x"))[:-8], 400, Code.BAD_REQUEST),
    (form(("files", "a", b"x"))[:60], 400, Code.BAD_REQUEST),
    (b"", 400, Code.BAD_REQUEST),
    (b"no multipart at all", 400, Code.BAD_REQUEST),
    (b"x" * 900_000, 400, Code.BAD_REQUEST),
    (form(("files", "a" * 900_000, b"x")), 400, Code.BAD_REQUEST),
    (f"--{BOUNDARY}\r\nX: y\r\n\r\nz\r\n--{BOUNDARY}--\r\n".encode(), 400, Code.BAD_REQUEST),
    (f"--{BOUNDARY}\r\nContent-Disposition: \xff\r\n\r\nz".encode("latin-1"), 400, Code.BAD_REQUEST),
]


@pytest.mark.parametrize(("body", "status", "code"), REFUSED, ids=range(len(REFUSED)))
def test_a_form_that_is_wrong_is_told_so_and_leaves_nothing(bench: Bench, body: bytes, status: int, code: Code) -> None:
    told = send(bench, io.BytesIO(body), KIND, length=len(body))
    assert (told[0], told[1]["code"]) == (status, code)
    assert all_names(bench) == []
    assert bench.bells.bells == []


def test_wrong_options_are_told_before_the_files_are_read(bench: Bench) -> None:
    class Endless(io.RawIOBase):
        sent = False

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = b"x" * len(buffer)
            if not self.sent:
                head = form(("options", None, b'{"queue": "now"}'), ("files", "a", b""))[:-24]
                data = head[: len(buffer)]
                self.sent = True
            buffer[: len(data)] = data
            return len(data)

    _, told = send(bench, io.BufferedReader(Endless()), KIND, length=None)
    assert told["errors"][0]["pointer"] == "/options/queue"


def test_faults_are_told_by_their_place_and_without_the_value(bench: Bench) -> None:
    reply = post(bench, form(("options", None, b'{"threshold": "Meier, Anna"}'), ("files", "a", b"x")))
    assert [fault["pointer"] for fault in reply.json["errors"]] == ["/options/threshold"]
    assert "Meier" not in reply.text


def test_limits_hold_over_http(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(upload_limit=100, upload_files_limit=2)
    assert post(bench, form(("files", "a", b"x" * 101))).json["code"] == Code.TOO_LARGE
    three = form(*(("files", str(n), b"x") for n in range(3)))
    assert post(bench, three).json["code"] == Code.TOO_MANY_FILES
    assert all_names(bench) == []
    assert post(bench, form(("files", "a", b"x" * 50), ("files", "b", b"x" * 50))).status_code == 202


def test_a_body_that_says_that_it_is_too_large_is_refused_unread(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(upload_limit=100)

    class Unread(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            raise AssertionError("the body was read")

    assert send(bench, Unread(), KIND, length=200 << 20)[1]["code"] == Code.TOO_LARGE


def test_a_client_that_goes_away_leaves_nothing(bench: Bench) -> None:
    body = form(("files", "a", b"x" * 5000))
    assert send(bench, io.BytesIO(body[:3000]), KIND, length=len(body))[1]["code"] == Code.BAD_REQUEST
    assert all_names(bench) == []


def test_other_media_types_are_refused(bench: Bench) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        told = send(bench, io.BytesIO(b"a=b"), kind, length=3)
        assert (told[0], told[1]["code"]) == (415, Code.UNSUPPORTED_MEDIA_TYPE)
    assert send(bench, io.BytesIO(), "multipart/form-data", length=0)[0] == 400
    assert all_names(bench) == []


def test_the_same_key_makes_one_batch_over_http(bench: Bench) -> None:
    body = form(("files", "a", b"x"))
    first = post(bench, body, **{"Idempotency-Key": "once"})
    again = post(bench, body, **{"Idempotency-Key": "once"})
    other = post(bench, form(("files", "a", b"y")), **{"Idempotency-Key": "once"})
    assert first.json["id"] == again.json["id"]
    assert (other.status_code, other.json["code"]) == (409, Code.IDEMPOTENCY_CONFLICT)
    for bad in ("", "x" * 256, "ключ"):
        reply: Any = bench.client.post(
            "/v1/batches",
            data=body,
            content_type=KIND,
            environ_overrides={"HTTP_IDEMPOTENCY_KEY": bad.encode().decode("latin-1")},
        )
        assert reply.json["code"] == Code.INVALID_FIELD
    assert len(list(bench.ledger.batches("local"))) == 1


@pytest.fixture
def rooted(make_bench: Callable[..., Bench], tmp_path: Path) -> Bench:
    scans = tmp_path / "scans"
    (scans / "2024").mkdir(parents=True)
    (scans / "out").symlink_to("/etc")
    return make_bench(roots={"archive": str(scans), "bucket": "s3://pacs/mr"})


def submit(bench: Bench, body: object) -> Any:
    return bench.client.post("/v1/batches", data=json.dumps(body), content_type="application/json")


def test_places_below_roots_are_named_by_root_path_or_url(rooted: Bench, tmp_path: Path) -> None:
    reply = submit(
        rooted,
        {
            "sources": [
                {"root": "archive", "path": "2024/"},
                {"place": str(tmp_path / "scans" / "2024")},
                {"place": "s3://pacs/mr/2024/one.dcm"},
                {"root": "bucket"},
            ],
            "options": {"classifier": "both"},
            "label": "archive",
        },
    )
    assert reply.status_code == 202
    batch = rooted.ledger.batch(rooted.key(reply.json["id"]))
    assert [source.model_dump(exclude={"kind"}) for source in batch.sources] == [
        {"root": "archive", "path": "2024"},
        {"root": "archive", "path": "2024"},
        {"root": "bucket", "path": "2024/one.dcm"},
        {"root": "bucket", "path": ""},
    ]


@pytest.mark.parametrize(
    "source",
    [
        {"root": "other"},
        {"root": "archive", "path": "../secret"},
        {"root": "archive", "path": "/etc"},
        {"root": "archive", "path": "out"},
        {"place": "/etc/passwd"},
        {"place": "s3://pacs/other"},
        {"place": "file:///etc"},
        {"place": "https://example.org/x"},
        {"place": "relative"},
    ],
)
def test_what_is_not_below_a_root_is_refused(rooted: Bench, source: dict[str, str]) -> None:
    reply = submit(rooted, {"sources": [source]})
    assert (reply.status_code, reply.json["code"]) == (403, Code.OUTSIDE_ROOTS)
    assert all_names(rooted) == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"sources": []}, 422, Code.NO_SOURCES),
        ({}, 422, Code.INVALID_FIELD),
        ([], 422, Code.INVALID_FIELD),
        ({"sources": [{}]}, 422, Code.INVALID_FIELD),
        ({"sources": [{"root": "archive", "place": "/x"}]}, 422, Code.INVALID_FIELD),
        ({"sources": [{"root": "NOT A ROOT"}]}, 422, Code.INVALID_FIELD),
        ({"sources": [{"root": "archive", "path": "a\0b"}]}, 422, Code.INVALID_FIELD),
        ({"sources": [{"root": "archive"}], "options": {"queue": "now"}}, 422, Code.INVALID_FIELD),
        ({"sources": [{"root": "archive"}] * 201}, 413, Code.TOO_MANY_FILES),
        ({"sources": [{"root": "archive"}], "label": "x" * (1 << 20)}, 413, Code.TOO_LARGE),
    ],
)
def test_a_json_body_that_is_wrong_is_told_so(rooted: Bench, body: object, status: int, code: Code) -> None:
    reply = submit(rooted, body)
    assert (reply.status_code, reply.json["code"]) == (status, code)
    assert all_names(rooted) == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_a_bad_request(rooted: Bench, body: bytes) -> None:
    reply: Any = rooted.client.post("/v1/batches", data=body, content_type="application/json")
    assert (reply.status_code, reply.json["code"]) == (400, Code.BAD_REQUEST)
