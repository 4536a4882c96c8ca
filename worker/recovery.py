"""Recovery: looks at every open batch, and rings for whatever has no result, no lease and no bell that waits.

Nothing else guards a batch against what dies: all state is in the store, so one look is enough to go on from any
point, an empty Redis included. A thread in every worker looks; a lease lets one do it at a time.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from neurobatch.errors import NeurobatchError, Unavailable
from storage import keys
from storage.endings import Work, survey
from storage.leases import Leases
from storage.ledger import Ledger, Opened
from storage.names import BatchKey
from storage.progress import Progress
from storage.ringing import PLAN, SETTLE, SHARD, Ringer
from worker.hearing import queue_of
from worker.holding import plan_lease, settle_lease
from worker.planning import last_page
from worker.telling import harmlessly, rebuild

LEASE = "recover/all"
LEASE_SECONDS = 15.0  # at least; longer where looks are rarer

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Look:
    """What one look found."""

    batches: int = 0  # that are open
    rung: list[tuple[str, str, int]] = field(default_factory=list)  # task, batch, number
    recounted: int = 0  # batches whose progress was counted anew
    broken: list[str] = field(default_factory=list)  # batches with a record that cannot be read


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Looks for lost work."""

    ledger: Ledger
    leases: Leases
    progress: Progress
    ringer: Ringer
    holder: str
    seconds: float  # between two looks
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    shards: dict[BatchKey, list[tuple[int, ...]]] = field(default_factory=dict)  # by page, once it was read

    def run(self, stop: threading.Event) -> None:
        """Look now and then again until told to stop, whenever no other worker does."""
        while not stop.is_set():
            try:
                if self._mine():
                    self.look()
            except NeurobatchError as error:
                log.warning("recovery_failed code=%s", error.code)
            stop.wait(self.seconds)
        harmlessly("lease_not_released", lambda: self.leases.release(LEASE, self.holder))

    def look(self) -> Look:
        """Look at every open batch once.

        Raises:
            Unavailable: store or broker does not answer.
        """
        found = Look()
        seen: set[BatchKey] = set()
        for opened in self.ledger.opened():
            seen.add(opened.key)
            found.batches += 1
            self._mine()
            try:
                self._look_at(opened, found)
            except Unavailable:
                raise
            except NeurobatchError as error:
                found.broken.append(opened.key.batch)
                log.error("batch_broken batch=%s code=%s", opened.key.batch, error.code)
        for gone in self.shards.keys() - seen:
            self.shards.pop(gone, None)
        if found.rung:
            log.info("recovered batches=%d rung=%d", found.batches, len(found.rung))
        return found

    def _mine(self) -> bool:
        return self.leases.take(LEASE, self.holder, max(LEASE_SECONDS, 1.5 * self.seconds))

    def _look_at(self, opened: Opened, found: Look) -> None:
        key = opened.key
        if not self._runs(key):
            survey(self.ledger, opened, self.clock())
            harmlessly("progress_not_finished", lambda: self.progress.finish(key))
            return
        work = self._left(key)
        lost = self._lost(key, work)
        queue = queue_of(self.ledger, key) if lost else ""
        rung = [(task, key.batch, number) for task, number in lost if self.ringer.ring(task, key, number, queue)]
        found.rung += rung
        if self._must_recount(key, work, recovered=bool(rung)):
            found.recounted += rebuild(self.ledger, self.progress, key)

    def _runs(self, key: BatchKey) -> bool:
        """Whether a batch is simply under way: no wish, no end."""
        known = self.ledger.known(key)
        ended = known is None or known.abandoned or self.ledger.end(key) is not None
        return not (ended or self.ledger.deleting(key) or self.ledger.cancelling(key))

    def _left(self, key: BatchKey) -> Work:
        """What `survey` tells of a batch that runs, but reads no page twice."""
        plan = self.ledger.plan_end(key)
        pages = self.shards.setdefault(key, [])
        for page in self.ledger.pages(key, plan, start=len(pages)):
            pages.append(tuple(shard.number for shard in page.shards))
        done = self.ledger.done(key)
        standing = pages[: plan.pages] if plan else pages
        waiting = tuple(number for page in standing for number in page if number not in done)
        return Work(plan=plan is None, shards=waiting, finalise=plan is not None and not waiting)

    def _lost(self, key: BatchKey, work: Work) -> list[tuple[str, int]]:
        """Bells to ring: for what nobody works on and no bell waits for; of shards there may be thousands."""
        silent = self.ringer.silent(SHARD, key, work.shards)
        wanted = [(keys.shard_lease(key, number), SHARD, number) for number in silent]
        if work.plan:
            last = last_page(self.ledger, key)
            wanted.append((plan_lease(key), PLAN, last.number + 1 if last else 0))
        if work.finalise:
            wanted.append((settle_lease(key), SETTLE, 0))
        alive = self.leases.alive(name for name, _, _ in wanted)
        return [(task, number) for name, task, number in wanted if name not in alive]

    def _must_recount(self, key: BatchKey, work: Work, *, recovered: bool) -> bool:
        """Counts are gone with a wiped Redis, and miss what died between a commit and its counting."""
        now = self.progress.read(key)
        if now is None or recovered:
            return True
        if not work.plan and not now.planned:
            self.progress.end_plan(key)
        return False
