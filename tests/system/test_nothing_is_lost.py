"""Two workers share a batch over real Redis and real S3, and one is killed, Redis is wiped, the batch is cancelled.

Whatever is done to them, the results are those of an undisturbed run, byte for byte, and every scan has one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis

from neurobatch.client import Client
from neurobatch.display import FINAL
from neurobatch.records import BatchState, Options, Result, ScanState, Status, load_lines
from tests.system.compose import ENV, TOKEN, Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCANS = 300


@dataclass(frozen=True)
class Site:
    """Two workers, an API, Redis and S3, and a folder of scans to send there."""

    machine: Machine
    client: Client
    scans: Path

    def submit(self) -> str:
        """Hand the folder over."""
        return self.client.submit([self.scans], Options()).id

    def follow(self, batch: str, until: Callable[[Status], bool], seconds: float = 240) -> list[Status]:
        """Poll the status until it holds; every one that was seen is checked against those before."""
        seen: list[Status] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.client.status(batch)
            before = seen[-1] if seen else status
            assert status.counts.done >= before.counts.done, "counts went backwards"
            assert status.scans >= before.scans or status.state in FINAL
            assert status.counts.done <= status.scans
            seen.append(status)
            if until(status):
                return seen
            time.sleep(0.1)
        raise AssertionError(f"after {seconds:.0f} s: {seen[-1]}")

    def results(self, batch: str) -> bytes:
        """The batch's results.jsonl."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return (
            httpx.get(f"{self.machine.url}/v1/batches/{batch}/results.jsonl", headers=headers)
            .raise_for_status()
            .content
        )


def half_way(status: Status) -> bool:
    assert status.state not in FINAL, "the batch ended before it could be disturbed"
    return status.counts.done >= SCANS // 4


def ended(status: Status) -> bool:
    return status.state in FINAL


@pytest.fixture(scope="module")
def site(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    scans = tmp_path_factory.mktemp("scans") / "archive"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "neurobatch",
            "phantom",
            str(scans),
            "--count",
            str(SCANS),
            "--seed",
            "7",
            "--jobs",
            "2",
        ],
        check=True,
        timeout=300,
    )
    with Client(machine.url, TOKEN) as client:
        yield Site(machine, client, scans)


@pytest.fixture(scope="module")
def undisturbed(site: Site) -> tuple[bytes, float]:
    """What comes out if nothing happens, and the seconds that it takes."""
    began = time.monotonic()
    batch = site.submit()
    last = site.follow(batch, ended)[-1]
    assert last.state is BatchState.COMPLETED
    assert last.counts.succeeded == last.scans == SCANS
    return site.results(batch), time.monotonic() - began


def test_a_killed_worker_loses_no_scan(site: Site, undisturbed: tuple[bytes, float]) -> None:
    expected, seconds = undisturbed
    began = time.monotonic()
    batch = site.submit()
    site.follow(batch, half_way)
    victim = site.machine.workers[0]
    os.killpg(victim.pid, signal.SIGKILL)
    try:
        assert site.follow(batch, ended)[-1].state is BatchState.COMPLETED
        assert time.monotonic() - began < seconds + 60
        results = site.results(batch)
        assert len(results.splitlines()) == SCANS
        assert results == expected
    finally:
        with_worker = site.machine.restart_worker(0)
        assert with_worker.poll() is None


def test_a_wiped_redis_loses_nothing_and_shows_nothing_wrong(site: Site, undisturbed: tuple[bytes, float]) -> None:
    expected, seconds = undisturbed
    began = time.monotonic()
    batch = site.submit()
    site.follow(batch, half_way)
    port = site.machine.places["redis:6379"]
    with redis.Redis(host="127.0.0.1", port=port, password=ENV["REDIS_PASSWORD"]) as broker:
        broker.flushall()
    wiped = time.monotonic()
    before = site.client.status(batch).counts.done
    site.follow(batch, lambda status: status.counts.done > before or ended(status), seconds=30)
    assert time.monotonic() - wiped < 30
    assert site.follow(batch, ended)[-1].state is BatchState.COMPLETED
    assert time.monotonic() - began < seconds + 60
    assert site.results(batch) == expected


def test_cancelling_while_both_workers_commit_leaves_every_scan_done_or_cancelled(
    site: Site, undisturbed: tuple[bytes, float]
) -> None:
    expected = {result.scan: result for result in load_lines(Result, undisturbed[0])}
    batch = site.submit()
    site.follow(batch, half_way)
    site.client.cancel(batch)
    last = site.follow(batch, ended, seconds=60)[-1]
    assert last.state is BatchState.CANCELLED
    results = list(load_lines(Result, site.results(batch)))
    done = [result for result in results if result.state is not ScanState.CANCELLED]
    assert len(results) == last.scans == last.counts.done
    assert len(done) == last.counts.succeeded + last.counts.failed
    assert last.counts.cancelled == len(results) - len(done) > 0
    assert all(expected[result.scan] == result for result in done)
    shown = list(site.client.results(batch))
    assert [result.scan for result in shown] == [result.scan for result in results]
    assert json.loads(json.dumps([result.state for result in shown])) == [result.state for result in results]
