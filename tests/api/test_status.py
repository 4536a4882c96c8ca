from collections.abc import Iterable, Iterator

import pytest

from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import BatchState, Counts
from storage import endings, names
from storage.broker import connect
from storage.ledger import Ledger
from storage.memory import Memory
from storage.names import BatchKey
from storage.objects import Stored
from storage.progress import Progress, Snapshot, Whole
from storage.status import StatusReader, Tally, tally
from tests.api.wired import NOW, Bench
from tests.servers.processes import free_ports


def test_a_batch_goes_from_accepted_to_running_to_completed(bench: Bench) -> None:
    key = bench.submitted()
    read = bench.services.status.read
    assert (read(key).state, read(key).planned, read(key).scans) == (BatchState.ACCEPTED, False, 0)
    page = bench.plan_page(key, 0, 2, 5)
    assert (read(key).state, read(key).planned, read(key).scans) == (BatchState.RUNNING, False, 10)
    bench.work(key, page, 0)
    assert (read(key).counts.done, read(key).counts.tumour) == (5, 2)
    bench.end_plan(key, 1)
    assert read(key).planned
    bench.work(key, page, 1)
    assert (read(key).state, read(key).counts.done) == (BatchState.RUNNING, 10)
    bench.finish(key)
    assert (read(key).state, read(key).counts.done, read(key).finished) == (BatchState.COMPLETED, 10, NOW)


def test_a_remembered_tally_is_what_a_fresh_one_says(bench: Bench) -> None:
    key = bench.submitted()
    before = Tally()
    for number in range(3):
        page = bench.plan_page(key, number, 3, 4, left_out=("x", "y"))
        for shard in (2, 0):
            bench.work(key, page, shard)
            before = tally(bench.ledger, key, before)
            assert before == tally(bench.ledger, key, Tally())
    assert (before.scans, before.left_out, before.counts.done) == (36, 6, 24)


def test_each_committed_shard_is_read_once(bench: Bench) -> None:
    gets: list[str] = []

    class Counts_(Memory):
        def get(self, name: str) -> bytes:
            gets.append(name)
            return super().get(name)

    store = Counts_()
    ledger = Ledger(store)
    other = Bench(store, bench.settings)
    key = other.submitted()
    page = other.plan_page(key, 0, 3, 1)
    for shard in range(3):
        other.work(key, page, shard)
    reader = StatusReader(ledger)
    gets.clear()
    assert [reader.read(key).counts.done for _ in range(4)] == [3, 3, 3, 3]
    assert len([name for name in gets if name.endswith("result.jsonl")]) == 3


def test_a_result_that_is_committed_between_two_looks_is_never_counted_without_its_page(bench: Bench) -> None:
    key = bench.submitted()

    class Races(Memory):
        """Commits a new page and its shard right after the shards were listed."""

        number = 0

        def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
            found = list(super().list(prefix, after=after))
            if "/shards/" in prefix and self.number < 3:
                page = racing.plan_page(key, self.number, 1, 4)
                racing.work(key, page, 0)
                self.number += 1
            return iter(found)

    store = Races()
    racing = Bench(store, bench.settings)
    key = racing.submitted()
    done = -1
    for _ in range(5):
        status = racing.services.status.read(key)
        assert status.counts.done <= status.scans
        assert status.counts.done >= done
        done = status.counts.done
    assert done == 12


def test_pages_that_cancelling_cut_off_do_not_count(bench: Bench) -> None:
    key = bench.submitted()
    kept = bench.plan_page(key, 0, 1, 3)
    bench.work(key, kept, 0)
    lost = bench.plan_page(key, 1, 1, 5)
    bench.work(key, lost, 0)
    assert bench.services.status.read(key).counts.done == 8
    bench.end_plan(key, 1)
    status = bench.services.status.read(key)
    assert (status.scans, status.counts.done) == (3, 3)


def test_a_wish_to_cancel_is_seen_until_the_end(bench: Bench) -> None:
    key = bench.submitted()
    page = bench.plan_page(key, 0, 2, 5)
    bench.work(key, page, 0)
    bench.ledger.wish_cancel(key, NOW)
    assert bench.services.status.read(key).cancelling
    endings.cancel(bench.ledger, key, NOW)
    status = bench.services.status.read(key)
    assert (status.state, status.cancelling) == (BatchState.CANCELLED, False)
    assert (status.counts.succeeded, status.counts.cancelled) == (5, 5)


def test_an_upload_that_was_never_finished_is_abandoned(bench: Bench) -> None:
    with bench.services.intake.begin("local") as handover:
        key = handover.key
        endings.abandon(bench.ledger, key, NOW)
        status = bench.services.status.read(key)
    assert (status.state, status.code) == (BatchState.ABANDONED, Code.NEVER_HANDED_OVER)
    assert status.counts == Counts()


