"""What a worker does when it hears a bell. Whatever fails is rung again by recovery: nothing is tried twice here."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from neurobatch.errors import NeurobatchError
from storage.bells import Bells
from storage.leases import Leases
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.progress import Progress
from storage.ringing import PLAN, SETTLE, SHARD, Ringer
from worker.children import place_of
from worker.finalising import settle
from worker.holding import held, plan_lease, settle_lease
from worker.planning import Planner, Step
from worker.shards import Shards
from worker.telling import harmlessly, rebuild

log = logging.getLogger(__name__)


class Activity:
    """How many bells are being worked on, and when one was last heard; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.heard = 0  # bells since the start
        self._changed = time.monotonic()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """While one bell is worked on."""
        self._step(1)
        self.heard += 1
        try:
            yield
        finally:
            self._step(-1)

    @property
    def running(self) -> int:
        """Bells that are being worked on."""
        return self._running

    @property
    def silent(self) -> float:
        """Seconds since a bell was heard or done with, or since the start."""
        return time.monotonic() - self._changed

    def _step(self, more: int) -> None:
        with self._lock:
            self._running += more
            self._changed = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """Answers the three bells."""

    ledger: Ledger
    bells: Bells
    leases: Leases
    progress: Progress
    ringer: Ringer
    planner: Planner
    shards: Shards
    activity: Activity
    stopping: threading.Event
    holder: str
    lease_seconds: float

    def plan(self, key: BatchKey, page: int) -> None:
        """Plan one page and ring for what comes of it."""
        with self._edge(PLAN, key, page):
            self.bells.heard(PLAN, key, page)
            with held(self.leases, plan_lease(key), self.holder, self.lease_seconds) as mine:
                if not mine:
                    return
                harmlessly("progress_not_begun", lambda: self._begin(key))
                step = self.planner.step(key, page)
            self._ring_on(key, step)

    def shard(self, key: BatchKey, number: int) -> None:
        """Work on a shard; what a worker that stops hands back, it rings for again."""
        with self._edge(SHARD, key, number):
            self.bells.heard(SHARD, key, number)
            self.shards.run(key, number)
            if self.stopping.is_set() and self.ledger.results(key, number) is None:
                self.bells.unmark(SHARD, key, number)
                self.ringer.ring_shard(key, number, queue_of(self.ledger, key))

    def settle(self, key: BatchKey) -> None:
        """Fulfil a wish, or finalise. The bell is forgotten at once: what comes while this reads may ring again."""
        with self._edge(SETTLE, key, 0):
            self.bells.unmark(SETTLE, key)
            with held(self.leases, settle_lease(key), self.holder, self.lease_seconds):
                settle(self.ledger, self.progress, key, datetime.now(UTC))

    def _begin(self, key: BatchKey) -> None:
        if self.progress.read(key) is None:
            rebuild(self.ledger, self.progress, key)
        self.progress.begin_plan(key)

    def _ring_on(self, key: BatchKey, step: Step) -> None:
        queue = queue_of(self.ledger, key)
        page = step.page
        if page is not None:
            scans = sum(len(shard.scans) for shard in page.shards)
            left_out = page.left_out.lines if page.left_out else 0
            harmlessly("page_not_counted", lambda: self.progress.add_page(key, page.number, scans, left_out))
            for number in step.shards:
                self.ringer.ring_shard(key, number, queue)
            if step.plan:
                self.ringer.ring_plan(key, queue, page.number + 1)
        if step.wish or (step.ended and self._complete(key)):
            self.ringer.ring_settle(key, queue)

    def _complete(self, key: BatchKey) -> bool:
        """Whether all shards are committed, as far as the counts tell; who commits the last shard asks the same."""
        self.progress.end_plan(key)
        now = self.progress.read(key)
        return now is None or now.counts.done >= now.scans

    @contextlib.contextmanager
    def _edge(self, task: str, key: BatchKey, number: int) -> Iterator[None]:
        with self.activity.one():
            try:
                yield
            except NeurobatchError as error:
                log.warning("bell_failed task=%s batch=%s number=%d code=%s", task, key.batch, number, error.code)
            except Exception as error:  # noqa: BLE001  the edge of a task: told by its place, rung again by recovery
                log.error("bell_crashed task=%s batch=%s number=%d error=%s", task, key.batch, number, place_of(error))


def queue_of(ledger: Ledger, key: BatchKey) -> str:
    """The queue that a batch asked for; `normal` for one that is gone."""
    batch = ledger.known(key)
    return batch.options.queue if batch else "normal"
