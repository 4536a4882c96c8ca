"""Copies in shards, over a real store, a real Redis and real processes: judged once, told whole, nobody's loss."""

import hashlib
import io
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from neurobatch.codes import Code
from neurobatch.records import DuplicateLine, End, Result, load_lines
from neurobatch.settings import MIB, Settings
from storage import names
from storage.endings import delete, finalise
from storage.folder import Folder
from storage.ledger import Ledger
from storage.names import BatchKey
from tests.worker.flows import POISON
from tests.worker.test_shards import NOW, PIN, WEIGHTS, Bench, begin, plan, wait_for
from worker.shards import Shards
from worker.sources import SourcesConfig
from worker.supervisor import Stages, Supervisor

COPIES = 10


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, decoders=2, device_batch=4, arena=16 * MIB, lease_seconds=1.0)
    ledger = Ledger(Folder(home / "store"))
    ledger.objects.put(names.model(PIN.sha256), WEIGHTS)
    stages = Stages(load="tests.worker.flows:loader", context_settings=SourcesConfig.of(settings))
    with Supervisor(settings, stages) as supervisor:
        yield Bench(ledger=ledger, supervisor=supervisor, settings=settings, home=home)


@pytest.fixture
def fresh(bench: Bench) -> Bench:
    """Nothing can be taken over."""
    bench.ledger.objects.delete([stored.name for stored in bench.ledger.objects.list("reuse/")])
    return bench


def picture(grey: int) -> bytes:
    """A picture that shows something; its corner is of this grey."""
    pixels = np.random.default_rng(grey).integers(40, 220, (64, 64), np.uint8)
    pixels[:8, :8] = grey
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def copies(*greys: int) -> list[bytes]:
    return [picture(grey) for _ in range(COPIES) for grey in greys]


def run(bench: Bench, url: str, shards: Sequence[Sequence[bytes]], *, reuse: bool = True) -> BatchKey:
    """Judge a batch, its shards at once, and finalise it."""
    key = plan(bench.ledger, shards)
    with_setting = Bench(
        ledger=bench.ledger,
        supervisor=bench.supervisor,
        settings=bench.settings.model_copy(update={"reuse": reuse}),
        home=bench.home,
    )
    running = Shards(with_setting.desk(url))
    with ThreadPoolExecutor(len(shards)) as pool:
        list(pool.map(running.run, [key] * len(shards), range(len(shards))))
    running.close()
    assert finalise(bench.ledger, key, NOW) is not None
    return key


def end_of(ledger: Ledger, key: BatchKey) -> End:
    end = ledger.end(key)
    assert end is not None
    return end


def results_of(ledger: Ledger, key: BatchKey) -> bytes:
    named = end_of(ledger, key).results
    assert named is not None
    return ledger.objects.get(key.prefix + named.name)


def whole(ledger: Ledger, key: BatchKey) -> bool:
    """Whether every artifact that a result names is there, as it was named."""
    for result in load_lines(Result, results_of(ledger, key)):
        digest = names.result_digest(result.artifacts)
        for artifact in result.artifacts:
            held = ledger.objects.get(names.artifact(key, result.scan, digest, artifact.name))
            if hashlib.sha256(held).hexdigest() != artifact.sha256:
                return False
    return True


def test_copies_in_shards_that_run_at_once_are_judged_once_and_told_where_the_batch_ends(
    fresh: Bench, valkey_url: str
) -> None:
    before = fresh.supervisor.pulse().slices
    key = run(fresh, valkey_url, [copies(1, 2), copies(2, 3)])
    assert fresh.supervisor.pulse().slices - before == 3
    end = end_of(fresh.ledger, key)
    assert end.counts.succeeded == 4 * COPIES
    assert end.reused == 4 * COPIES - 3
    assert end.duplicates is not None
    lines = list(load_lines(DuplicateLine, fresh.ledger.objects.get(key.prefix + end.duplicates.name)))
    assert len(lines) == 4 * COPIES - 3
    assert {line.first_path for line in lines} == {"0.txt", "1.txt", f"{2 * COPIES + 1}.txt"}
    alone = run(fresh, valkey_url, [copies(1, 2), copies(2, 3)], reuse=False)
    assert results_of(fresh.ledger, key) == results_of(fresh.ledger, alone)


def test_a_batch_sent_again_asks_no_network_and_stays_whole_when_the_first_is_deleted(
    fresh: Bench, valkey_url: str
) -> None:
    scans = [picture(grey) for grey in range(1, 30)]
    first = run(fresh, valkey_url, [scans])
    expected = results_of(fresh.ledger, first)
    before = fresh.supervisor.pulse().slices
    again = run(fresh, valkey_url, [scans])
    assert fresh.supervisor.pulse().slices == before
    assert (end_of(fresh.ledger, first).reused, end_of(fresh.ledger, again).reused) == (0, len(scans))
    delete(fresh.ledger, first, NOW)
    assert results_of(fresh.ledger, again) == expected
    assert whole(fresh.ledger, again)
    third = run(fresh, valkey_url, [scans])
    assert end_of(fresh.ledger, third).reused == 0
    assert results_of(fresh.ledger, third) == expected


def test_children_that_die_over_copies_lose_none_and_keep_nobody_waiting(fresh: Bench, valkey_url: str) -> None:
    scans = [*copies(*range(101, 105)), *(picture(grey) for grey in range(110, 130))]
    key = plan(fresh.ledger, [scans])
    before = fresh.supervisor.pulse().done
    thread = begin(Shards(fresh.desk(valkey_url)), key)
    wait_for(lambda: fresh.supervisor.pulse().done > before or not thread.is_alive())
    decoders, network = fresh.supervisor.pids()
    for pid in (*decoders[:1], *([network] if network is not None else [])):
        os.kill(pid, signal.SIGKILL)
    thread.join()
    finalise(fresh.ledger, key, NOW)
    assert end_of(fresh.ledger, key).counts.succeeded == len(scans)
    assert results_of(fresh.ledger, key) == results_of(fresh.ledger, run(fresh, valkey_url, [scans], reuse=False))


def test_a_scan_that_failed_is_tried_again_by_each_of_its_copies(fresh: Bench, valkey_url: str) -> None:
    scans = [picture(POISON), picture(9), picture(POISON), b"no picture", b"no picture"]
    key = run(fresh, valkey_url, [scans])
    codes = [result.code for result in load_lines(Result, results_of(fresh.ledger, key))]
    assert codes[:3] == [Code.CRASHED, None, Code.CRASHED]
    assert None not in codes[3:]
    end = end_of(fresh.ledger, key)
    assert (end.reused, end.duplicates) == (0, None)


def test_copies_of_a_cancelled_batch_hold_up_no_other(fresh: Bench, valkey_url: str) -> None:
    scans = copies(201, 202)
    cancelled = plan(fresh.ledger, [scans])
    stopped = Shards(fresh.desk(valkey_url))
    thread = begin(stopped, cancelled)
    stopped.stop(0.0)
    other = run(fresh, valkey_url, [scans])
    thread.join()
    assert end_of(fresh.ledger, other).counts.succeeded == len(scans)
