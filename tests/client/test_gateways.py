"""One conformance class for both gateways: what the command line shows is the same over HTTP and from the store."""

from pathlib import Path

import httpx
import pytest

from api.intake import Upload, Wish
from neurobatch.client import Client
from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused, Unavailable
from neurobatch.gateway import Gateway
from neurobatch.records import BatchState, Label, Options, Result, ScanState
from neurobatch.settings import Settings
from neurobatch.taking import TakenNames, take, taken_name
from storage.endings import finalise
from storage.memory import Memory
from storage.names import BatchKey
from tests.api.wired import NOW, Bench

NO_BATCH = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Memory(), Settings(home=tmp_path / "home"))


def running_batch(bench: Bench, *, shards: int = 3) -> BatchKey:
    sources = [Upload(name="ward/scans.zip", chunks=[b"x"])]
    batch = bench.services.intake.submit("local", sources, Wish(label="ward 7"))
    key = BatchKey("local", batch.id)
    page = bench.plan_page(key, 0, shards, 4, left_out=("notes.txt",))
    bench.end_plan(key, 1)
    for shard in range(shards - 1):
        bench.work(key, page, shard)
    return key


def finished_batch(bench: Bench) -> BatchKey:
    key = running_batch(bench)
    page = bench.ledger.page(key, 0)
    assert page is not None
    bench.work(key, page, 2)
    assert finalise(bench.ledger, key, NOW) is not None
    return key


def test_a_running_batch_shows_what_is_done(gateway: Gateway, bench: Bench) -> None:
    key = running_batch(bench)
    status = gateway.status(key.batch)
    assert (status.state, status.scans, status.counts.done, status.left_out) == (BatchState.RUNNING, 12, 8, 1)
    assert len(list(gateway.results(key.batch))) == 8


def test_results_come_in_plan_order_and_filtered(gateway: Gateway, bench: Bench) -> None:
    key = finished_batch(bench)
    results = list(gateway.results(key.batch))
    assert [result.scan for result in results] == sorted(result.scan for result in results)
    assert len(results) == 12
    failed = list(gateway.results(key.batch, state=ScanState.FAILED))
    assert failed == [result for result in results if result.state is ScanState.FAILED]
    tumours = list(gateway.results(key.batch, finding=Label.TUMOUR))
    assert tumours == [result for result in results if result.finding and result.finding.label is Label.TUMOUR]
    assert failed
    assert tumours


def test_left_out_files_are_listed(gateway: Gateway, bench: Bench) -> None:
    key = running_batch(bench)
    assert [(line.path, line.code) for line in gateway.left_out(key.batch)] == [("notes.txt", Code.NOT_A_SCAN)]


def test_batches_are_listed_newest_first(gateway: Gateway, bench: Bench) -> None:
    keys = [running_batch(bench).batch for _ in range(3)]
    assert [status.id for status in gateway.batches()] == keys[::-1]


def test_cancelling_ends_in_cancelled_scans(gateway: Gateway, bench: Bench) -> None:
    key = running_batch(bench)
    status = gateway.cancel(key.batch)
    assert status.cancelling or status.state is BatchState.CANCELLED


def test_a_deleted_batch_is_gone(gateway: Gateway, bench: Bench) -> None:
    key = finished_batch(bench)
    gateway.delete(key.batch)
    with pytest.raises(Refused) as caught:
        gateway.status(key.batch)
    assert caught.value.code in (Code.GONE, Code.NOT_FOUND)


@pytest.mark.parametrize("batch", [NO_BATCH, "7", "../../etc/passwd", "7?a=b#c"])
def test_what_is_no_batch_is_not_found(gateway: Gateway, batch: str) -> None:
    for ask in (gateway.status, gateway.cancel, gateway.delete, lambda name: list(gateway.results(name))):
        with pytest.raises(Refused) as caught:
            ask(batch)
        assert caught.value.code is Code.NOT_FOUND


