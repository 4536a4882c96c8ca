"""Objects on real S3 servers keep the promises of a store, over a bad line too."""

import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import botocore.exceptions
import pytest

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, Unavailable
from storage.objects import Objects, S3Options, copy, probe
from storage.opening import open_store
from storage.s3 import S3
from storage.s3_client import translated
from storage.testing import Conformance, Races, names, race_all, some_bytes
from storage.testing_faults import Faults
from tests.conftest import S3Place
from tests.servers.faulty_proxy import CONFLICT, Fault, FaultyProxy, faulty_proxy
from tests.servers.processes import free_ports
from tests.storage.streaming import growth

MIB = 1 << 20


@dataclass(frozen=True)
class ProxiedLine:
    """A store that is reached through a faulty proxy."""

    store: Objects
    proxy: FaultyProxy

    def lose_reply(self) -> None:
        self.proxy.lay(Fault(method="PUT", lose=True))

    def conflict(self, times: int) -> None:
        self.proxy.lay(Fault(method="PUT", status=409, body=CONFLICT), times)

    def cut(self, after: int, times: int) -> None:
        self.proxy.lay(Fault(method="GET", cut=after), times)

    def pause(self, seconds: float) -> None:
        self.proxy.lay(Fault(method="GET", pause=seconds))

    def pending(self) -> int:
        return len(self.proxy.next_faults)


def line(place: S3Place) -> Iterator[ProxiedLine]:
    with faulty_proxy(place.options.endpoint or "") as proxy:
        options = replace(place.options, endpoint=proxy.endpoint, read_timeout=2)
        yield ProxiedLine(open_store(place.url, options), proxy)


class _OnSeaweed:
    sorts_bytes = False

    @pytest.fixture
    def store(self, seaweed_place: S3Place) -> Objects:
        return open_store(seaweed_place.url, seaweed_place.options)

    @pytest.fixture
    def faulty(self, seaweed_place: S3Place) -> Iterator[ProxiedLine]:
        yield from line(seaweed_place)


class TestSeaweed(_OnSeaweed, Conformance):
    pass


class TestSeaweedFaults(_OnSeaweed, Faults):
    pass


class TestSeaweedRaces(_OnSeaweed, Races):
    @pytest.mark.slow
    def test_one_of_two_wins_a_thousand_times(self, store: Objects) -> None:
        race_all(store, rounds=1_000, writers=2)

    @pytest.mark.slow
    def test_one_of_sixteen_wins_twenty_times(self, store: Objects) -> None:
        race_all(store, rounds=20, writers=16)


class _OnCeph:
    @pytest.fixture
    def store(self, ceph_place: S3Place) -> Objects:
        return open_store(ceph_place.url, ceph_place.options)

    @pytest.fixture
    def faulty(self, ceph_place: S3Place) -> Iterator[ProxiedLine]:
        yield from line(ceph_place)


@pytest.mark.ceph
class TestCeph(_OnCeph, Conformance):
    pass


@pytest.mark.ceph
class TestCephFaults(_OnCeph, Faults):
    pass


@pytest.mark.ceph
class TestCephRaces(_OnCeph, Races):
    @pytest.mark.slow
    def test_one_of_two_wins_a_thousand_times(self, store: Objects) -> None:
        race_all(store, rounds=1_000, writers=2)

    @pytest.mark.slow
    def test_one_of_sixteen_wins_twenty_times(self, store: Objects) -> None:
        race_all(store, rounds=20, writers=16)


@pytest.mark.parametrize("action", ["create", "put"])
def test_large_streams_to_s3_are_never_held(seaweed_place: S3Place, action: str) -> None:
    assert growth(seaweed_place.url, seaweed_place.options, action, size=120) < 48  # MiB


def test_a_broken_stream_leaves_no_parts_behind(seaweed_place: S3Place) -> None:
    store = open_store(seaweed_place.url, seaweed_place.options)

    def breaking() -> Iterator[bytes]:
        yield bytes(20 * MIB)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put("broken", breaking())
    bucket, _, prefix = seaweed_place.url.removeprefix("s3://").partition("/")
    uploads = seaweed_place.server.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    assert uploads.get("Uploads", []) == []


