from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import listings
from neurobatch.codes import DISCLAIMER, Code
from neurobatch.records import BatchState, Options, Status
from storage import endings
from storage.ledger import Ledger
from storage.memory import Memory
from tests.api.wired import NOW, Bench


def get(bench: Bench, path: str, **headers: str) -> Any:
    return bench.client.get(f"/v1/batches{path}", headers=headers)


def walk(bench: Bench, path: str, limit: int) -> list[Any]:
    """All items of a list, page by page."""
    items: list[Any] = []
    cursor: Any = ""
    pages = 0
    while cursor is not None:
        joint = "&" if "?" in path else "?"
        page = get(bench, f"{path}{joint}limit={limit}" + (f"&cursor={cursor}" if cursor else "")).json
        assert len(page["items"]) <= limit
        items += page["items"]
        cursor, pages = page["next"], pages + 1
        assert pages < 1000
    return items


def test_a_status_is_the_record_and_names_the_disclaimer(bench: Bench) -> None:
    key = bench.submitted()
    bench.finished(key)
    reply = get(bench, f"/{key.batch}")
    status = Status.model_validate(reply.json)
    assert (status.state, status.scans, status.left_out) == (BatchState.COMPLETED, 10, 1)
    assert (status.counts.succeeded, status.counts.failed, status.counts.tumour) == (9, 1, 3)
    assert status.disclaimer == DISCLAIMER


