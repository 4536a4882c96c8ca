import csv
import io
import json
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.intake import Wish
from models import registry
from neurobatch.codes import DISCLAIMER, Code
from neurobatch.records import ContentLine, Page, PlannedScan, ScanState, Shard
from neurobatch.taking import taken_name
from storage import endings, reuse
from storage.ledger import Content
from tests.api.wired import MASK, Bench, planned


def get(bench: Bench, path: str, **headers: str) -> Any:
    return bench.client.get(path, headers=headers)


@pytest.fixture
def mask(bench: Bench) -> str:
    """The address of a mask."""
    key = bench.submitted()
    page = bench.plan_page(key, 0, 1, 1)
    [result] = bench.work(key, page, 0)
    return f"/v1/batches/{key.batch}/scans/{result.scan}/artifacts/mask.png"


def test_an_artifact_is_served_with_its_digest_type_and_the_users_name(bench: Bench, mask: str) -> None:
    reply = get(bench, mask)
    assert (reply.data, reply.content_type, reply.content_length) == (MASK, "image/png", len(MASK))
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    shown = reply.headers["Content-Disposition"]
    assert shown.startswith("inline; filename=\"______ 0.png_mask.png\"; filename*=UTF-8''%D0%A1")
    assert get(bench, f"{mask}?download=1").headers["Content-Disposition"].startswith("attachment")
    assert get(bench, mask, **{"If-None-Match": reply.headers["ETag"]}).status_code == 304
    head = bench.client.head(mask)
    assert (head.data, head.content_length) == (b"", len(MASK))


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-3", 206, MASK[:4]),
        ("bytes=10-", 206, MASK[10:]),
        ("bytes=-5", 206, MASK[-5:]),
        ("bytes=5-999999", 206, MASK[5:]),
        ("bytes=999999-", 416, b""),
        ("bytes=0-1,4-5", 200, MASK),
        ("lines=0-1", 200, MASK),
        ("nonsense", 200, MASK),
    ],
)
def test_ranges(bench: Bench, mask: str, asked: str, status: int, body: bytes) -> None:
    reply = get(bench, mask, Range=asked)
    assert reply.status_code == status
    if status != 416:
        assert reply.data == body
    if status == 206:
        start = len(MASK) - len(body) if asked != "bytes=0-3" else 0
        assert reply.headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(MASK)}"


def test_a_range_is_of_the_same_file_or_the_whole(bench: Bench, mask: str) -> None:
    etag = get(bench, mask).headers["ETag"]
    assert get(bench, mask, Range="bytes=0-3", **{"If-Range": etag}).status_code == 206
    assert get(bench, mask, Range="bytes=0-3", **{"If-Range": '"other"'}).status_code == 200
    assert get(bench, mask, Range="bytes=0-3", **{"If-Range": "Wed, 25 Nov 2026 00:00:00 GMT"}).status_code == 200


@pytest.mark.parametrize("name", ["other.png", "..%2fmask.png", "%2e%2e", "mask.png%00", "MASK.PNG"])
def test_only_artifacts_of_the_result_can_be_asked_for(bench: Bench, mask: str, name: str) -> None:
    assert get(bench, mask.replace("mask.png", name)).status_code == 404


def test_results_wait_for_the_end(bench: Bench) -> None:
    key = bench.submitted()
    for ending in ("jsonl", "csv", "zip"):
        reply = get(bench, f"/v1/batches/{key.batch}/results.{ending}")
        assert (reply.status_code, reply.json["code"]) == (409, Code.NOT_FINISHED)
    assert get(bench, f"/v1/batches/{key.batch}/results.xml").status_code == 404


def test_tables_hold_every_scan_and_can_be_read_in_parts(bench: Bench) -> None:
    key = bench.submitted()
    bench.finished(key)
    lines = get(bench, f"/v1/batches/{key.batch}/results.jsonl")
    table = get(bench, f"/v1/batches/{key.batch}/results.csv")
    records = [json.loads(line) for line in lines.data.splitlines()]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [record["scan"] for record in records] == [row["scan"] for row in rows]
    assert len(rows) == 10
    part = get(bench, f"/v1/batches/{key.batch}/results.csv", Range="bytes=0-3")
    assert (part.status_code, part.data) == (206, b"scan")
    assert "attachment" in table.headers["Content-Disposition"]


def test_the_zip_holds_tables_and_artifacts_under_names_that_people_know(bench: Bench) -> None:
    key = bench.submitted()
    bench.finished(key)
    reply = get(bench, f"/v1/batches/{key.batch}/results.zip")
    archive = zipfile.ZipFile(io.BytesIO(reply.data))
    assert archive.testzip() is None
    assert archive.read("README.txt").decode().strip() == DISCLAIMER
    assert archive.read("results.csv") == get(bench, f"/v1/batches/{key.batch}/results.csv").data
    assert archive.read("Ordner/Снимок 0.png_mask.png") == MASK
    assert len([name for name in archive.namelist() if name.endswith("_report.json")]) == 9
    assert b"notes.txt" in archive.read("left-out.csv")