def test_a_copy_stays_inside_the_server(seaweed_place: S3Place) -> None:
    with faulty_proxy(seaweed_place.server.endpoint) as proxy:
        store = open_store(seaweed_place.url, replace(seaweed_place.options, endpoint=proxy.endpoint))
        store.put("from", some_bytes(MIB))
        proxy.heard.clear()
        copy(store, "from", store, "to")
        assert [method for method, _, _ in proxy.heard] == ["HEAD", "PUT", "HEAD"]
        assert store.get("to") == some_bytes(MIB)


def test_a_copy_between_stores_goes_through(seaweed_place: S3Place, tmp_path: Path) -> None:
    folder, bucket = open_store(tmp_path.as_uri()), open_store(seaweed_place.url, seaweed_place.options)
    folder.put("a", some_bytes(MIB))
    copy(folder, "a", bucket, "b")
    copy(bucket, "b", folder, "c")
    assert folder.get("c") == some_bytes(MIB)


def test_a_link_is_fetched_without_keys_until_it_expires(seaweed_place: S3Place) -> None:
    store = open_store(seaweed_place.url, seaweed_place.options)
    assert isinstance(store, S3)
    store.put("mask.png", b"mask")
    url = store.link("mask.png", seconds=2, filename='a "mask"\r\n.png')
    assert url is not None
    with urllib.request.urlopen(url) as reply:
        assert reply.read() == b"mask"
        assert reply.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20%22mask%22%0D%0A.png"
    time.sleep(2.5)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url)
    refused.value.close()
    assert refused.value.code == 403


def test_links_name_the_endpoint_that_browsers_reach(seaweed_place: S3Place) -> None:
    with faulty_proxy(seaweed_place.server.endpoint) as proxy:
        options = replace(seaweed_place.options, public_endpoint=proxy.endpoint)
        store = open_store(seaweed_place.url, options)
        assert isinstance(store, S3)
        store.put("a", b"x")
        url = store.link("a", seconds=60, filename="a")
        assert url is not None
        assert url.startswith(proxy.endpoint)
        with urllib.request.urlopen(url) as reply:
            assert reply.read() == b"x"


def test_a_private_authority_is_trusted_when_named(seaweed_place: S3Place, tmp_path: Path) -> None:
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with faulty_proxy(seaweed_place.server.endpoint, tls) as proxy:
        options = replace(seaweed_place.options, endpoint=proxy.endpoint, ca_bundle=certificate)
        probe(open_store(seaweed_place.url, options))
        with pytest.raises(Broken) as told:
            probe(open_store(seaweed_place.url, replace(options, ca_bundle=None, attempts=1)))
        assert told.value.code is Code.BAD_SETTING
        assert "CA bundle" in told.value.detail


def test_a_session_token_goes_with_every_request(seaweed_place: S3Place) -> None:
    with faulty_proxy(seaweed_place.server.endpoint) as proxy:
        proxy.lay(Fault(method="PUT", status=200))
        options = replace(seaweed_place.options, endpoint=proxy.endpoint, session_token="token-1")
        open_store(seaweed_place.url, options).create("a", b"x")
        assert [headers["x-amz-security-token"] for _, _, headers in proxy.heard] == ["token-1"]


def test_a_server_that_lets_all_writers_win_is_refused(seaweed_place: S3Place) -> None:
    with faulty_proxy(seaweed_place.server.endpoint) as proxy:
        proxy.lay(Fault(method="PUT", status=200), times=3)
        with pytest.raises(Broken) as told:
            probe(open_store(seaweed_place.url, replace(seaweed_place.options, endpoint=proxy.endpoint)))
        assert told.value.code is Code.STORE_NOT_CONDITIONAL


def test_a_server_that_does_not_know_the_condition_is_refused(seaweed_place: S3Place) -> None:
    with faulty_proxy(seaweed_place.server.endpoint) as proxy:
        proxy.lay(Fault(method="PUT", status=501, body=error("NotImplemented")), times=2)
        with pytest.raises(Broken) as told:
            probe(open_store(seaweed_place.url, replace(seaweed_place.options, endpoint=proxy.endpoint)))
        assert told.value.code is Code.STORE_NOT_CONDITIONAL


