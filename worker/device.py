"""The device's queue: which slices go to the network process together, and what happens when it dies.

Full batches across scans and shards; a batch that is not full waits while more may come, but no longer than a
batch takes. All methods run in the supervisor's thread.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, ScanFailed
from worker.arena import Slots
from worker.children import Child
from worker.messages import Judge, Judged, Loaded, Loading, Network, Ran, Ready, Warm
from worker.tickets import Part, Task

AHEAD = 1  # batches that wait in the network process beside those that run
PATIENCE = (0.02, 0.5)  # seconds that a batch which is not full waits, at least and at most
LOAD_SECONDS = 900.0  # to start, or to load one network, which may have to be converted first
LOAD_DEATHS = 3  # in a row: then the network cannot be run here
BACKOFF = 0.5  # seconds before a process that died while it started is started again, doubled each time

log = logging.getLogger(__name__)


class Item(NamedTuple):
    """One slice for one network."""

    part: Part
    at: int  # index in the part
    verdict: int  # which of the part's networks
    since: float  # when it came into the queue


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Slices that are judged together."""

    number: int
    network: Network
    items: tuple[Item, ...]
    alone: bool  # of one scan under suspicion
    sent: float


@dataclass(frozen=True, kw_only=True)
class DeviceCalls:
    """What the device tells the rest of the supervisor."""

    start: Callable[[], Child]
    answered: Callable[[Part], None]
    failed: Callable[[Task, NeurobatchError], None]


