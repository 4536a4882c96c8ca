"""Shards on a real store, a real Redis and real processes: one line for each scan, whatever happens."""

import functools
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from neurobatch.codes import Code
from neurobatch.errors import Broken, Unavailable
from neurobatch.records import (
    Batch,
    Counts,
    Cursor,
    FileRef,
    ModelPin,
    Page,
    PlanEnd,
    PlannedScan,
    PlanStart,
    ScanKind,
    ScanState,
    Shard,
    UploadSource,
)
from neurobatch.settings import MIB, Settings
from storage import endings, keys, names
from storage.broker import connect
from storage.folder import Folder
from storage.leases import Leases
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.progress import Progress, Whole
from tests.servers.redis import valkey
from tests.worker.flows import SIDE
from worker.shards import Desk, Shards
from worker.sources import SourcesConfig
from worker.supervisor import Stages, Supervisor
from worker.weights import Weights

WEIGHTS = b"the weights of a network"
PIN = ModelPin(
    name="classifier",
    kind="classifier",
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    profile="plain",
    size=SIDE,
    threshold=0.5,
    review_low=0.5,
    review_high=0.5,
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A worker's parts, around one store and one supervisor."""

    ledger: Ledger
    supervisor: Supervisor
    settings: Settings
    home: Path

    def desk(self, url: str, settle: Callable[[BatchKey], None] = lambda key: None) -> Desk:
        client = connect(url)
        return Desk(
            ledger=self.ledger,
            leases=Leases(client),
            progress=Progress(client),
            supervisor=self.supervisor,
            weights=Weights(self.ledger, self.home / "models"),
            settings=self.settings,
            holder="worker-1",
            settle=settle,
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, decoders=2, device_batch=4, arena=16 * MIB, scan_seconds=4.0, lease_seconds=1.0)
    ledger = Ledger(Folder(home / "store"))
    ledger.objects.put(names.model(PIN.sha256), WEIGHTS)
    stages = Stages(
        flow="tests.worker.judging:flow",
        context="tests.worker.judging:context",
        load="tests.worker.flows:loader",
        context_settings=SourcesConfig.of(settings),
    )
    with Supervisor(settings, stages) as supervisor:
        yield Bench(ledger=ledger, supervisor=supervisor, settings=settings, home=home)


def plan(
    ledger: Ledger, shards: Sequence[Sequence[str | bytes]], *, slices: int = 1, pin: ModelPin = PIN, ended: bool = True
) -> BatchKey:
    """A batch with one upload a scan, which is a text that says what its flow does, or the bytes of a picture."""
    key = BatchKey("local", names.new_batch_id())
    words = [word.encode() if isinstance(word, str) else word for shard in shards for word in shard]
    digests = [hashlib.sha256(word).hexdigest() for word in words]
    sources = tuple(
        UploadSource(number=number, name=f"{number}.txt", size=len(word), sha256=digest)
        for number, (word, digest) in enumerate(zip(words, digests, strict=True))
    )
    ledger.open(key)
    for number, word in enumerate(words):
        ledger.objects.put(names.upload(key, number), word)
    ledger.accept(Batch(id=key.batch, tenant=key.tenant, created=NOW, sources=sources))
    ledger.start_plan(key, PlanStart(models=(pin,), precision="float32", software="1"))
    scans = [
        PlannedScan(
            id=names.scan_id(number, number, f"{number}.txt", None, 0),
            kind=ScanKind.PICTURE,
            path=f"{number}.txt",
            files=(FileRef(source=number, size=len(word), stamp=digest),),
            slices=slices,
        )
        for number, (word, digest) in enumerate(zip(words, digests, strict=True))
    ]
    planned, first = [], 0
    for number, shard in enumerate(shards):
        planned.append(Shard(number=number, scans=tuple(scans[first : first + len(shard)])))
        first += len(shard)
    ledger.put_page(key, Page(number=0, shards=tuple(planned), cursor=Cursor(phase="done"), files=len(words)))
    if ended:
        ledger.end_plan(key, PlanEnd(pages=1))
    return key


def greys(first: int, count: int, word: str = "grey") -> list[str]:
    return [f"{word} {grey}" for grey in range(first, first + count)]


def ready(desk: Desk, key: BatchKey, scans: int) -> None:
    """Counts in Redis as a rebuild from the store leaves them: a plan that has ended, and nothing done."""
    token = desk.progress.begin_rebuild(key)
    whole = Whole(planned=True, begun=True, pages={0: (scans, 0)}, counts=Counts(), shards=())
    assert desk.progress.rebuild(key, token, whole)


def codes(ledger: Ledger, key: BatchKey, shard: int = 0) -> list[Code | None]:
    results = ledger.results(key, shard)
    assert results is not None
    return [result.code for result in results]


def attempts(ledger: Ledger, key: BatchKey, shard: int = 0) -> list[str]:
    prefix = f"{names.shards_prefix(key)}{shard}/attempt-"
    return [stored.name[len(prefix) :] for stored in ledger.objects.list(prefix)]


def begin(shards: Shards, key: BatchKey, number: int = 0) -> threading.Thread:
    thread = threading.Thread(target=shards.run, args=(key, number))
    thread.start()
    return thread


def _moved(bench: Bench, thread: threading.Thread, done: int) -> bool:
    return bench.supervisor.pulse().done > done or not thread.is_alive()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


# -- one line a scan -----------------------------------------------------------------------------------------------


def test_a_shard_is_committed_with_one_line_a_scan_in_plan_order(bench: Bench, valkey_url: str) -> None:
    desk = bench.desk(valkey_url)
    key = plan(bench.ledger, [greys(100, 60)])
    ready(desk, key, 60)
    Shards(desk).run(key, 0)
    results = bench.ledger.results(key, 0)
    page = bench.ledger.page(key, 0)
    assert results is not None
    assert page is not None
    assert [result.scan for result in results] == [scan.id for scan in page.shards[0].scans]
    assert all(result.state is ScanState.SUCCEEDED for result in results)
    found = [result.finding.probability for result in results if result.finding is not None]
    assert found == [round(grey / 255, 4) for grey in range(100, 160)]
    name = names.artifact(key, results[7].scan, names.result_digest(results[7].artifacts), "report.json")
    assert bench.ledger.objects.get(name) == b'{"grey": 107}'
    assert bench.ledger.objects.head(names.timing(key, 0, 1)) is not None
    now = desk.progress.read(key)
    assert now is not None
    assert now.counts == Counts.of(results)
    assert desk.leases.alive([keys.shard_lease(key, 0)]) == set()


def test_a_scan_that_cannot_be_judged_is_a_line_with_its_code(bench: Bench, valkey_url: str) -> None:
    key = plan(bench.ledger, [["grey 1", "kill", "refuse", "grey 2", "hang", "changed", "gone", "grey 3"]])
    bench.ledger.objects.put(names.upload(key, 5), b"another")
    bench.ledger.objects.delete([names.upload(key, 6)])
    Shards(bench.desk(valkey_url)).run(key, 0)
    assert codes(bench.ledger, key) == [
        None,
        Code.CRASHED,
        Code.DAMAGED,
        None,
        Code.TIMED_OUT,
        Code.SOURCE_CHANGED,
        Code.SOURCE_MISSING,
        None,
    ]


def test_results_are_the_same_bytes_whatever_died_meanwhile(bench: Bench, valkey_url: str) -> None:
    words = [*greys(0, 40), "kill", *greys(100, 40), "refuse"]
    quiet, disturbed = plan(bench.ledger, [words], slices=3), plan(bench.ledger, [words], slices=3)
    Shards(bench.desk(valkey_url)).run(quiet, 0)
    before = bench.supervisor.pulse().done
    thread = begin(Shards(bench.desk(valkey_url)), disturbed)
    for which in (0, 1, None):
        decoders, network = bench.supervisor.pids()
        pid = network if which is None else decoders[which] if which < len(decoders) else None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        wait_for(functools.partial(_moved, bench, thread, before))
        before = bench.supervisor.pulse().done
    thread.join()
    first, second = (bench.ledger.objects.get(names.shard_result(key, 0)) for key in (quiet, disturbed))
    assert first == second


def test_two_shards_at_once_share_device_batches(bench: Bench, valkey_url: str) -> None:
    key = plan(bench.ledger, [greys(0, 30, "slow"), greys(100, 30, "slow")])
    shards = Shards(bench.desk(valkey_url))
    before = bench.supervisor.pulse()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(shards.run, (key, key), (0, 1)))
    after = bench.supervisor.pulse()
    assert codes(bench.ledger, key, 0) == codes(bench.ledger, key, 1) == [None] * 30
    assert after.slices - before.slices == 60
    assert after.batches - before.batches < 60, "no batch held two slices"


