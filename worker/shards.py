"""Runs shards: takes the lease and an attempt, hands scans in, puts artifacts, commits one line for each scan.

Whatever happens, a shard is either committed whole or not at all; a try that is given up costs nothing but time.
"""

import contextlib
import functools
import json
import logging
import queue
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from uuid import uuid4

from models.engines.choice import precision_for
from neurobatch.codes import Code
from neurobatch.errors import Refused, ScanFailed, Unavailable
from neurobatch.records import Attempt, Batch, ContentLine, Counts, Page, PlannedScan, PlanStart, Result, Shard, Source
from neurobatch.settings import Settings
from storage import keys
from storage.endings import failed_result
from storage.leases import Leases
from storage.ledger import Ledger
from storage.names import BatchKey, page_of_shard
from storage.progress import Progress
from storage.reuse import put_contents
from worker.jobs import Job, Judged
from worker.messages import Network, Outcome
from worker.putting import Putting
from worker.sources import picked
from worker.supervisor import Supervisor, Ticket
from worker.telling import harmlessly
from worker.weights import Weights

CAREFUL_FROM = 3  # attempt: whole supervisors died over this shard, so each scan is noted before it is tried
CANCEL_SECONDS = 1.0  # between two looks for the wish to cancel
WAKE_SECONDS = 0.25  # between two looks at the clock
LIVE_SECONDS = 1.0  # between two tellings of how many scans are judged
RENEWALS = 3  # of a lease in its time
PAGES_KEPT = 2
STOP_SECONDS = 20.0  # that shards may go on after SIGTERM, before they are handed back

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What running shards needs; wired once, in `worker.app`."""

    ledger: Ledger
    leases: Leases
    progress: Progress
    supervisor: Supervisor
    weights: Weights
    settings: Settings
    holder: str  # this worker's name in leases and attempts
    settle: Callable[[BatchKey], None]  # rings that a batch may be ready to be finalised


class Shards:
    """Runs shards, one in each calling thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._putting = Putting(desk.ledger)
        self._pages = _Pages(desk.ledger)
        self._stop_at: float | None = None  # by the monotonic clock

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Begin no shard any more; those under way are handed back if they are not done in so many seconds."""
        self._stop_at = time.monotonic() + seconds

    def close(self) -> None:
        """After the last shard."""
        self._putting.close()

    def run(self, key: BatchKey, number: int) -> None:
        """Judge a shard's scans and commit it, unless that was done, is being done, or is not wanted any more.

        Raises:
            Unavailable: a service does not answer. The attempt was handed back; the shard will be rung again.
            Broken: the installation is at fault; likewise.
        """
        desk = self._desk
        if self._stop_at is not None:
            return
        stands = desk.ledger.results(key, number)
        if stands is not None:
            self._tell(key, number, stands)
            return
        lease = _Held(desk.leases, keys.shard_lease(key, number), f"{desk.holder}-{uuid4().hex[:8]}", desk.settings)
        if not lease.take():
            return
        try:
            plan = _Plan.of(desk.ledger, self._pages, key, number)
            if plan is not None:
                self._try(plan, lease)
        finally:
            harmlessly("lease_not_released", lease.release)

    def _try(self, plan: "_Plan", lease: "_Held") -> None:
        ledger, key, number = self._desk.ledger, plan.key, plan.shard.number
        attempt = ledger.begin(key, number, lease.holder, datetime.now(UTC))
        attempted = _Try(self._desk, plan, attempt, lease, self._putting)
        begun = time.monotonic()
        try:
            results = attempted.results(lambda: self._stop_at)
        except BaseException:
            attempted.give_up()
            harmlessly("attempt_not_handed_back", lambda: ledger.hand_back(key, number, attempt))
            raise
        if results is None:
            ledger.hand_back(key, number, attempt)
            log.info("shard_handed_back batch=%s shard=%d", key.batch, number)
            return
        put_contents(ledger, key, number, attempted.contents())
        stands = ledger.commit(key, number, results)
        timing = attempted.timing(time.monotonic() - begun)
        harmlessly("timing_not_put", lambda: ledger.put_timing(key, number, attempt.number, timing))
        self._tell(key, number, stands)

    def _tell(self, key: BatchKey, number: int, stands: Sequence[Result]) -> None:
        """Count what stands, and ring if it was the last; whatever fails here is made good by recovery."""

        def tell() -> None:
            self._desk.progress.add(key, number, Counts.of(stands))
            now = self._desk.progress.read(key)
            if now is not None and now.planned and now.counts.done >= now.scans:
                self._desk.settle(key)

        harmlessly("progress_not_told", tell)


class _Held:
    """The lease on a shard, held for one try. That it is lost is told once, and is no reason to stop by itself."""

    def __init__(self, leases: Leases, name: str, holder: str, settings: Settings) -> None:
        self._leases, self._name, self._seconds = leases, name, settings.lease_seconds
        self.holder = holder
        self.lost = False
        self._renewed = time.monotonic()
        self._told = 0  # results that the lease's live counts hold

    def take(self) -> bool:
        """False: another works on the shard."""
        return self._leases.take(self._name, self.holder, self._seconds)

    def renew(self, results: Collection[Result]) -> None:
        """Renew it when it is due. A Redis that does not answer has taken no lease away."""
        now = time.monotonic()
        due = self._seconds / RENEWALS
        if self.lost or now - self._renewed < (min(due, LIVE_SECONDS) if len(results) != self._told else due):
            return
        self._renewed, self._told = now, len(results)
        counts = Counts.of(results).model_dump()
        try:
            self.lost = not self._leases.renew(self._name, self.holder, counts, self._seconds)
        except Unavailable:
            log.warning("lease_not_renewed")
            return
        if self.lost:
            log.warning("lease_lost")

    def release(self) -> None:
        """Give it back."""
        self._leases.release(self._name, self.holder)


class _Pages:
    """The pages that shards were last taken from: a page never changes, and to read it costs more than its shards'
    other objects together. Safe for threads.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = Lock()
        self._kept: OrderedDict[tuple[BatchKey, int], Page] = OrderedDict()

    def page(self, key: BatchKey, number: int) -> Page | None:
        """A page of the plan, if it stands."""
        with self._lock:  # whoever wants the same page waits, instead of reading it too
            page = self._kept.pop((key, number), None) or self._ledger.page(key, number)
            if page is not None:
                self._kept[key, number] = page
                if len(self._kept) > PAGES_KEPT:
                    self._kept.popitem(last=False)
            return page


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A shard as it was planned, and the batch around it."""

    key: BatchKey
    shard: Shard
    batch: Batch
    start: PlanStart
    sources: Mapping[int, Source]

    @classmethod
    def of(cls, ledger: Ledger, pages: "_Pages", key: BatchKey, number: int) -> "_Plan | None":
        """None where there is nothing to do: the batch is gone or is being cancelled, or the plan was cut short."""
        try:
            batch = ledger.batch(key)
        except Refused:
            return None
        end, page, start = ledger.plan_end(key), pages.page(key, page_of_shard(number)), ledger.plan_start(key)
        if page is None or start is None or ledger.cancelling(key):
            return None
        if end is not None and page.number >= end.pages:
            return None
        shard = next((shard for shard in page.shards if shard.number == number), None)
        if shard is None:
            return None
        numbers = {ref.source for scan in shard.scans for ref in scan.files}
        return cls(key=key, shard=shard, batch=batch, start=start, sources=picked(ledger, batch, numbers))


class _Try:
    """One attempt at a shard."""

    def __init__(
        self,
        desk: Desk,
        plan: _Plan,
        attempt: Attempt,
        lease: _Held,
        putting: Putting,
    ) -> None:
        self._desk, self._plan, self._lease, self._files = desk, plan, lease, putting
        self._careful = attempt.number >= CAREFUL_FROM
        self._window = 1 if self._careful else 2 * desk.supervisor.width + 2
        self._todo = deque(plan.shard.scans)
        self._judging: dict[Future[Any], tuple[PlannedScan, Ticket]] = {}  # futures of outcomes
        self._putting: dict[Future[Any], PlannedScan] = {}  # futures of results
        self._arrived: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()  # of both, once they are done
        self._done: dict[str, Result] = {}
        self._lines: dict[str, ContentLine] = {}
        self._seconds: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._looked = time.monotonic()  # for the wish to cancel

    def results(self, stop_at: Callable[[], float | None]) -> tuple[Result, ...] | None:
        """One line a scan, in plan order; None where the try was given up: stopped or cancelled.

        Raises what is no scan's fault.
        """
        networks = self._networks()
        while self._todo or self._judging or self._putting:
            while self._todo and len(self._judging) + len(self._putting) < self._window:
                self._hand_in(self._todo.popleft(), networks)
            for future in self._arrivals():
                self._take(future)
            if not self._goes_on(stop_at()):
                self.give_up()
                return None
        return tuple(self._done[scan.id] for scan in self._plan.shard.scans)

    def _arrivals(self) -> Iterator[Future[Any]]:
        """Futures that are done by now; waits for the first, but not for long."""
        with contextlib.suppress(queue.Empty):
            yield self._arrived.get(timeout=WAKE_SECONDS)
            while True:
                yield self._arrived.get_nowait()

    def give_up(self) -> None:
        """Forget what is under way; what is being put goes on and does no harm."""
        judging = list(self._judging.values())
        for _, ticket in judging:
            ticket.cancel()
        for scan in [*(scan for scan, _ in judging), *self._putting.values()]:
            harmlessly("note_not_cleared", functools.partial(self._clear_note, scan))
        self._judging.clear()

    def timing(self, seconds: float) -> bytes:
        """How long it took, in all and for each scan, in seconds."""
        scans = {scan: round(took, 4) for scan, took in sorted(self._seconds.items())}
        return json.dumps({"seconds": round(seconds, 4), "holder": self._desk.holder, "scans": scans}).encode()

    def contents(self) -> tuple[ContentLine, ...]:
        """What the scans hold that were judged, in plan order."""
        return tuple(self._lines[scan.id] for scan in self._plan.shard.scans if scan.id in self._lines)

    def _networks(self) -> tuple[Network, ...]:
        asked = self._plan.batch.options.engine
        engine = self._desk.settings.engine if asked == "auto" else asked
        weights, start = self._desk.weights, self._plan.start
        return tuple(
            Network.of(pin, weights.file(pin), weights.check(pin), engine, precision_for(pin.kind, start.precision))
            for pin in start.models
        )

    def _hand_in(self, scan: PlannedScan, networks: tuple[Network, ...]) -> None:
        plan = self._plan
        if self._careful and not self._desk.ledger.note_trying(plan.key, plan.shard.number, scan.id):
            self._done[scan.id] = failed_result(scan, Code.CRASHED)
            return
        job = Job(
            key=plan.key,
            scan=scan,
            sources={ref.source: plan.sources[ref.source] for ref in scan.files},
            options=plan.batch.options,
            pins=plan.start.models,
            networks=networks,
            reuse=self._desk.settings.reuse,
        )
        ticket = self._desk.supervisor.judge(job, alone=self._careful)
        self._begun[scan.id] = time.monotonic()
        self._judging[ticket.future] = scan, ticket
        ticket.future.add_done_callback(self._arrived.put)

    def _take(self, future: Future[Any]) -> None:
        if future in self._putting:
            scan = self._putting.pop(future)
            self._finish(scan, future.result())
            return
        scan, ticket = self._judging.pop(future)
        try:
            outcome: Outcome = future.result()
        except ScanFailed as error:
            log.info("scan_failed batch=%s scan=%s code=%s", self._plan.key.batch, scan.id, error.code)
            self._finish(scan, failed_result(scan, error.code))
            return
        judged: Judged = outcome.value
        if judged.line is not None:
            self._lines[scan.id] = judged.line
        putting = self._files.put(self._plan.key, judged, ticket.put_away)
        self._putting[putting] = scan
        putting.add_done_callback(self._arrived.put)

    def _finish(self, scan: PlannedScan, result: Result) -> None:
        self._seconds[scan.id] = time.monotonic() - self._begun[scan.id]
        self._done[scan.id] = result
        self._clear_note(scan)

    def _clear_note(self, scan: PlannedScan) -> None:
        if self._careful:
            self._desk.ledger.clear_trying(self._plan.key, self._plan.shard.number, scan.id)

    # -- what happens meanwhile --------------------------------------------------------------------------------

    def _goes_on(self, stop_at: float | None) -> bool:
        """False: it must be given up. A lost lease alone is no reason: two workers on one shard do no harm.

        A careful try is another matter, since the other worker takes its notes for those of a dead one.
        """
        self._lease.renew(self._done.values())
        now = time.monotonic()
        if (stop_at is not None and now >= stop_at) or (self._careful and self._lease.lost):
            return False
        if now - self._looked < CANCEL_SECONDS:
            return True
        self._looked = now
        return not self._desk.ledger.cancelling(self._plan.key)