class Device:
    """One network process and the slices that wait for it."""

    def __init__(
        self,
        calls: DeviceCalls,
        slots: Slots,
        *,
        batch: int,
        streams: int,
        seconds: float,
        memory: int,
        warm: tuple[Network, ...] = (),
    ) -> None:
        self._calls, self._slots = calls, slots
        self._batch, self._streams, self._seconds, self._memory, self._warm = batch, streams, seconds, memory, warm
        self._queues: dict[Network, deque[Item]] = {}
        self._suspects: deque[tuple[Network, tuple[Item, ...]]] = deque()
        self._sent: OrderedDict[int, Batch] = OrderedDict()
        self._durations: dict[Network, float] = {}
        self._ran: dict[Network, Ran] = {}
        self._number = 0
        self._ready = False
        self._loading: Network | None = None
        self._early_deaths = 0
        self._start_at = 0.0
        self._moved = 0.0  # when the process last said something, or was given work while idle
        self.child: Child | None = None
        self.batches = 0  # judged so far
        self.slices = 0  # judged so far

    @property
    def loading(self) -> bool:
        """Whether the process is getting ready: nothing moves meanwhile, and `watch` bounds it."""
        return not self._ready or self._loading is not None

    @property
    def partial(self) -> bool:
        """Whether something waits to be judged: then time matters."""
        return any(self._queues.values()) or bool(self._suspects)

    def ran(self, part: Part) -> tuple[Ran, ...]:
        """What ran the networks of a part that was judged."""
        return tuple(self._ran[network] for network in part.networks)

    def put(self, part: Part, now: float) -> None:
        """Slices to judge, by each of the part's networks."""
        for verdict, network in enumerate(part.networks):
            queue = self._queues.setdefault(network, deque())
            queue.extend(Item(part, index, verdict, now) for index in range(len(part.slots)))

    def feed(self, now: float, *, coming: bool) -> None:
        """Send what should be sent; `coming`: more slices may come soon."""
        if self.child is None:
            if now >= self._start_at:
                self._start(now)
            return
        while self._ready and len(self._sent) < self._streams + AHEAD:
            batch = self._next(now, coming)
            if batch is None:
                return
            self._send(batch)

    def hear(self, child: Child, message: Any, now: float) -> None:
        """What the process says."""
        if child is not self.child:
            return
        match message:
            case Ready():
                self._ready = True
                if self._warm:
                    child.send(Warm(networks=self._warm))
            case Loading():
                self._loading = message.network
            case Loaded():
                self._loading = None
                self._early_deaths = 0
                if message.ran is not None:
                    self._ran[message.network] = message.ran
                if message.error is not None:
                    self._refuse(message.network, message.error)
            case Judged():
                self._judged(message, now)
        self._moved = now

    def gone(self, child: Child, now: float) -> None:
        """The process ended: what it held is judged again, each scan by itself, to find the one at fault."""
        if child is not self.child:
            return
        reason = child.reason or Code.CRASHED
        early, held = self.loading, list(self._sent.values())
        log.warning("network_died code=%s batches=%d starting=%s", reason, len(held), early)
        loading = self._loading
        self.child, self._ready, self._loading = None, False, None
        self._sent.clear()
        for batch in held:
            for item in batch.items:
                item.part.returned(self._slots)
        if early:
            self._died_early(loading, held, now)
        else:
            self._suspect(held, reason)

    def watch(self, now: float) -> None:
        """Kill the process where it takes too long or too much."""
        child = self.child
        if child is None:
            return
        limit = LOAD_SECONDS if self.loading else self._seconds
        if (self.loading or self._sent) and now - self._moved > limit:
            child.kill(Code.TIMED_OUT)
        elif child.memory() > self._memory:
            child.kill(Code.OUT_OF_MEMORY)

    def _start(self, now: float) -> None:
        self.child = self._calls.start()
        self._moved = now

    # -- which batch next ------------------------------------------------------------------------------------

    def _next(self, now: float, coming: bool) -> Batch | None:
        if self._suspects or any(batch.alone for batch in self._sent.values()):
            return None if self._sent else self._alone(now)
        network = self._full() or (self._due(now, coming) if len(self._sent) < self._streams else None)
        if network is None:
            return None
        return self._made(network, self._take(network), alone=False, now=now)

    def _alone(self, now: float) -> Batch | None:
        while self._suspects:
            network, items = self._suspects.popleft()
            if not items[0].part.over and not items[0].part.task.over:
                return self._made(network, items, alone=True, now=now)
        return None

    def _full(self) -> Network | None:
        """A network with a full batch; those that segment first: their scans are nearest to their end."""
        full = [network for network, queue in self._queues.items() if len(queue) >= self._batch]
        return min(full, key=self._rank, default=None)

    def _due(self, now: float, coming: bool) -> Network | None:
        waiting = [network for network, queue in self._queues.items() if queue]
        oldest = min(waiting, key=lambda network: self._queues[network][0].since, default=None)
        if oldest is None or not coming:
            return oldest
        least, most = PATIENCE
        patience = min(max(least, self._durations.get(oldest, least)), most)
        return oldest if now - self._queues[oldest][0].since >= patience else None

    def _rank(self, network: Network) -> tuple[bool, float]:
        return not network.segments, self._queues[network][0].since

    def _take(self, network: Network) -> tuple[Item, ...]:
        """Up to a batch of slices that somebody still waits for."""
        queue = self._queues[network]
        taken: list[Item] = []
        while queue and len(taken) < self._batch:
            item = queue.popleft()
            if not item.part.over and not item.part.task.over:
                taken.append(item)
        if not queue:
            del self._queues[network]
        return tuple(taken)

    def _made(self, network: Network, items: tuple[Item, ...], *, alone: bool, now: float) -> Batch:
        self._number += 1
        return Batch(number=self._number, network=network, items=items, alone=alone, sent=now)

    def _send(self, batch: Batch) -> None:
        if not batch.items or self.child is None:
            return
        for item in batch.items:
            item.part.at_device += 1
        if not self._sent:
            self._moved = batch.sent
        self._sent[batch.number] = batch
        slots = tuple(item.part.slots[item.at] for item in batch.items)
        self.child.send(Judge(number=batch.number, network=batch.network, slots=slots))

    # -- what came of it -------------------------------------------------------------------------------------

    def _judged(self, message: Judged, now: float) -> None:
        batch = self._sent.pop(message.number, None)
        if batch is None:
            return
        self._durations[batch.network] = message.seconds
        self.batches += 1
        self.slices += len(batch.items)
        for row, item in enumerate(batch.items):
            part = item.part
            part.returned(self._slots)
            if message.said is not None:
                part.outputs[item.verdict][item.at] = message.said[row]
            part.left -= 1
            if part.left == 0 and not part.over:
                self._calls.answered(part)

    def _refuse(self, network: Network, error: NeurobatchError) -> None:
        """A network that cannot be loaded is no scan's fault: everyone who waits for it is told."""
        held = [batch for batch in self._sent.values() if batch.network == network]
        for batch in held:
            del self._sent[batch.number]
            for item in batch.items:
                item.part.returned(self._slots)
        queued = self._queues.pop(network, deque())
        items = [item for batch in held for item in batch.items] + list(queued)
        items += [item for other, suspects in self._suspects if other == network for item in suspects]
        for task in _tasks(items):
            self._calls.failed(task, error)

    def _died_early(self, loading: Network | None, held: Iterable[Batch], now: float) -> None:
        self._early_deaths += 1
        self._start_at = now + BACKOFF * 2 ** min(self._early_deaths - 1, 6)
        for batch in reversed(list(held)):
            self._queues.setdefault(batch.network, deque()).extendleft(reversed(batch.items))
        if self._early_deaths < LOAD_DEATHS:
            return
        self._warm = tuple(network for network in self._warm if network != loading)  # the others shall still run
        error = Broken(Code.NO_ENGINE, "the network process dies while it starts")
        for network in [loading] if loading is not None else list(self._queues):
            self._refuse(network, error)

    def _suspect(self, held: Iterable[Batch], reason: Code) -> None:
        """Of several scans any may be at fault; one that was judged by itself is."""
        for batch in held:
            if batch.alone:
                self._calls.failed(batch.items[0].part.task, ScanFailed(reason))
                continue
            for task in _tasks(batch.items):
                items = tuple(item for item in batch.items if item.part.task is task)
                self._suspects.append((batch.network, items))


def _tasks(items: Iterable[Item]) -> list[Task]:
    """The tasks of items that somebody waits for, each once, in order."""
    return list(dict.fromkeys(item.part.task for item in items if not item.part.task.over))