def test_all_results_are_taken_away_under_the_sources_own_names(gateway: Gateway, bench: Bench, tmp_path: Path) -> None:
    key = finished_batch(bench)
    results = list(gateway.results(key.batch))
    taken = take(gateway, key.batch, tmp_path / "out")
    assert taken == sum(len(result.artifacts) for result in results) > 0
    for result in results:
        for artifact in result.artifacts:
            copied = tmp_path / "out" / taken_name(result.path, artifact.name)
            assert copied.read_bytes() == b"".join(gateway.artifact(key.batch, result, artifact))
    table = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(table) == 13
    assert "notes.txt,not_a_scan" in (tmp_path / "out" / "left-out.csv").read_text()


def test_taking_again_leaves_what_is_there_and_mends_what_is_not(
    gateway: Gateway, bench: Bench, tmp_path: Path
) -> None:
    key = finished_batch(bench)
    take(gateway, key.batch, tmp_path)
    files = sorted(path for path in tmp_path.rglob("*_mask.png"))
    files[0].write_bytes(b"cut sho")
    before = files[1].stat().st_mtime_ns
    take(gateway, key.batch, tmp_path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[1].stat().st_mtime_ns == before


def test_two_scans_of_one_path_are_both_taken() -> None:
    result = Result.model_construct(scan="000000001-aaaaaaaaaaaa", path="A/b.png")
    other = Result.model_construct(scan="000000002-bbbbbbbbbbbb", path="a/B.png")
    given = TakenNames()
    assert (given.above(result), given.above(other)) == ("", "000000002-bbbbbbbbbbbb/")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.png", "a/b.png_mask.png"),
        ("../../etc/passwd", "etc/passwd_mask.png"),
        ("C:\\scans\\one.png", "scans/one.png_mask.png"),
        ("архив/снимок.png", "архив/снимок.png_mask.png"),
        ("con.png", "_con.png_mask.png"),
        ('a<b>:"c".png', "a_b___c_.png_mask.png"),
        ("a\x00\x1b[31m.png", "a��[31m.png_mask.png"),
    ],
)
def test_names_are_safe_on_any_system(path: str, name: str) -> None:
    assert taken_name(path, "mask.png") == name


def test_the_client_uploads_folders_with_their_paths(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "ward" / "a").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "ward" / "a" / f"скан-{number}.png").write_bytes(b"%d" % number * 100_000)
    with Client("http://127.0.0.1", transport=httpx.WSGITransport(bench.app)) as client:
        status = client.submit([tmp_path / "ward"], Options(classifier="both"), label="ward", key="k1")
        again = client.submit([tmp_path / "ward"], Options(classifier="both"), label="ward", key="k1")
    assert again.id == status.id
    batch = bench.ledger.batch(BatchKey("local", status.id))
    assert [source.name for source in bench.ledger.sources(batch) if source.kind == "upload"] == [
        f"ward/a/скан-{number}.png" for number in range(3)
    ]
    assert batch.options.classifier == "both"


def test_a_problem_becomes_the_error_that_it_tells(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Client("http://127.0.0.1", transport=httpx.WSGITransport(bench.app)) as client:
        with pytest.raises(Refused, match="no_sources"):
            client.submit([tmp_path / "empty"], Options())
        with pytest.raises(Refused, match="source_missing"):
            client.submit([tmp_path / "nowhere"], Options())


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unavailable, match="server_unavailable"):
        client.status(NO_BATCH)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"id": 1}'])
def test_an_answer_that_is_none_is_told_so(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with Client("http://127.0.0.1", transport=transport) as client, pytest.raises(Broken, match="not understood"):
        client.status(NO_BATCH)
    transport = httpx.MockTransport(lambda _: httpx.Response(502, content=body))
    with Client("http://127.0.0.1", transport=transport) as client, pytest.raises(Broken, match="502"):
        client.status(NO_BATCH)
