"""What a worker does when it hears a bell, on a real store and a real Redis."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis

from neurobatch.codes import Code
from neurobatch.errors import Unavailable
from neurobatch.records import BatchState, RootSource, ScanState
from storage.bells import Bells
from storage.broker import connect
from storage.endings import line_of
from storage.leases import Leases
from storage.names import BatchKey, new_batch_id
from storage.progress import Progress
from storage.ringing import Ringer
from tests.pipeline.inputs import picture, ramp
from tests.worker.planned import NOW, Bench
from worker.hearing import Activity, Hearing
from worker.holding import plan_lease
from worker.pages import PageLimits
from worker.shards import Shards

PNG = picture(ramp().astype(np.uint8))


class Shelf:
    """Stands where `Shards` does, for bells on shards: notes what it was asked to run."""

    def __init__(self) -> None:
        self.ran: list[int] = []

    def run(self, key: BatchKey, number: int) -> None:
        self.ran.append(number)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, limits=PageLimits(scans=4, shard_scans=2))
    for number in range(6):
        bench.write(f"Jane Doe {number}.png", PNG)
    return bench


@pytest.fixture
def client(valkey_url: str) -> "redis.Redis":
    return connect(valkey_url)


@pytest.fixture
def hearing(bench: Bench, client: "redis.Redis", valkey_url: str) -> Iterator[Hearing]:
    bells = Bells(client)
    ringer = Ringer(valkey_url, bells)
    yield Hearing(
        ledger=bench.ledger, bells=bells, leases=Leases(client), progress=Progress(client), ringer=ringer,
        planner=bench.planner(), shards=cast(Shards, Shelf()), activity=Activity(), stopping=threading.Event(),
        holder="me", lease_seconds=5.0,
    )  # fmt: skip
    ringer.close()


def waits(hearing: Hearing, task: str, key: BatchKey, number: int = 0) -> bool:
    return hearing.bells.waiting(task, key, number)


def test_a_plan_bell_commits_one_page_and_rings_on(bench: Bench, hearing: Hearing, client: "redis.Redis") -> None:
    key = bench.accept()
    hearing.plan(key, 0)
    assert len(bench.pages(key)) == 1
    assert [waits(hearing, "shard", key, number) for number in (0, 1, 2)] == [True, True, False]
    assert waits(hearing, "plan", key, 1)
    assert (client.llen("normal"), client.llen("normal-early")) == (2, 1)
    now = hearing.progress.read(key)
    assert now is not None
    assert (now.begun, now.planned, now.scans) == (True, False, 4)
    hearing.plan(key, 1)
    now = hearing.progress.read(key)
    assert now is not None
    assert (now.planned, now.scans) == (True, 6)
    assert bench.ledger.plan_end(key) is not None
    assert not waits(hearing, "settle", key)


def test_a_plan_without_a_scan_is_settled_at_once(bench: Bench, hearing: Hearing) -> None:
    (bench.root / "none").mkdir()
    key = bench.accept(RootSource(root="r", path="none"))
    hearing.plan(key, 0)
    assert waits(hearing, "settle", key)
    hearing.settle(key)
    end = bench.ledger.end(key)
    assert end is not None
    assert (end.state, end.warnings) == (BatchState.COMPLETED, (Code.NO_SCANS,))


def test_a_plan_whose_shards_were_faster_is_settled(bench: Bench, hearing: Hearing) -> None:
    key = bench.accept()
    hearing.plan(key, 0)
    bench.planner().step(key)
    for page in bench.pages(key):
        for shard in page.shards:
            bench.ledger.commit(key, shard.number, [line_of(s, state=ScanState.SUCCEEDED) for s in shard.scans])
    hearing.progress.forget(key)  # nothing but the store tells
    hearing.plan(key, 1)
    assert waits(hearing, "settle", key)


def test_a_bell_for_what_another_plans_is_dropped(bench: Bench, hearing: Hearing, client: "redis.Redis") -> None:
    key = bench.accept()
    Leases(client).take(plan_lease(key), "other")
    hearing.plan(key, 0)
    assert bench.pages(key) == []
    assert (client.llen("normal"), client.llen("normal-early")) == (0, 0)


def test_a_wish_is_handed_to_settling_and_fulfilled(bench: Bench, hearing: Hearing) -> None:
    key = bench.accept()
    hearing.plan(key, 0)
    bench.ledger.wish_cancel(key, NOW)
    hearing.plan(key, 1)
    assert waits(hearing, "settle", key)
    hearing.settle(key)
    end = bench.ledger.end(key)
    assert end is not None
    assert (end.state, end.counts.cancelled) == (BatchState.CANCELLED, 4)
    bench.ledger.wish_delete(key)
    hearing.settle(key)
    assert list(bench.ledger.objects.list(key.prefix)) == []
    assert hearing.progress.read(key) is None


def test_a_settle_bell_may_ring_again_while_settling_reads(bench: Bench, hearing: Hearing) -> None:
    key = bench.accept()
    assert hearing.ringer.ring("settle", key, 0, "normal")
    hearing.settle(key)
    assert bench.ledger.end(key) is None
    assert hearing.ringer.ring("settle", key, 0, "normal")


def test_a_batch_that_is_gone_disturbs_nobody(bench: Bench, hearing: Hearing, client: "redis.Redis") -> None:
    key = BatchKey("t", new_batch_id())
    hearing.plan(key, 0)
    hearing.settle(key)
    assert (client.llen("normal"), client.llen("normal-early")) == (0, 0)


@pytest.mark.parametrize("error", [Unavailable(Code.STORE_UNAVAILABLE, "no answer"), RuntimeError("Jane Doe 1.png")])
def test_what_fails_is_logged_by_code_and_place_and_left_to_recovery(
    bench: Bench, hearing: Hearing, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    key = bench.accept()

    def fails(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        raise error

    troubled = replace(hearing, planner=bench.planner(call=fails))
    with caplog.at_level(logging.DEBUG):
        troubled.plan(key, 0)
    assert "bell_" in caplog.text
    assert "Jane" not in caplog.text
    assert troubled.activity.running == 0
    assert hearing.leases.holder(plan_lease(key)) is None


def test_nothing_is_logged_of_a_files_name(bench: Bench, hearing: Hearing, caplog: pytest.LogCaptureFixture) -> None:
    bench.write("Jane Doe.zip", b"PK\x03\x04 damaged")
    key = bench.accept()
    with caplog.at_level(logging.DEBUG):
        hearing.plan(key, 0)
        hearing.plan(key, 1)
        hearing.settle(key)
    assert "Jane" not in caplog.text


def test_a_worker_that_stops_rings_for_what_it_hands_back(
    bench: Bench, hearing: Hearing, client: "redis.Redis"
) -> None:
    key = bench.accept()
    hearing.plan(key, 0)
    hearing.shard(key, 0)
    assert cast(Shelf, hearing.shards).ran == [0]
    before = client.llen("normal")
    hearing.stopping.set()
    hearing.shard(key, 1)
    assert client.llen("normal") == before + 1