# -- whose a shard is ----------------------------------------------------------------------------------------------


def test_a_committed_shard_is_not_tried_again_but_told_again(bench: Bench, valkey_url: str) -> None:
    rung: list[BatchKey] = []
    desk = bench.desk(valkey_url, rung.append)
    key = plan(bench.ledger, [["grey 1"], ["grey 2"]])
    shards = Shards(desk)
    shards.run(key, 0)
    assert attempts(bench.ledger, key) == ["1"]
    ready(desk, key, 2)
    shards.run(key, 0)
    assert attempts(bench.ledger, key) == ["1"]
    assert rung == []
    shards.run(key, 1)
    assert rung == [key], "the last shard of a plan that has ended rings"


def test_a_shard_that_another_works_on_is_left_to_it(bench: Bench, valkey_url: str) -> None:
    desk = bench.desk(valkey_url)
    key = plan(bench.ledger, [["grey 1"]])
    assert desk.leases.take(keys.shard_lease(key, 0), "another", 30)
    Shards(desk).run(key, 0)
    assert bench.ledger.results(key, 0) is None
    assert attempts(bench.ledger, key) == []
    assert desk.leases.holder(keys.shard_lease(key, 0)) == "another"


def test_the_lease_is_renewed_with_live_counts(bench: Bench, valkey_url: str) -> None:
    desk = bench.desk(valkey_url)
    key = plan(bench.ledger, [greys(0, 30, "slow")], slices=10)
    thread = begin(Shards(desk), key)
    wait_for(lambda: any(lease.counts.get("succeeded") for lease in desk.leases.group(keys.batch_group(key))))
    thread.join()
    assert desk.leases.group(keys.batch_group(key)) == []