def test_a_deleted_batch_is_gone_also_for_who_saw_its_end(bench: Bench) -> None:
    key = bench.submitted()
    bench.finished(key)
    assert bench.services.status.read(key).state is BatchState.COMPLETED
    bench.services.intake.delete(key)
    with pytest.raises(Refused) as gone:
        bench.services.status.read(key)
    endings.delete(bench.ledger, key, NOW)
    with pytest.raises(Refused) as unknown:
        bench.services.status.read(key)
    assert (gone.value.code, unknown.value.code) == (Code.GONE, Code.NOT_FOUND)
    assert names.batches_prefix("local") == "tenants/local/batches/"


def ready(progress: Progress, key: BatchKey, whole: Tally, shards: Iterable[int]) -> None:
    """Have Redis know what the store says, as a worker's rebuild does."""
    token = progress.begin_rebuild(key)
    pages = dict(enumerate(whole.pages))
    counted = Whole(planned=whole.planned, begun=whole.begun, pages=pages, counts=whole.counts, shards=shards)
    assert progress.rebuild(key, token, counted)


def test_where_redis_is_whole_a_poller_costs_the_store_nothing(bench: Bench, valkey_url: str) -> None:
    asked: list[str] = []

    class Watched(Memory):
        def get(self, name: str) -> bytes:
            asked.append(name)
            return super().get(name)

        def head(self, name: str) -> Stored | None:
            asked.append(name)
            return super().head(name)

        def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
            asked.append(prefix)
            return super().list(prefix, after=after)

    other = Bench(Watched(), bench.settings)
    key = other.submitted()
    page = other.plan_page(key, 0, 3, 2)
    now = 100.0
    with connect(valkey_url) as client:
        progress = Progress(client)
        reader = StatusReader(other.ledger, progress, clock=lambda: now)
        ready(progress, key, tally(other.ledger, key, Tally()), ())
        assert reader.read(key).scans == 6
        asked.clear()
        for shard in (0, 1):
            counts = Counts.of(other.work(key, page, shard))
            asked.clear()
            progress.add(key, shard, counts)
            assert reader.read(key).counts.done == 2 * shard + 2
            assert asked == []
        now = 200.0
        other.ledger.wish_cancel(key, NOW)
        assert reader.read(key).cancelling


def test_a_wiped_redis_never_shows_less_than_was_told(bench: Bench, valkey_url: str) -> None:
    key = bench.submitted()
    page = bench.plan_page(key, 0, 3, 2)
    with connect(valkey_url) as client:
        progress = Progress(client)
        reader = StatusReader(bench.ledger, progress)
        old = tally(bench.ledger, key, Tally())
        bench.work(key, page, 0)
        bench.work(key, page, 1)
        assert reader.read(key).counts.done == 4
        ready(progress, key, old, ())  # a rebuild that read the store before
        assert reader.read(key).counts.done == 4
        client.flushall()
        bench.work(key, page, 2)
        assert reader.read(key).counts.done == 6


def test_a_redis_that_is_away_is_left_alone_for_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    key = bench.submitted()
    page = bench.plan_page(key, 0, 1, 2)
    [nobody] = free_ports(1)
    with connect(f"redis://127.0.0.1:{nobody}/0") as client:
        now = 0.0
        progress = Progress(client)
        tried: list[BatchKey] = []
        real = progress.read

        def read(key: BatchKey) -> Snapshot | None:
            tried.append(key)
            return real(key)

        monkeypatch.setattr(progress, "read", read)
        reader = StatusReader(bench.ledger, progress, clock=lambda: now)
        assert reader.read(key).scans == 2
        bench.work(key, page, 0)
        assert reader.read(key).counts.done == 2
        assert len(tried) == 1
        now = 60.0
        reader.read(key)
        assert len(tried) == 2


def test_the_end_is_seen_at_once_where_redis_says_that_all_is_done(bench: Bench, valkey_url: str) -> None:
    key = bench.submitted()
    page = bench.plan_page(key, 0, 1, 2)
    with connect(valkey_url) as client:
        progress = Progress(client)
        reader = StatusReader(bench.ledger, progress, clock=lambda: 1.0)
        ready(progress, key, tally(bench.ledger, key, Tally()), ())
        assert reader.read(key).state is BatchState.RUNNING
        bench.end_plan(key, 1)
        progress.end_plan(key)
        progress.add(key, 0, Counts.of(bench.work(key, page, 0)))
        assert reader.read(key).state is BatchState.RUNNING
        bench.finish(key)
        assert reader.read(key).state is BatchState.COMPLETED


def test_a_deletion_is_seen_by_every_process_at_once(bench: Bench, valkey_url: str) -> None:
    key = bench.submitted()
    with connect(valkey_url) as client:
        progress = Progress(client)
        here, there = (StatusReader(bench.ledger, progress, clock=lambda: 1.0) for _ in range(2))
        ready(progress, key, tally(bench.ledger, key, Tally()), ())
        assert here.read(key) == there.read(key)
        bench.services.intake.delete(key)
        here.forget(key)
        for reader in (here, there):
            with pytest.raises(Refused):
                reader.read(key)
