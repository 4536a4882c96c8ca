"""The ledger under everything at once: two of anything, stopped between any two puts, and still nothing lost."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations_with_replacement

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, Refused
from neurobatch.records import (
    Batch,
    BatchState,
    ContentLine,
    Counts,
    Cursor,
    End,
    FileRef,
    LeftOutLine,
    Page,
    PlanEnd,
    PlannedScan,
    PlanStart,
    Result,
    ScanKind,
    ScanState,
    Shard,
    load_lines,
)
from storage import names, reuse
from storage.endings import Work, abandon, cancel, delete, finalise, line_of, survey
from storage.gc import sweep
from storage.ledger import Content, Ledger, ResultFiles
from storage.memory import Memory
from storage.names import BatchKey
from storage.objects import Objects
from tests.storage.interleaving import Actor

pytestmark = pytest.mark.timeout(600)

KEYS = [BatchKey("local", names.new_batch_id()) for _ in range(2)]
NOW = datetime.now(UTC)
LATER = timedelta(days=3)
FILES = [f"{n:02d}.png" for n in range(7)]  # what every batch is given; each third file is no scan


def is_scan(file: str) -> bool:
    return int(file[:2]) % 3 != 2


def scan_of(ordinal: int, file: str) -> PlannedScan:
    return PlannedScan(
        id=names.scan_id(ordinal, 0, file, None, 0),
        kind=ScanKind.PICTURE,
        path=file,
        files=(FileRef(source=0, path=file, size=1, stamp="1"),),
        slices=1,
    )


def accept(key: BatchKey, objects: Objects) -> None:
    ledger = Ledger(objects)
    ledger.open(key)
    ledger.objects.put(names.upload(key, 0), b"what was uploaded")
    ledger.accept(Batch(id=key.batch, tenant=key.tenant, created=NOW))


def plan(key: BatchKey, width: int, objects: Objects) -> None:
    """A planner that cuts pages of `width` files, going on from whatever page stands."""
    ledger = Ledger(objects)
    known = ledger.known(key)
    if known is None or known.abandoned:
        return
    ledger.start_plan(key, PlanStart(models=(), precision="float32", software=f"cut by {width}"))
    number, after = 0, ""
    for page in ledger.pages(key):
        number, after = page.number + 1, page.cursor.after
    while after < FILES[-1]:
        if ledger.cancelling(key) or ledger.plan_end(key) is not None:
            return
        page = cut_page(ledger, key, number, [file for file in FILES if file > after][:width])
        number, after = number + 1, page.cursor.after
    ledger.end_plan(key, PlanEnd(pages=number))


def cut_page(ledger: Ledger, key: BatchKey, number: int, files: list[str]) -> Page:
    first = number * names.PAGE_SPAN
    scans = [scan_of(first + n, file) for n, file in enumerate(filter(is_scan, files))]
    shards = [
        Shard(number=first + n, scans=tuple(scans[start : start + 2]))
        for n, start in enumerate(range(0, len(scans), 2))
    ]
    left = [LeftOutLine(source=0, path=file, code=Code.NOT_A_SCAN) for file in files if not is_scan(file)]
    return ledger.put_page(
        key,
        Page(
            number=number,
            shards=tuple(shards),
            cursor=Cursor(after=files[-1]),
            files=len(files),
            left_out=ledger.put_lines(key, "left-out", number, left),
        ),
    )


def work(key: BatchKey, shard: int, objects: Objects) -> None:
    ledger = Ledger(objects)
    page = ledger.page(key, names.page_of_shard(shard))
    found = [shard_ for shard_ in page.shards if shard_.number == shard] if page else []
    if not found or ledger.results(key, shard) is not None or ledger.cancelling(key):
        return
    ledger.begin(key, shard, "worker", NOW)
    results, lines = [], []
    for scan in found[0].scans:
        content = hashlib.sha256(scan.path.encode()).hexdigest()  # so that both batches hold the same scans
        earlier = reuse.find(ledger, key.tenant, content)
        files = earlier.files if earlier else {"report.json": Content("application/json", scan.path.encode())}
        kept = None if earlier else content
        artifacts = ledger.put_results_files([ResultFiles(key, scan.id, files, kept)])[0]
        line = line_of(scan, state=ScanState.SUCCEEDED)
        results.append(line.model_copy(update={"artifacts": artifacts}))
        lines.append(ContentLine(scan=scan.id, content=content, kept=kept, reused=earlier is not None))
    reuse.put_contents(ledger, key, shard, lines)
    ledger.commit(key, shard, results)


def recover(later: timedelta, objects: Objects) -> None:
    """Recovery, with the workers' part done inline instead of rung for."""
    ledger = Ledger(objects)
    for opened in ledger.opened():
        todo: Work = survey(ledger, opened, datetime.now(UTC) + later)
        if todo.plan:
            plan(opened.key, 3, objects)
        for shard in todo.shards:
            work(opened.key, shard, objects)
        if todo.finalise:
            finalise(ledger, opened.key, NOW)