def test_a_lost_lease_is_no_reason_to_stop(bench: Bench, valkey_url: str) -> None:
    desk = bench.desk(valkey_url)
    key = plan(bench.ledger, [greys(0, 30, "slow")], slices=10)
    thread = begin(Shards(desk), key)
    wait_for(lambda: attempts(bench.ledger, key))
    connect(valkey_url).flushall()
    thread.join()
    assert codes(bench.ledger, key) == [None] * 30


def test_a_redis_that_goes_away_meanwhile_costs_nothing(bench: Bench) -> None:
    key = plan(bench.ledger, [greys(0, 30, "slow")], slices=5)
    with valkey() as url:
        thread = begin(Shards(bench.desk(url)), key)
        wait_for(lambda: attempts(bench.ledger, key))
    thread.join()
    assert codes(bench.ledger, key) == [None] * 30
    with pytest.raises(Unavailable):
        Shards(bench.desk(url)).run(plan(bench.ledger, [["grey 1"]]), 0)


# -- giving up -----------------------------------------------------------------------------------------------------


def test_cancelling_stops_a_shard_soon_and_the_cancellers_lines_stand(bench: Bench, valkey_url: str) -> None:
    desk = bench.desk(valkey_url)
    key = plan(bench.ledger, [greys(0, 30, "slow")], slices=60)
    thread = begin(Shards(desk), key)
    wait_for(lambda: attempts(bench.ledger, key))
    done = bench.supervisor.pulse().done
    wait_for(lambda: bench.supervisor.pulse().done > done)
    begun = time.monotonic()
    end = endings.cancel(bench.ledger, key, NOW)
    thread.join()
    assert time.monotonic() - begun < 10
    assert end is not None
    assert end.counts.cancelled == 30
    assert bench.ledger.results(key, 0) is not None
    assert attempts(bench.ledger, key) == []
    before = bench.supervisor.pulse().slices
    time.sleep(0.3)
    assert bench.supervisor.pulse().slices - before <= bench.supervisor.width
    Shards(desk).run(key, 0)
    assert attempts(bench.ledger, key) == []