def test_a_server_that_is_away_is_unavailable() -> None:
    (port,) = free_ports(1)
    options = S3Options(endpoint=f"http://127.0.0.1:{port}", access_key="a", secret_key="b", attempts=2)
    with pytest.raises(Unavailable) as told:
        probe(open_store("s3://bucket", options))
    assert told.value.code is Code.STORE_UNAVAILABLE


def test_wrong_keys_are_told_without_their_value(seaweed_place: S3Place) -> None:
    wrong = (
        replace(seaweed_place.options, access_key="no-such-key"),
        replace(seaweed_place.options, secret_key="wrong-secret"),
    )
    for options in wrong:
        with pytest.raises(Broken) as told:
            probe(open_store(seaweed_place.url, options))
        assert told.value.code is Code.BAD_SETTING
        assert "access key" in told.value.detail
        assert "no-such-key" not in str(told.value) + repr(options) + repr(open_store(seaweed_place.url, options))
        assert "wrong-secret" not in str(told.value) + repr(options)


def test_a_bucket_that_is_not_there_is_told(seaweed_place: S3Place) -> None:
    store = open_store("s3://no-such-bucket-here/p", seaweed_place.options)
    for ask in (lambda: list(store.list("")), lambda: store.get("a")):
        with pytest.raises(Broken) as told:
            ask()
        assert told.value.code is Code.BAD_SETTING
        assert "bucket" in told.value.detail


def error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (507, "InsufficientStorage", Code.STORE_FULL),
        (403, "QuotaExceeded", Code.STORE_FULL),
        (403, "AccessDenied", Code.BAD_SETTING),
        (403, "RequestTimeTooSkewed", Code.BAD_SETTING),
        (400, "ExpiredToken", Code.BAD_SETTING),
        (404, "NoSuchBucket", Code.BAD_SETTING),
        (500, "InternalError", Code.STORE_UNAVAILABLE),
        (503, "SlowDown", Code.STORE_UNAVAILABLE),
        (429, "TooManyRequests", Code.STORE_UNAVAILABLE),
        (400, "Unexpected", Code.INTERNAL),
    ],
)
def test_what_the_server_answers_becomes_our_code(
    seaweed_place: S3Place, status: int, code: str, expected: Code
) -> None:
    with faulty_proxy(seaweed_place.server.endpoint) as proxy:
        options = replace(seaweed_place.options, endpoint=proxy.endpoint, attempts=1)
        store = open_store(seaweed_place.url, options)
        for write in (store.create, store.put):
            proxy.lay(Fault(method="PUT", status=status, body=error(code)))
            with pytest.raises(NeurobatchError) as told:
                write("a", b"x")
            assert told.value.code is expected


def test_no_error_of_botocore_leaves_the_room() -> None:
    def all_below(above: type[Exception]) -> set[type[Exception]]:
        return {above}.union(*(all_below(each) for each in above.__subclasses__()))

    for kind in all_below(botocore.exceptions.BotoCoreError):
        fields = {"error": "e", "msg": "m", "endpoint_url": "u", "provider": "p", "cred_var": "c", "report": "r"}
        try:
            fault = kind(**fields)
        except (KeyError, TypeError):
            fault = kind.__new__(kind)
        with pytest.raises(NeurobatchError), translated():
            raise fault


def test_markers_of_folders_and_foreign_names_do_not_disturb(seaweed_place: S3Place) -> None:
    bucket, _, prefix = seaweed_place.url.removeprefix("s3://").partition("/")
    client = seaweed_place.server.client()
    for name in ("scans/", "scans/кот.png", "scans/.hidden", "scans/a b.dcm"):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=name.encode())
    store = open_store(seaweed_place.url, seaweed_place.options)
    assert names(store) == ["scans/.hidden", "scans/a b.dcm", "scans/кот.png"]
    assert names(store, after="scans/a b.dcm") == ["scans/кот.png"]
    assert store.get("scans/кот.png") == "scans/кот.png".encode()
