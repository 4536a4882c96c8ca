"""Recovery, on a real store and a real Redis: one look is enough to go on from any point."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from neurobatch.errors import Unavailable
from neurobatch.records import BatchState, Counts, ScanState
from storage import keys, names
from storage.bells import Bells
from storage.broker import connect
from storage.endings import line_of
from storage.leases import Leases
from storage.names import BatchKey, new_batch_id
from storage.progress import Progress
from storage.ringing import Ringer
from storage.status import StatusReader
from tests.pipeline.inputs import picture, ramp
from tests.servers.processes import free_ports
from tests.worker.planned import NOW, Bench
from worker.holding import held, plan_lease, settle_lease
from worker.pages import PageLimits
from worker.recovery import LEASE, Recovery
from worker.telling import rebuild

PNG = picture(ramp().astype(np.uint8))
LIMITS = PageLimits(scans=6, shard_scans=2)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, limits=LIMITS)
    for number in range(10):
        bench.write(f"{number}.png", PNG)
    return bench


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return connect(redis_url)


@pytest.fixture
def recovery(bench: Bench, client: "redis.Redis", redis_url: str) -> Iterator[Recovery]:
    ringer = Ringer(redis_url, Bells(client, grace=0))
    yield Recovery(
        ledger=bench.ledger, leases=Leases(client), progress=Progress(client), ringer=ringer, holder="me",
        seconds=0.05, clock=lambda: NOW,
    )  # fmt: skip
    ringer.close()


def commit(bench: Bench, key: BatchKey, *shards: int) -> None:
    """Commit shards as a worker would."""
    for page in bench.pages(key):
        for shard in page.shards:
            if shard.number in shards:
                results = [line_of(scan, state=ScanState.SUCCEEDED) for scan in shard.scans]
                bench.ledger.commit(key, shard.number, results)


def rung(recovery: Recovery) -> list[tuple[str, int]]:
    return [(task, number) for task, _, number in recovery.look().rung]


def test_a_batch_whose_first_bell_was_lost_is_planned(bench: Bench, recovery: Recovery) -> None:
    bench.accept()
    assert rung(recovery) == [("plan", 0)]


def test_a_plan_that_stopped_half_way_goes_on_and_its_shards_are_worked_on(bench: Bench, recovery: Recovery) -> None:
    key = bench.accept()
    bench.planner().step(key)
    assert rung(recovery) == [("shard", 0), ("shard", 1), ("shard", 2), ("plan", 1)]


def test_what_waits_never_collects_bells(bench: Bench, recovery: Recovery, client: "redis.Redis") -> None:
    key = bench.accept()
    bench.planner().step(key)
    recovery.look()
    for _ in range(5):
        assert rung(recovery) == []
    assert (client.llen("normal"), client.llen("normal-early")) == (3, 1)


def test_what_is_worked_on_is_not_rung(bench: Bench, recovery: Recovery, client: "redis.Redis") -> None:
    key = bench.accept()
    bench.planner().step(key)
    leases = Leases(client)
    leases.take(keys.shard_lease(key, 1), "other")
    leases.take(plan_lease(key), "other")
    assert rung(recovery) == [("shard", 0), ("shard", 2)]


def test_a_lost_bell_is_rung_again(bench: Bench, recovery: Recovery, client: "redis.Redis") -> None:
    bench.accept()
    recovery.look()
    client.delete("normal-early")
    assert rung(recovery) == [("plan", 0)]


def test_the_queue_is_the_one_that_the_batch_asked_for(bench: Bench, recovery: Recovery, client: "redis.Redis") -> None:
    bench.accept(queue="bulk")
    recovery.look()
    assert (client.llen("bulk-early"), client.llen("normal-early")) == (1, 0)


def test_a_wiped_redis_is_filled_again_and_shows_nothing_wrong(
    bench: Bench, recovery: Recovery, client: "redis.Redis"
) -> None:
    key = bench.accept()
    bench.plan(key)
    commit(bench, key, 0, 2)
    recovery.look()
    client.flushall()
    assert recovery.progress.read(key) is None
    look = recovery.look()
    assert [number for _, _, number in look.rung] == [1, 1000, 1001]
    assert look.recounted == 1
    now = recovery.progress.read(key)
    assert now is not None
    assert (now.planned, now.scans, now.counts) == (True, 10, Counts(succeeded=4))


def test_counts_that_were_lost_between_commit_and_telling_are_made_good(bench: Bench, recovery: Recovery) -> None:
    key = bench.accept()
    rebuild(bench.ledger, recovery.progress, key)
    bench.planner().step(key)  # and died before it told
    recovery.look()
    now = recovery.progress.read(key)
    assert now is not None
    assert (now.begun, now.scans) == (True, 6)
    bench.plan(key)  # its end is not told either
    commit(bench, key, 0, 1)
    for _ in range(2):
        recovery.look()
    now = recovery.progress.read(key)
    assert now is not None
    assert now.planned


def test_a_batch_whose_shards_are_all_done_is_finalised(
    bench: Bench, recovery: Recovery, client: "redis.Redis"
) -> None:
    key = bench.accept()
    bench.plan(key)
    commit(bench, key, 0, 1, 2, 1000, 1001)
    with held(Leases(client), settle_lease(key), "other", 5.0):
        assert rung(recovery) == []
    assert rung(recovery) == [("settle", 0)]


def test_wishes_are_fulfilled_by_the_look_itself(bench: Bench, recovery: Recovery, client: "redis.Redis") -> None:
    cancelled, deleted = bench.accept(), bench.accept()
    for key in (cancelled, deleted):
        bench.plan(key)
        commit(bench, key, 1)
        rebuild(bench.ledger, recovery.progress, key)
    bench.ledger.wish_cancel(cancelled, NOW)
    bench.ledger.wish_delete(deleted)
    assert rung(recovery) == []
    end = bench.ledger.end(cancelled)
    assert end is not None
    assert (end.state, end.counts) == (BatchState.CANCELLED, Counts(succeeded=2, cancelled=8))
    assert 0 < client.ttl(keys.progress(cancelled)) <= keys.FINISHED_SECONDS
    assert list(bench.ledger.objects.list(deleted.prefix)) == []
    assert list(bench.ledger.opened()) == []


def test_an_upload_that_never_came_is_closed_after_a_day(bench: Bench, recovery: Recovery) -> None:
    key = BatchKey("t", new_batch_id())
    bench.ledger.open(key)
    (opened,) = bench.ledger.opened()
    for moment, ended in ((opened.since + timedelta(hours=23), False), (opened.since + timedelta(hours=25), True)):
        object.__setattr__(recovery, "clock", lambda moment=moment: moment)
        recovery.look()
        assert (bench.ledger.end(key) is not None) is ended


def test_a_damaged_batch_stops_no_other(bench: Bench, recovery: Recovery) -> None:
    broken, sound = bench.accept(), bench.accept()
    bench.ledger.objects.put(names.batch(broken), b"{not a record")
    look = recovery.look()
    assert (look.broken, look.rung) == ([broken.batch], [("plan", sound.batch, 0)])


def test_one_worker_looks_at_a_time_and_another_takes_over(
    bench: Bench, recovery: Recovery, client: "redis.Redis"
) -> None:
    leases = Leases(client)
    assert leases.take(LEASE, "other", 1.0)
    bench.accept()
    stop = threading.Event()
    thread = threading.Thread(target=recovery.run, args=(stop,))
    thread.start()
    time.sleep(0.5)
    assert client.llen("normal-early") == 0
    until = time.monotonic() + 10
    while client.llen("normal-early") == 0 and time.monotonic() < until:
        time.sleep(0.05)
    stop.set()
    thread.join()
    assert client.llen("normal-early") == 1
    assert leases.holder(LEASE) is None


def test_a_broker_that_is_away_ends_no_recovery(bench: Bench, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    client = connect(url)
    recovery = Recovery(
        ledger=bench.ledger, leases=Leases(client), progress=Progress(client), ringer=Ringer.of(url), holder="me",
        seconds=0.05,
    )  # fmt: skip
    bench.accept()
    with pytest.raises(Unavailable):
        recovery.look()
    stop = threading.Event()
    thread = threading.Thread(target=recovery.run, args=(stop,))
    thread.start()
    time.sleep(0.5)
    alive = thread.is_alive()
    stop.set()
    thread.join()
    assert alive


def test_no_status_is_wrong_while_redis_is_empty(bench: Bench, recovery: Recovery, client: "redis.Redis") -> None:
    key = bench.accept()
    bench.plan(key)
    commit(bench, key, 0, 1)
    recovery.look()
    reader = StatusReader(bench.ledger, recovery.progress)
    told: list[Any] = [reader.read(key)]
    client.flushall()
    told.append(reader.read(key))
    recovery.look()
    told.append(reader.read(key))
    assert told[0] == told[1] == told[2]
    assert told[0].counts == Counts(succeeded=4)


def test_a_lease_that_is_held_outlives_its_time_and_a_wiped_redis(client: "redis.Redis") -> None:
    leases = Leases(client)
    with held(leases, "plan/t/b", "me", 0.6) as mine:
        assert mine
        time.sleep(1.0)
        assert leases.holder("plan/t/b") == "me"
        client.flushall()
        time.sleep(0.5)
        assert leases.holder("plan/t/b") == "me"
        with held(leases, "plan/t/b", "other", 0.6) as others:
            assert not others
    assert leases.holder("plan/t/b") is None