def test_the_zip_names_the_scans_that_came_before_and_says_nothing_where_there_are_none(bench: Bench) -> None:
    key, other = bench.submitted(), bench.submitted()
    scans = tuple(planned(number, f"={number}.png") for number in range(3))
    lines = [ContentLine(scan=scan.id, content=2 * f"{number % 2:032x}") for number, scan in enumerate(scans)]
    reuse.put_contents(bench.ledger, key, 1000, lines)
    for batch in (key, other):
        commit_with_reports(bench, batch.batch, scans)
    zips = [get(bench, f"/v1/batches/{batch.batch}/results.zip").data for batch in (key, other)]
    told, untold = (zipfile.ZipFile(io.BytesIO(data)) for data in zips)
    rows = list(csv.DictReader(io.StringIO(told.read("duplicates.csv").decode())))
    assert [(row["scan"], row["path"], row["first_path"]) for row in rows] == [(scans[2].id, "'=2.png", "'=0.png")]
    assert "duplicates.csv" not in untold.namelist()
    assert get(bench, f"/v1/batches/{key.batch}").json["duplicates"] == 1


def test_no_two_results_share_a_name_in_the_zip_and_none_leads_out(bench: Bench) -> None:
    paths = ["a/x.png", "A/X.PNG", "a/x.png", "../../etc/x", "C:\\con\\nul.png", "a/x.png/../../..", "ä" * 300, "..."]
    key = bench.submitted()
    scans = tuple(planned(number, path) for number, path in enumerate(paths))
    commit_with_reports(bench, key.batch, scans)
    data = get(bench, f"/v1/batches/{key.batch}/results.zip").data
    given_names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    reports = [name for name in given_names if name.endswith("_report.json")]
    assert len({name.casefold() for name in reports}) == len(paths)
    for name in reports:
        parts = name.split("/")
        assert not name.startswith("/")
        assert all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
        assert not any(part.lower().split(".")[0] in ("con", "nul") for part in parts)


def commit_with_reports(bench: Bench, batch: str, scans: tuple[PlannedScan, ...]) -> None:
    key = bench.key(batch)
    page = bench.plan_page(key, 0, 0, 0)
    page = Page(number=1, shards=(Shard(number=1000, scans=scans),), cursor=page.cursor, files=len(scans))
    bench.ledger.put_page(key, page)
    report = {"report.json": Content("application/json", b"{}")}
    results = [
        bench.judged(key, scan).model_copy(
            update={
                "artifacts": bench.ledger.put_artifacts(key, scan.id, report),
                "code": None,
                "state": ScanState.SUCCEEDED,
            }
        )
        for scan in scans
    ]
    bench.ledger.commit(key, 1000, results)
    bench.end_plan(key, 2)
    bench.finish(key)


@given(st.text(max_size=400))
def test_any_path_is_taken_under_a_name_that_any_system_allows(path: str) -> None:
    name = taken_name(path, "mask.png")
    assert name.endswith("_mask.png")
    for part in name.split("/"):
        assert part not in ("", ".", "..")
        assert not set(part) & set('<>:"|?*\\\0')
        assert len(part.encode()) <= 255
        assert not part.startswith(" ")


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\x10\0", "image/bmp"),
        (b"II*\0 a TIFF", None),
        (b"<svg onload=alert(1)>", None),
        (b"PK\x03\x04", None),
        (b"", None),
    ],
)
def test_a_picture_is_shown_as_it_was_uploaded_if_browsers_can(
    bench: Bench, content: bytes, media_type: str | None
) -> None:
    with bench.services.intake.begin("local") as handover:
        handover.upload("first.zip", [b"PK"])
        handover.upload("a.png", [content])
        key = bench.key(handover.accept(Wish()).id)
    page = bench.put_scans(key, 0, [[planned(0, "a.png", source=1), planned(1, "first.zip/b.png", source=0)]])
    bench.ledger.commit(key, 0, [endings.line_of(scan, state=ScanState.SKIPPED) for scan in page.shards[0].scans])
    address = f"/v1/batches/{key.batch}/scans/{page.shards[0].scans[0].id}/picture"
    reply = get(bench, address)
    if media_type is None:
        assert (reply.status_code, reply.json["code"]) == (404, Code.NOT_FOUND)
    else:
        assert (reply.data, reply.content_type) == (content, media_type)
        assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert get(bench, address.replace(page.shards[0].scans[0].id, page.shards[0].scans[1].id)).status_code == 404


def test_networks_are_listed_with_their_cards(bench: Bench) -> None:
    reply = get(bench, "/v1/models")
    shipped = registry.networks()
    assert [item["name"] for item in reply.json["items"]] == list(shipped)
    for item in reply.json["items"]:
        assert item["sha256"] == shipped[item["name"]].sha256
        card = shipped[item["name"]].card
        assert item["card"] == (card.read_text(encoding="utf-8") if card.is_file() else "")
