"""Progress that is whole or not there, on real Valkey and redis-server."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from neurobatch.records import Counts
from storage import keys
from storage.broker import connect
from storage.leases import Leases
from storage.names import BatchKey
from storage.progress import Progress, Whole

KEY = BatchKey("lab", "0190a0a0-0000-7000-8000-000000000001")
OTHER = BatchKey("lab", "0190a0a0-0000-7000-8000-000000000002")
ONE = Counts(succeeded=2, tumour=1, no_tumour=1, slices=30)
NOTHING = Whole(planned=False, begun=False, pages={}, counts=Counts(), shards=())


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return connect(redis_url)


@pytest.fixture
def progress(client: "redis.Redis") -> Progress:
    return Progress(client)


def ready(progress: Progress, key: BatchKey = KEY, whole: Whole = NOTHING) -> None:
    assert progress.rebuild(key, progress.begin_rebuild(key), whole)


def test_nothing_is_told_before_a_rebuild(progress: Progress) -> None:
    assert progress.read(KEY) is None
    assert not progress.add(KEY, 0, ONE)
    progress.add_page(KEY, 0, 4, 1)
    progress.begin_plan(KEY)
    progress.end_plan(KEY)
    assert progress.read(KEY) is None
    progress.begin_rebuild(KEY)
    assert progress.read(KEY) is None


def test_a_rebuild_sets_what_the_store_said(progress: Progress) -> None:
    pages = {0: (1000, 3), 1: (7, 0)}
    ready(progress, whole=Whole(planned=True, begun=True, pages=pages, counts=ONE, shards=[0, 1001]))
    snapshot = progress.read(KEY)
    assert snapshot is not None
    assert (snapshot.planned, snapshot.begun, snapshot.scans, snapshot.left_out) == (True, True, 1007, 3)
    assert (snapshot.counts, snapshot.shards) == (ONE, 2)
    assert not progress.add(KEY, 0, ONE)
    assert not progress.add(KEY, 1001, ONE)
    assert not progress.add_page(KEY, 1, 7, 0)
    assert progress.read(KEY) == snapshot
    assert progress.read(OTHER) is None


def test_a_shard_is_counted_once(progress: Progress) -> None:
    ready(progress)
    assert [progress.add(KEY, 5, ONE) for _ in range(3)] == [True, False, False]
    assert progress.add(KEY, 1_000_007, ONE)
    snapshot = progress.read(KEY)
    assert snapshot is not None
    assert (snapshot.counts, snapshot.shards) == (ONE + ONE, 2)


def test_planning_is_counted_once(progress: Progress) -> None:
    ready(progress)
    progress.begin_plan(KEY)
    begun = progress.read(KEY)
    assert begun is not None
    assert (begun.begun, begun.planned, begun.scans) == (True, False, 0)
    for _ in range(2):
        progress.add_page(KEY, 0, 1000, 2)
        progress.add_page(KEY, 1, 500, 0)
        progress.end_plan(KEY)
    planned = progress.read(KEY)
    assert planned is not None
    assert (planned.begun, planned.planned, planned.scans, planned.left_out) == (True, True, 1500, 2)


def test_many_workers_count_every_shard_once(progress: Progress) -> None:
    ready(progress)
    told = [shard for shard in range(300) for _ in range(3)]
    random.Random(3).shuffle(told)
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda shard: progress.add(KEY, shard, ONE), told))
    assert added.count(True) == 300
    snapshot = progress.read(KEY)
    assert snapshot is not None
    assert snapshot.shards == 300
    assert snapshot.counts == Counts(succeeded=600, tumour=300, no_tumour=300, slices=9000)


def test_each_change_has_another_etag(progress: Progress) -> None:
    seen = []
    ready(progress)
    for change in (
        lambda: None,
        lambda: progress.begin_plan(KEY),
        lambda: progress.add_page(KEY, 0, 10, 0),
        lambda: progress.end_plan(KEY),
        lambda: progress.add(KEY, 0, ONE),
        lambda: ready(progress),
    ):
        change()
        snapshot = progress.read(KEY)
        assert snapshot is not None
        seen.append(snapshot.etag)
    assert len(set(seen)) == len(seen)
    progress.add(KEY, 0, ONE)
    first = progress.read(KEY)
    progress.add(KEY, 0, ONE)
    assert progress.read(KEY) == first


def test_what_is_committed_while_the_store_is_read_is_not_lost(progress: Progress) -> None:
    token = progress.begin_rebuild(KEY)
    assert not progress.add(KEY, 1, ONE)  # after the store's listing: the rebuild has not seen it
    assert not progress.add(KEY, 2, ONE)  # before it: the rebuild has counted it
    progress.add_page(KEY, 0, 100, 1)
    progress.add_page(KEY, 1, 10, 0)
    progress.end_plan(KEY)
    whole = Whole(planned=False, begun=True, pages={0: (100, 1)}, counts=ONE, shards=[2])
    assert progress.rebuild(KEY, token, whole)
    snapshot = progress.read(KEY)
    assert snapshot is not None
    assert (snapshot.counts, snapshot.shards) == (ONE + ONE, 2)
    assert (snapshot.scans, snapshot.left_out, snapshot.planned) == (110, 1, True)
    assert not progress.add(KEY, 1, ONE)


def test_a_recount_loses_nothing_that_is_counted_meanwhile(progress: Progress) -> None:
    ready(progress)
    progress.add(KEY, 1, ONE)
    token = progress.begin_rebuild(KEY)
    assert progress.add(KEY, 2, ONE)  # after the store's listing
    assert progress.add(KEY, 3, ONE)  # before it
    progress.add_page(KEY, 0, 100, 1)
    progress.begin_plan(KEY)
    progress.end_plan(KEY)
    whole = Whole(planned=False, begun=False, pages={}, counts=ONE + ONE, shards=[1, 3])
    assert progress.rebuild(KEY, token, whole)
    snapshot = progress.read(KEY)
    assert snapshot is not None
    assert (snapshot.counts, snapshot.shards) == (ONE + ONE + ONE, 3)
    assert (snapshot.scans, snapshot.left_out, snapshot.planned, snapshot.begun) == (100, 1, True, True)
    assert not progress.add(KEY, 2, ONE)


def test_a_wipe_during_a_rebuild_undoes_it(progress: Progress, client: "redis.Redis") -> None:
    token = progress.begin_rebuild(KEY)
    progress.add(KEY, 1, ONE)
    client.flushall()
    assert not progress.rebuild(KEY, token, NOTHING)
    assert progress.read(KEY) is None


def test_of_two_rebuilds_the_later_counts(progress: Progress) -> None:
    first = progress.begin_rebuild(KEY)
    second = progress.begin_rebuild(KEY)
    assert not progress.rebuild(KEY, first, NOTHING)
    assert progress.read(KEY) is None
    assert progress.rebuild(KEY, second, NOTHING)
    assert not progress.rebuild(KEY, second, NOTHING)


class Batch:
    """A batch under way: workers commit and count, somebody wipes Redis again and again, recovery rebuilds."""

    def __init__(self, client: "redis.Redis") -> None:
        self.client = client
        self.progress = Progress(client)
        self.committed: dict[int, Counts] = {}  # as the store would say
        self.ended = threading.Event()
        self.behind: list[int] = []  # what each snapshot lacked of what was committed before it was asked for

    def work(self, shard: int) -> None:
        self.committed[shard] = ONE
        time.sleep(0.001)
        self.progress.add(KEY, shard, ONE)

    def recover(self) -> None:
        while not self.ended.is_set():
            if self.progress.read(KEY) is None:
                self.rebuild()

    def rebuild(self) -> None:
        token = self.progress.begin_rebuild(KEY)
        shards = dict(self.committed)
        time.sleep(0.002)
        counts = sum(shards.values(), Counts())
        self.progress.rebuild(KEY, token, Whole(planned=True, begun=True, pages={}, counts=counts, shards=shards))

    def look(self) -> None:
        while not self.ended.is_set():
            before = len(self.committed)
            snapshot = self.progress.read(KEY)
            if snapshot is not None:
                assert snapshot.counts.succeeded == 2 * snapshot.shards
                self.behind.append(before - snapshot.shards)

    def wipe(self) -> None:
        while not self.ended.wait(0.05):
            self.client.flushall()


def test_a_wiped_redis_never_shows_half(client: "redis.Redis") -> None:
    batch = Batch(client)
    with ThreadPoolExecutor(3) as others, ThreadPoolExecutor(4) as workers:
        running = [others.submit(each) for each in (batch.recover, batch.look, batch.wipe)]
        list(workers.map(batch.work, range(1500)))
        time.sleep(0.1)
        batch.ended.set()
        for each in running:
            each.result()
    snapshot = batch.progress.read(KEY)
    assert snapshot is None or snapshot.shards == 1500
    assert len(batch.behind) > 10
    assert max(batch.behind) <= 4  # each of four workers counts a commit a moment after it stands


def test_live_counts_are_those_of_shards_under_way(progress: Progress, client: "redis.Redis") -> None:
    leases = Leases(client)
    ready(progress)
    for shard in (0, 1):
        leases.take(keys.shard_lease(KEY, shard), "one")
        leases.renew(keys.shard_lease(KEY, shard), "one", {"succeeded": 1, "tumour": 1, "slices": 9})
    leases.take(keys.shard_lease(OTHER, 7), "one")
    leases.renew(keys.shard_lease(OTHER, 7), "one", {"succeeded": 100})
    both = progress.read(KEY)
    assert both is not None
    assert both.live == Counts(succeeded=2, tumour=2, slices=18)
    progress.add(KEY, 0, ONE)  # committed and still leased: not counted twice
    one = progress.read(KEY)
    assert one is not None
    assert (one.counts, one.live) == (ONE, Counts(succeeded=1, tumour=1, slices=9))
    leases.release(keys.shard_lease(KEY, 1), "one")
    none = progress.read(KEY)
    assert none is not None
    assert none.live == Counts()


def test_watchers_are_told_of_changes(progress: Progress) -> None:
    ready(progress)
    watch = progress.watch(KEY, seconds=0.3)
    assert next(watch)
    assert not next(watch)
    progress.add(KEY, 0, ONE)
    progress.add(KEY, 1, ONE)
    assert next(watch)
    next(watch)  # the server may send the second change's message a moment after the first one's
    assert not next(watch)
    progress.add(KEY, 1, ONE)
    progress.add(OTHER, 1, ONE)
    assert not next(watch)
    progress.tell(KEY)
    assert next(watch)
    watch.close()


def test_a_finished_batch_leaves_nothing_behind(
    progress: Progress, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(progress)
    progress.add(KEY, 0, ONE)
    progress.add_page(KEY, 0, 2, 0)
    assert all(0 < client.ttl(name) <= keys.PROGRESS_SECONDS for name in client.keys("neurobatch:progress:*"))
    monkeypatch.setattr(keys, "FINISHED_SECONDS", 1)
    progress.finish(KEY)
    assert progress.read(KEY) is not None
    time.sleep(1.2)
    assert client.keys("neurobatch:progress:*") == []


def test_a_forgotten_batch_is_not_told(progress: Progress, client: "redis.Redis") -> None:
    ready(progress)
    progress.add(KEY, 0, ONE)
    progress.forget(KEY)
    assert progress.read(KEY) is None
    assert client.keys("neurobatch:*") == []