class LedgerUnderFire(RuleBasedStateMachine):
    """Acceptors, planners, workers, cancellers, finalisers, recoverers and deleters over one store."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Memory()
        self.ledger = Ledger(self.store)
        self.actors: list[Actor] = []
        self.committed: dict[str, bytes] = {}
        self.deleted: set[BatchKey] = set()
        self.cancelled: set[BatchKey] = set()

    @initialize(accepted=st.sets(st.sampled_from(KEYS)), planned=st.integers(0, 2))
    def some_came_before(self, accepted: set[BatchKey], planned: int) -> None:
        for key in sorted(accepted):
            accept(key, self.store)
            if planned:
                plan(key, 2 * planned, self.store)

    def start(self, name: str, task: object) -> None:
        if len(self.actors) < 5:
            self.actors.append(Actor(name, task, self.store))  # type: ignore[arg-type]  # partials of the above

    @rule(key=st.sampled_from(KEYS))
    def someone_accepts(self, key: BatchKey) -> None:
        if key not in self.deleted:
            self.start("accept", partial(accept, key))

    @rule(key=st.sampled_from(KEYS), width=st.integers(1, 4))
    def a_planner_comes(self, key: BatchKey, width: int) -> None:
        self.start("plan", partial(plan, key, width))

    @rule(key=st.sampled_from(KEYS), page=st.integers(0, 3), index=st.integers(0, 1))
    def a_worker_comes(self, key: BatchKey, page: int, index: int) -> None:
        self.start("work", partial(work, key, page * names.PAGE_SPAN + index))

    @rule(key=st.sampled_from(KEYS))
    def someone_cancels(self, key: BatchKey) -> None:
        if self.ledger.known(key) is not None:
            self.cancelled.add(key)
            self.start("cancel", lambda objects: cancel(Ledger(objects), key, NOW))

    @rule(key=st.sampled_from(KEYS))
    def someone_finalises(self, key: BatchKey) -> None:
        self.start("finalise", lambda objects: finalise(Ledger(objects), key, NOW))

    @rule(key=st.sampled_from(KEYS))
    def someone_deletes(self, key: BatchKey) -> None:
        if self.ledger.known(key) is not None and len(self.actors) < 5:
            self.deleted.add(key)
            self.start("delete", lambda objects: delete(Ledger(objects), key, NOW))

    @rule(later=st.sampled_from([timedelta(0), LATER]))
    def recovery_looks(self, later: timedelta) -> None:
        self.start("recover", partial(recover, later))

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 4), steps=st.integers(1, 40))
    def one_goes_on(self, which: int, steps: int) -> None:
        actor = self.actors[which % len(self.actors)]
        for _ in range(steps):
            actor.step()
        self.bury()

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 4), after=st.booleans())
    def one_dies(self, which: int, after: bool) -> None:
        self.actors[which % len(self.actors)].kill(after=after)
        self.bury()

    def bury(self) -> None:
        for actor in [actor for actor in self.actors if actor.done]:
            self.actors.remove(actor)
            if actor.crash is not None:
                raise actor.crash
            if isinstance(actor.fault, Broken | Missing):
                assert self.deleted, f"{actor.name}: {actor.fault}"  # read what a deletion had half taken
            else:
                assert actor.fault is None or isinstance(actor.fault, Refused), actor.fault

    @invariant()
    def what_was_committed_stays_as_it_was(self) -> None:
        for key in KEYS:
            now = {
                stored.name: self.store.get(stored.name)
                for stored in self.store.list(key.prefix)
                if "/artifacts/" not in stored.name and "/results/" not in stored.name
            }
            for name, content in now.items():
                before = self.committed.setdefault(name, content)
                assert before == content or key in self.deleted, name
            if key not in self.deleted:
                gone = [name for name in self.committed if name.startswith(key.prefix) and name not in now]
                assert not gone, gone

    @invariant()
    def an_ended_batch_has_one_line_for_each_scan(self) -> None:
        for key in KEYS:
            if key not in self.deleted:
                end = self.ledger.end(key)
                if end is not None and end.state is not BatchState.ABANDONED:
                    self.check_end(key, end)

    def check_end(self, key: BatchKey, end: End) -> None:
        plan_end = self.ledger.plan_end(key)
        assert plan_end is not None
        scans = [scan.id for page in self.ledger.pages(key, plan_end) for sh in page.shards for scan in sh.scans]
        assert end.results is not None
        data = self.store.get(key.prefix + end.results.name)
        assert hashlib.sha256(data).hexdigest() == end.results.sha256
        results = list(load_lines(Result, data))
        assert [result.scan for result in results] == scans
        assert Counts.of(results) == end.counts
        assert end.scans == len(scans) == end.counts.done
        for result in results:
            digest = names.result_digest(result.artifacts)
            for artifact in result.artifacts:
                held = self.store.get(names.artifact(key, result.scan, digest, artifact.name))
                assert hashlib.sha256(held).hexdigest() == artifact.sha256
                assert held == result.path.encode(), "another scan's result was taken over"
        if end.state is BatchState.COMPLETED:
            assert {result.path for result in results} == {file for file in FILES if is_scan(file)}
            assert end.left_out == sum(not is_scan(file) for file in FILES)
            assert end.counts.cancelled == 0
        else:
            assert end.state is BatchState.CANCELLED
            assert key in self.cancelled

    def teardown(self) -> None:
        for actor in self.actors:
            actor.kill(after=False)
        for _ in range(3):
            recover(LATER, self.store)
        assert list(self.ledger.opened()) == []
        for key in KEYS:
            if key not in self.deleted:
                known, end = self.ledger.known(key), self.ledger.end(key)
                assert (known is None) == (end is None)
        self.an_ended_batch_has_one_line_for_each_scan()
        for _ in range(2):  # files first, then what points to them
            sweep(self.ledger, "local", datetime.now(UTC) + LATER)
        for stored in self.store.list(names.reusables_prefix("local")):
            assert reuse.find(self.ledger, "local", stored.name.rpartition("/")[2]), "it points nowhere"
        for key in self.deleted:
            if self.ledger.known(key) is None:
                assert list(self.store.list(key.prefix)) == []


TestLedgerUnderFire = LedgerUnderFire.TestCase
TestLedgerUnderFire.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)


PAIRS: dict[str, Callable[[Objects], object]] = {
    "accept": partial(accept, KEYS[0]),
    "plan": partial(plan, KEYS[0], 2),
    "plan wider": partial(plan, KEYS[0], 3),
    "work": partial(work, KEYS[0], 0),
    "cancel": lambda objects: cancel(Ledger(objects), KEYS[0], NOW),
    "finalise": lambda objects: finalise(Ledger(objects), KEYS[0], NOW),
    "delete": lambda objects: delete(Ledger(objects), KEYS[0], NOW),
    "recover": partial(recover, timedelta(0)),
}


@pytest.mark.parametrize(("one", "other"), list(combinations_with_replacement(PAIRS, 2)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    planned=st.sampled_from(["accepted", "planned", "worked"]),
    turns=st.lists(st.tuples(st.booleans(), st.integers(1, 8) | st.integers(9, 60)), max_size=8),
    deaths=st.tuples(*[st.sampled_from([None, True, False])] * 2),
)
def test_two_of_anything_at_once_and_either_dying_leave_the_batch_whole(
    planned: str, one: str, other: str, turns: list[tuple[bool, int]], deaths: tuple[bool | None, bool | None]
) -> None:
    machine = LedgerUnderFire()
    accept(KEYS[0], machine.store)
    if planned != "accepted":
        plan(KEYS[0], 2, machine.store)
    if planned == "worked":
        for shard in (0, 1000, 2000):
            work(KEYS[0], shard, machine.store)
    machine.deleted = {KEYS[0]} if "delete" in (one, other) else set()
    machine.cancelled = {KEYS[0]} if "cancel" in (one, other) else set()
    actors = [Actor(name, PAIRS[name], machine.store) for name in (one, other)]
    machine.actors = list(actors)
    for second, steps in turns:
        for _ in range(steps):
            actors[second].step()
            machine.what_was_committed_stays_as_it_was()
    for actor, death in zip(actors, deaths, strict=True):
        if death is not None:
            actor.kill(after=death)
        while not actor.done:
            actor.step()
            machine.what_was_committed_stays_as_it_was()
    machine.bury()
    machine.an_ended_batch_has_one_line_for_each_scan()
    machine.teardown()


def test_an_upload_that_completes_after_it_was_abandoned_is_refused() -> None:
    ledger = Ledger(Memory())
    ledger.open(KEYS[0])
    abandon(ledger, KEYS[0], NOW)
    with pytest.raises(Refused, match="never_handed_over"):
        ledger.accept(Batch(id=KEYS[0].batch, tenant="local", created=NOW, label="late"))
    end = ledger.end(KEYS[0])
    assert end is not None
    assert end.state is BatchState.ABANDONED
    assert list(ledger.opened()) == []
