"""The decoders: which of them does what, who waits for slots, and what happens when one dies or hangs.

All methods run in the supervisor's thread.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, ScanFailed
from worker.arena import Slots
from worker.children import Child
from worker.claims import Claims
from worker.messages import (
    Answer,
    At,
    Claimed,
    Clear,
    Done,
    Drop,
    Dropped,
    Failed,
    Filled,
    Grant,
    Ran,
    Ready,
    Run,
    Taken,
    Want,
)
from worker.tickets import Part, Task

AHEAD = 2  # tasks that a decoder has and has not begun: enough that it never waits for the supervisor
START_SECONDS = 300.0  # for a decoder to come up, on a machine that is short of everything
START_DEATHS = 3  # in a row: then decoders cannot run here
BACKOFF = 0.5  # seconds before a decoder that died while it started is started again, doubled each time

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CrewLimits:
    """What decoders may do."""

    seats: int  # decoder processes
    scans: int  # under way in one decoder at once
    held: int  # bytes of decoded scans above which a decoder gets no further scan
    memory: int  # bytes of its own above which a decoder is killed
    seconds: float  # of silence while there is something to do, above which it is killed


@dataclass(frozen=True, kw_only=True)
class CrewCalls:
    """What the decoders tell the rest of the supervisor."""

    start: Callable[[int], Child]
    filled: Callable[[Part], None]
    finished: Callable[[Task, Any, NeurobatchError | None], None]  # each task once, unless it was cancelled
    full: Callable[[], bool]  # whether results wait to be put away: then no further scan is begun


@dataclass(eq=False)
class Seat:
    """The place of one decoder, whichever process sits in it."""

    number: int
    child: Child | None = None
    ready: bool = False
    tasks: dict[int, Task] = field(default_factory=dict)
    unbegun: set[int] = field(default_factory=set)
    active: Task | None = None
    since: float = 0.0  # when it was last heard, or given something while it had nothing to do
    held: int = 0  # bytes of decoded scans
    idle: bool = True  # it has done all that it was told
    deaths: int = 0  # before it was ready, in a row
    start_at: float = 0.0

    @property
    def alone(self) -> bool:
        """Whether a task has it for itself."""
        return any(task.alone for task in self.tasks.values())

    @property
    def feeds(self) -> bool:
        """Whether slices may come from it soon."""
        return self.ready and not self.idle and not any(isinstance(task.message, Run) for task in self.tasks.values())

    def send(self, message: Any, now: float) -> None:
        """Tell its process something."""
        if self.child is not None:
            self.since = now if self.idle else self.since
            self.idle = False
            self.child.send(message)


class Crew:
    """All decoders, and the tasks that wait for one."""

    def __init__(self, calls: CrewCalls, slots: Slots, limits: CrewLimits) -> None:
        self._calls, self._slots, self._limits = calls, slots, limits
        self.seats = [Seat(number) for number in range(limits.seats)]
        self._waiting: deque[Task] = deque()
        self._alone: deque[Task] = deque()
        self._wants: deque[tuple[Seat, Task, Want]] = deque()
        self._claims = Claims()

    @property
    def under_way(self) -> int:
        """Tasks that wait or are being worked on."""
        return len(self._waiting) + len(self._alone) + sum(len(seat.tasks) for seat in self.seats)

    @property
    def coming(self) -> bool:
        """Whether slices may come soon."""
        return any(seat.feeds for seat in self.seats)

    def put(self, task: Task) -> None:
        """A task to do."""
        (self._alone if task.alone else self._waiting).append(task)

    def drop(self, task: Task, now: float) -> None:
        """Nobody waits for a task any more."""
        task.over = True
        for queue in (self._waiting, self._alone):
            if task in queue:
                queue.remove(task)
                return
        for seat in self.seats:
            if task.number in seat.tasks:
                seat.send(Drop(task=task.number), now)

    def fail(self, task: Task, error: NeurobatchError, now: float) -> None:
        """A task failed outside of its decoder."""
        if not task.over:
            self.drop(task, now)
            self._calls.finished(task, None, error)

    def run(self, now: float) -> None:
        """Start decoders, give them tasks, and grant slots."""
        for seat in self.seats:
            if seat.child is None and now >= seat.start_at:
                seat.child, seat.since, seat.idle = self._calls.start(seat.number), now, True
        self._assign_alone(now)
        self._assign(now)
        self._grant(now)

    def watch(self, now: float) -> None:
        """Kill decoders that take too long or too much."""
        for seat in self.seats:
            if seat.child is None:
                continue
            if self._late(seat, now):
                seat.child.kill(Code.TIMED_OUT)
            elif seat.child.memory() > self._limits.memory:
                seat.child.kill(Code.OUT_OF_MEMORY)

    def _late(self, seat: Seat, now: float) -> bool:
        silent = now - seat.since
        if not seat.ready:
            return silent > START_SECONDS
        if seat.active is not None:
            return seat.active.spent + silent > seat.active.seconds
        return not seat.idle and silent > self._limits.seconds

    # -- giving out ------------------------------------------------------------------------------------------

    def _assign_alone(self, now: float) -> None:
        for seat in self.seats:
            if self._alone and seat.ready and not seat.tasks:
                self._give(seat, self._alone.popleft(), now)

    def _assign(self, now: float) -> None:
        """Each to the decoder that has least to do; some run dry for tasks that must be alone."""
        shared = sorted((seat for seat in self.seats if not seat.alone), key=lambda seat: len(seat.tasks))
        shared = shared[len(self._alone) :]
        while self._waiting and not self._calls.full():
            open_seats = [seat for seat in shared if self._has_room(seat)]
            if not open_seats:
                return
            self._give(min(open_seats, key=lambda seat: len(seat.tasks)), self._waiting.popleft(), now)

    def _has_room(self, seat: Seat) -> bool:
        limits = self._limits
        few = len(seat.tasks) < limits.scans and len(seat.unbegun) < AHEAD
        return seat.ready and few and (seat.held < limits.held or not seat.tasks)

    def _give(self, seat: Seat, task: Task, now: float) -> None:
        seat.tasks[task.number] = task
        seat.unbegun.add(task.number)
        seat.send(task.message, now)

    def _grant(self, now: float) -> None:
        """First come, first served: whoever holds slots fills them at once, so those who wait get theirs."""
        while self._wants:
            seat, task, want = self._wants[0]
            if not task.over:
                slots = self._slots.take(want.count)
                if slots is None:
                    return
                task.parts[want.part] = Part(task=task, number=want.part, slots=slots)
                seat.send(Grant(task=task.number, part=want.part, slots=slots), now)
            self._wants.popleft()

    def answer(self, part: Part, ran: tuple[Ran, ...], now: float) -> None:
        """All networks have judged a part."""
        message = Answer(task=part.task.number, part=part.number, slots=part.slots, outputs=part.answers(), ran=ran)
        for seat in self.seats:
            if part.task.number in seat.tasks:
                seat.send(message, now)

    def settle(self, task: Task, now: float, *, stands: bool) -> None:
        """Nothing is left to do for a task, whose value is put away where it has one: who waits for the same goes on.

        `stands`: others find its result now, so that all may look for it at once.
        """
        for waiting in self._claims.leave(task, stands=stands):
            for seat in self.seats:
                if waiting.number in seat.tasks:
                    seat.send(Clear(task=waiting.number, waited=True), now)

    # -- hearing ---------------------------------------------------------------------------------------------

    def hear(self, child: Child, message: Any, now: float) -> None:
        """What a decoder says."""
        seat = next((seat for seat in self.seats if seat.child is child), None)
        if seat is None:
            return
        if seat.active is not None:
            seat.active.spent += now - seat.since
        seat.since = now
        if isinstance(message, Ready):
            seat.ready, seat.deaths = True, 0
        elif isinstance(message, At):
            self._at(seat, child, message)
        elif (task := seat.tasks.get(message.task)) is not None:
            self._on_task(seat, task, message)

    def _at(self, seat: Seat, child: Child, message: At) -> None:
        seat.held = message.held
        seat.idle = message.task is None and message.heard == child.sent
        seat.active = None if message.task is None else seat.tasks.get(message.task)
        if message.task is not None:
            seat.unbegun.discard(message.task)

    def _on_task(self, seat: Seat, task: Task, message: Any) -> None:
        match message:
            case Claimed():
                if self._claims.take(message.key, task):
                    seat.send(Clear(task=task.number, waited=False), seat.since)
            case Want():
                self._wants.append((seat, task, message))
            case Filled():
                task.parts[message.part].begin(message.networks)
                self._calls.filled(task.parts[message.part])
            case Taken():
                task.parts.pop(message.part).release(self._slots)
            case Done():
                self._end(seat, task, message.value, None)
            case Failed():
                self._end(seat, task, None, message.error)
            case Dropped():
                self._end(seat, task, None, None)

    def _end(self, seat: Seat, task: Task, value: Any, error: NeurobatchError | None) -> None:
        self._leave(seat, task)
        if task.over or error is not None:
            self.settle(task, seat.since, stands=False)
        if not task.over:
            task.over = True
            self._calls.finished(task, value, error)

    def _leave(self, seat: Seat, task: Task) -> None:
        seat.tasks.pop(task.number, None)
        seat.unbegun.discard(task.number)
        if seat.active is task:
            seat.active = None
        for part in task.parts.values():
            part.release(self._slots)
        task.parts = {}
        self._wants = deque(want for want in self._wants if want[1] is not task)

    # -- dying -----------------------------------------------------------------------------------------------

    def gone(self, child: Child, now: float) -> None:
        """A decoder ended: its scans are tried again at once, each alone; one that was alone is at fault."""
        seat = next((seat for seat in self.seats if seat.child is child), None)
        if seat is None:
            return
        reason, ready, tasks = child.reason or Code.CRASHED, seat.ready, list(seat.tasks.values())
        log.warning("decoder_died code=%s tasks=%d starting=%s", reason, len(tasks), not ready)
        seat.child, seat.ready, seat.held, seat.idle = None, False, 0, True
        for task in tasks:
            self._leave(seat, task)
            self.settle(task, now, stands=False)
            self._retry(task, reason)
        if not ready:
            seat.deaths += 1
            seat.start_at = now + BACKOFF * 2 ** min(seat.deaths - 1, 6)
        if seat.deaths >= START_DEATHS and not any(other.ready for other in self.seats):
            self._give_up()

    def _retry(self, task: Task, reason: Code) -> None:
        if task.over:
            return
        if task.alone:
            task.over = True
            self._calls.finished(task, None, ScanFailed(reason))
            return
        task.alone, task.spent = True, 0.0
        self._alone.append(task)

    def _give_up(self) -> None:
        """No decoder comes up: that is no scan's fault."""
        for task in [*self._alone, *self._waiting]:
            task.over = True
            self._calls.finished(task, None, Broken(Code.INTERNAL, "decoder processes die while they start"))
        self._alone.clear()
        self._waiting.clear()