def test_a_worker_that_stops_hands_its_shard_back_and_another_finishes_it(bench: Bench, valkey_url: str) -> None:
    desk = bench.desk(valkey_url)
    key = plan(bench.ledger, [greys(0, 30, "slow")], slices=40)
    shards = Shards(desk)
    thread = begin(shards, key)
    wait_for(lambda: attempts(bench.ledger, key))
    shards.stop(0.2)
    begun = time.monotonic()
    thread.join()
    assert time.monotonic() - begun < 10
    assert bench.ledger.results(key, 0) is None
    assert attempts(bench.ledger, key) == []
    assert desk.leases.alive([keys.shard_lease(key, 0)]) == set()
    shards.run(key, 0)
    assert attempts(bench.ledger, key) == [], "a worker that stops takes nothing new"
    Shards(desk).run(key, 0)
    assert codes(bench.ledger, key) == [None] * 30
    assert attempts(bench.ledger, key) == ["1"]


def test_a_worker_that_stops_finishes_what_it_can(bench: Bench, valkey_url: str) -> None:
    key = plan(bench.ledger, [greys(0, 30)])
    shards = Shards(bench.desk(valkey_url))
    thread = begin(shards, key)
    wait_for(lambda: attempts(bench.ledger, key))
    shards.stop(30)
    thread.join()
    assert codes(bench.ledger, key) == [None] * 30


def test_a_network_that_is_nowhere_is_no_scans_fault(bench: Bench, valkey_url: str) -> None:
    desk = bench.desk(valkey_url)
    key = plan(bench.ledger, [["grey 1"]], pin=PIN.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(Broken, match="weights_damaged"):
        Shards(desk).run(key, 0)
    assert bench.ledger.results(key, 0) is None
    assert attempts(bench.ledger, key) == []
    assert desk.leases.alive([keys.shard_lease(key, 0)]) == set()


def test_a_kept_network_with_another_digest_is_refused(bench: Bench, valkey_url: str) -> None:
    false = hashlib.sha256(b"as promised").hexdigest()
    bench.ledger.objects.put(names.model(false), b"another")
    key = plan(bench.ledger, [["grey 1"]], pin=PIN.model_copy(update={"sha256": false}))
    with pytest.raises(Broken, match="another digest"):
        Shards(bench.desk(valkey_url)).run(key, 0)


# -- shards over which whole workers died ----------------------------------------------------------------------------


def test_from_the_third_attempt_a_scan_that_was_being_tried_is_crashed(bench: Bench, valkey_url: str) -> None:
    key = plan(bench.ledger, [["grey 1", "grey 2", "refuse", "kill", "grey 3"]])
    page = bench.ledger.page(key, 0)
    assert page is not None
    scans = page.shards[0].scans
    for _ in range(2):
        bench.ledger.begin(key, 0, "dead", NOW)
    assert bench.ledger.note_trying(key, 0, scans[1].id)
    Shards(bench.desk(valkey_url)).run(key, 0)
    assert codes(bench.ledger, key) == [None, Code.CRASHED, Code.DAMAGED, Code.CRASHED, None]
    assert attempts(bench.ledger, key) == ["1", "2", "3"]
    survived = [scan for scan in scans if scan is not scans[1]]
    assert all(bench.ledger.objects.head(names.trying(key, 0, scan.id)) is None for scan in survived)


def test_before_the_third_attempt_no_note_is_made(bench: Bench, valkey_url: str) -> None:
    key = plan(bench.ledger, [["grey 1"]])
    bench.ledger.begin(key, 0, "dead", NOW)
    page = bench.ledger.page(key, 0)
    assert page is not None
    assert bench.ledger.note_trying(key, 0, page.shards[0].scans[0].id)
    Shards(bench.desk(valkey_url)).run(key, 0)
    assert codes(bench.ledger, key) == [None]


def test_a_careful_try_without_its_lease_is_given_up(bench: Bench, valkey_url: str) -> None:
    key = plan(bench.ledger, [greys(0, 20, "slow")], slices=20)
    for _ in range(2):
        bench.ledger.begin(key, 0, "dead", NOW)
    thread = begin(Shards(bench.desk(valkey_url)), key)
    wait_for(lambda: len(attempts(bench.ledger, key)) == 3)
    connect(valkey_url).flushall()
    thread.join()
    assert bench.ledger.results(key, 0) is None
    assert attempts(bench.ledger, key) == ["1", "2"]
    notes = bench.ledger.objects.list(f"{names.shards_prefix(key)}0/trying/")
    assert list(notes) == []