def test_who_asks_again_is_told_that_nothing_changed(bench: Bench) -> None:
    key = bench.submitted()
    first = get(bench, f"/{key.batch}")
    again = get(bench, f"/{key.batch}", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    bench.plan_page(key, 0, 1, 3)
    changed = get(bench, f"/{key.batch}", **{"If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, changed.json["scans"]) == (200, 3)


def test_batches_are_listed_newest_first_page_by_page(bench: Bench) -> None:
    keys = [bench.submitted() for _ in range(7)]
    for limit in (1, 2, 3, 7, 50):
        assert [item["id"] for item in walk(bench, "", limit)] == [key.batch for key in reversed(keys)]


def test_what_is_still_being_handed_over_or_deleted_is_not_listed(bench: Bench) -> None:
    kept, deleted = bench.submitted(), bench.submitted()
    bench.services.intake.delete(deleted)
    with bench.services.intake.begin("local") as handover:
        handover.upload("a.png", [b"x"])
        assert [item["id"] for item in get(bench, "").json["items"]] == [kept.batch]


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.integers(0, 1 << 41), unique=True, max_size=12),
    take=st.integers(1, 12),
)
def test_newest_first_holds_for_any_spread_of_times(times: list[int], take: int) -> None:
    ledger = Ledger(Memory())
    made = sorted(f"{t:012x}"[:8] + "-" + f"{t:012x}"[8:] + "-7000-8000-000000000000" for t in times)
    for batch in made:
        ledger.objects.put(f"tenants/local/batches/{batch}/inputs/0", b"")
        ledger.objects.put(f"tenants/local/batches/{batch}/inputs/1", b"")
    found: list[str] = []
    while True:
        page = listings.newest_batches(ledger, "local", found[-1] if found else None)
        some = [batch for batch, _ in zip(page, range(take), strict=False)]
        if not some:
            break
        found += some
    assert found == made[::-1]


def test_a_cursor_that_was_not_given_out_is_refused(bench: Bench) -> None:
    key = bench.submitted()
    for path in ("?cursor=x", f"/{key.batch}/scans?cursor=1", f"/{key.batch}/left-out?cursor=a-b"):
        assert get(bench, path).json["code"] in (Code.INVALID_FIELD, Code.NOT_FOUND)
    for path in ("?limit=0", "?limit=1001", "?limit=x", "?nonsense=1", f"/{key.batch}/scans?state=odd"):
        reply = get(bench, path)
        assert (reply.status_code, reply.json["code"]) == (422, Code.INVALID_FIELD)
        assert reply.json["errors"][0]["pointer"].startswith("/")


def test_cancelling_answers_202_and_status_says_so(bench: Bench) -> None:
    key = bench.submitted()
    reply: Any = bench.client.post(f"/v1/batches/{key.batch}/cancel")
    assert (reply.status_code, reply.json["cancelling"], reply.json["state"]) == (202, True, "accepted")
    assert bench.bells.bells[-1] == ("settle", key.batch, "normal")
    endings.cancel(bench.ledger, key, NOW)
    assert get(bench, f"/{key.batch}").json["state"] == "cancelled"
    assert bench.client.post(f"/v1/batches/{key.batch}/cancel").status_code == 202


def test_a_completed_batch_cannot_be_cancelled(bench: Bench) -> None:
    key = bench.submitted()
    bench.finished(key)
    reply: Any = bench.client.post(f"/v1/batches/{key.batch}/cancel")
    assert (reply.status_code, reply.json["code"]) == (409, Code.ALREADY_FINISHED)


def test_a_deleted_batch_is_gone_then_unknown_at_every_address(bench: Bench) -> None:
    key = bench.submitted()
    bench.finished(key)
    assert bench.client.delete(f"/v1/batches/{key.batch}").status_code == 202
    paths = ("", "/scans", "/left-out", "/results.csv", "/results.jsonl", "/results.zip")
    assert {get(bench, f"/{key.batch}{path}").json["code"] for path in paths} == {Code.GONE}
    assert bench.client.delete(f"/v1/batches/{key.batch}").status_code == 202
    endings.delete(bench.ledger, key, NOW)
    assert {get(bench, f"/{key.batch}{path}").status_code for path in paths} == {404}
    assert bench.client.delete(f"/v1/batches/{key.batch}").status_code == 404


@pytest.mark.parametrize("batch", ["x", "01a2109d-7591-7682-a12c-d9dd2e6af357", "..", "%2e%2e", "a" * 5000])
def test_an_unknown_batch_is_not_found(bench: Bench, batch: str) -> None:
    for path in ("", "/scans", "/left-out", "/results.csv"):
        reply = get(bench, f"/{batch}{path}")
        assert (reply.status_code, reply.content_type) == (404, "application/problem+json")


def test_scans_are_listed_in_plan_order_while_the_batch_runs(bench: Bench) -> None:
    key = bench.submitted()
    page = bench.plan_page(key, 0, shards=3, per_shard=4)
    bench.work(key, page, 1)
    states = [scan["state"] for scan in walk(bench, f"/{key.batch}/scans", 5)]
    assert states == ["pending"] * 4 + ["succeeded"] * 2 + ["failed", "succeeded"] + ["pending"] * 4
    pending = walk(bench, f"/{key.batch}/scans?state=pending", 3)
    assert len(pending) == 8
    assert pending[0]["finding"] is None
    assert pending[0]["path"] == "Ordner/Снимок 0.png"


@pytest.mark.parametrize("limit", [1, 3, 10, 1000])
def test_every_scan_is_listed_once_and_filters_keep_what_they_say(bench: Bench, limit: int) -> None:
    key = bench.submitted()
    for number in range(3):
        page = bench.plan_page(key, number, shards=2, per_shard=5)
        for shard in range(2):
            bench.work(key, page, shard)
    bench.end_plan(key, 3)
    bench.finish(key)
    every = walk(bench, f"/{key.batch}/scans", limit)
    assert [int(scan["scan"].split("-")[0]) for scan in every] == [
        number * 1000 + place for number in range(3) for place in range(10)
    ]
    tumours = walk(bench, f"/{key.batch}/scans?finding=tumour", limit)
    assert tumours == [scan for scan in every if scan["finding"] and scan["finding"]["label"] == "tumour"]
    failed = walk(bench, f"/{key.batch}/scans?state=failed", limit)
    assert failed == [scan for scan in every if scan["code"] == "damaged"]
    assert failed
    assert tumours


def test_a_filter_that_matches_little_costs_a_bounded_number_of_shards(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "SHARDS_AT_ONCE", 2)
    key = bench.submitted()
    page = bench.plan_page(key, 0, shards=5, per_shard=3)
    bench.work(key, page, 4)
    first = get(bench, f"/{key.batch}/scans?finding=tumour").json
    assert (first["items"], first["next"]) == ([], "0-2-0")
    assert len(walk(bench, f"/{key.batch}/scans?finding=tumour", 50)) == 1


def test_pages_that_cancelling_cut_off_are_not_shown(bench: Bench) -> None:
    key = bench.submitted()
    bench.plan_page(key, 0, 1, 2)
    bench.end_plan(key, 1)
    bench.plan_page(key, 1, 1, 2)
    assert len(walk(bench, f"/{key.batch}/scans", 50)) == 2


def test_left_out_files_are_listed_with_their_codes(bench: Bench) -> None:
    key = bench.submitted()
    paths = [tuple(f"{number}/{n}.txt" for n in range(number * 2)) for number in range(4)]
    for number, left in enumerate(paths):
        bench.plan_page(key, number, 1, 1, left_out=left)
    for limit in (1, 2, 3, 5, 100):
        found = walk(bench, f"/{key.batch}/left-out", limit)
        assert [line["path"] for line in found] == [path for left in paths for path in left]
    assert {line["code"] for line in found} == {"not_a_scan"}


def test_one_scan_is_found_by_its_id(bench: Bench) -> None:
    key = bench.submitted()
    page = bench.plan_page(key, 0, shards=2, per_shard=2)
    results = bench.work(key, page, 1)
    found = get(bench, f"/{key.batch}/scans/{results[1].scan}").json
    assert (found["scan"], found["state"]) == (results[1].scan, "succeeded")
    assert get(bench, f"/{key.batch}/scans/{page.shards[0].scans[0].id}").json["state"] == "pending"
    for unknown in ("000000000-000000000000", "000009000-000000000000", "x", "9" * 40 + "-" + "0" * 12):
        assert get(bench, f"/{key.batch}/scans/{unknown}").json["code"] == Code.NOT_FOUND


def test_tenants_do_not_see_each_other(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(tokens={"mine": "m" * 16, "yours": "y" * 16})
    key = bench.submitted(tenant="mine")
    bench.finished(key)
    scan = walk_as(bench, "m", f"/{key.batch}/scans").json["items"][0]["scan"]
    for path in ("", "/scans", "/left-out", "/results.zip", f"/scans/{scan}", f"/scans/{scan}/artifacts/mask.png"):
        assert walk_as(bench, "m", f"/{key.batch}{path}").status_code == 200
        assert walk_as(bench, "y", f"/{key.batch}{path}").json["code"] == Code.NOT_FOUND
        assert get(bench, f"/{key.batch}{path}").json["code"] == Code.UNAUTHORISED
    assert walk_as(bench, "y", "").json["items"] == []
    for call in (bench.client.delete, bench.client.post):
        path = f"/v1/batches/{key.batch}" + ("/cancel" if call == bench.client.post else "")
        assert call(path, headers={"Authorization": f"Bearer {'y' * 16}"}).status_code == 404
    assert len(walk_as(bench, "m", "").json["items"]) == 1


def walk_as(bench: Bench, letter: str, path: str) -> Any:
    return get(bench, path, Authorization=f"Bearer {letter * 16}")


def test_a_batch_keeps_what_was_asked_of_it(bench: Bench) -> None:
    with bench.services.intake.begin("local") as handover:
        from api.intake import Wish

        handover.upload("a", [b"x"])
        batch = handover.accept(Wish(options=Options(queue="bulk"), expires=NOW + timedelta(days=9999)))
    assert bench.bells.bells == [("plan", batch.id, "bulk")]
