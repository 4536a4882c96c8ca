"""The decoder process: takes scans from their bytes to their artifacts, many at a time, and calls plain
functions.

A scan's *flow* is a generator: it reads and decodes, yields each `Feed` of slices that networks must see,
goes on with their verdicts, and returns what the scan came to. This loop prepares the slices of all feeds
into granted slots, part by part, so that a series larger than the arena passes through it; while one scan
waits for the networks another is worked on. Which of them the process was at when it died, the supervisor
knows from `At`.
"""

import functools
import logging
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, ScanFailed, Unavailable
from worker.arena import MASKS, Arena
from worker.children import Link, place_of, resolve
from worker.messages import (
    Answer,
    At,
    Claim,
    Claimed,
    Clear,
    DecoderConfig,
    Done,
    Drop,
    Dropped,
    Failed,
    Feed,
    Filled,
    Grant,
    Outcome,
    Ready,
    Run,
    Start,
    Taken,
    Verdict,
    Want,
)

PARTS = 3  # of one feed that are under way at once: one filled, one judged, one on its way back

Flow = Generator[Feed | Claim, Any, Outcome]  # goes on with what the docstrings of the two say

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Desk:
    """A scan on its way through this process."""

    task: int
    flow: Flow
    held: int = 0  # bytes that the flow keeps while it waits
    feed: Feed | None = None
    values: tuple[NDArray[Any], ...] = ()  # by network, see `Verdict`
    asked: int = 0  # slices for which slots were wanted so far
    judged: int = 0  # slices whose verdicts came


def main(link: Link, config: DecoderConfig) -> None:
    """Work until the supervisor is gone."""
    make = resolve(config.context)
    Decoder(link, config, make(config.settings)).work()


class Decoder:
    """The loop over messages; one thread, so one scan at a time is decoded, prepared or concluded."""

    def __init__(self, link: Link, config: DecoderConfig, context: Any) -> None:
        self._link = link
        self._part = config.part
        self._context = context
        self._begin: Callable[[Any, Any], Flow] = resolve(config.flow)
        self._arena = Arena.attach(config.arena)
        self._desks: dict[int, Desk] = {}
        self._pending: deque[Any] = deque()

    def work(self) -> None:
        """Do what comes; what feeds the networks first, new scans last."""
        self._link.send(Ready())
        while True:
            while (message := self._link.receive(wait=False)) is not None:
                self._pending.append(message)
            if not self._pending:
                self._tell(None)
                self._pending.append(self._link.receive())
                continue
            message = min(self._pending, key=_urgency)
            self._pending.remove(message)
            self._do(message)

    def _do(self, message: Any) -> None:
        self._tell(message.task)
        match message:
            case Start():
                new = Desk(message.task, self._begin(self._context, message.job))
                self._desks[message.task] = new
                self._attempt(new, functools.partial(self._advance, new, None))
            case Run():
                self._call(message)
            case Drop():
                self._drop(message)
            case Clear() if (desk := self._desks.get(message.task)) is not None:
                self._attempt(desk, functools.partial(self._advance, desk, message.waited))
            case Grant() if (desk := self._desks.get(message.task)) is not None:
                self._attempt(desk, functools.partial(self._fill, desk, message))
            case Answer() if (desk := self._desks.get(message.task)) is not None:
                self._attempt(desk, functools.partial(self._take, desk, message))

    def _tell(self, task: int | None) -> None:
        """Say what comes next, and with it what came of the last: it must be known before anything is touched."""
        held = sum(desk.held for desk in self._desks.values())
        self._link.send(At(task=task, heard=self._link.heard, held=held))

    def _attempt(self, desk: Desk, step: Callable[[], None]) -> None:
        """Take one step of a scan; whatever comes of it, the other scans go on."""
        try:
            step()
        except StopIteration as end:
            self._finish(desk.task, Done(task=desk.task, value=end.value))
        except Exception as error:  # noqa: BLE001  the edge of a scan: its fault becomes its result
            self._finish(desk.task, Failed(task=desk.task, error=scans_fault(error)))

    def _finish(self, task: int, word: Done | Failed) -> None:
        del self._desks[task]
        self._link.hold(word)

    def _call(self, run: Run) -> None:
        try:
            value = run.function(*run.arguments)
        except Exception as error:  # noqa: BLE001  the edge of a call: its fault is raised in the supervisor
            self._link.hold(Failed(task=run.task, error=told(error)))
        else:
            self._link.hold(Done(task=run.task, value=value))

    def _drop(self, drop: Drop) -> None:
        """Forget a task, also what waits for it here; where its last word was said already, no other follows."""
        unbegun = [message for message in self._pending if message.task == drop.task]
        for message in unbegun:
            self._pending.remove(message)
        desk = self._desks.pop(drop.task, None)
        if desk is not None:
            desk.flow.close()
        if desk is not None or any(isinstance(message, Start | Run) for message in unbegun):
            self._link.hold(Dropped(task=drop.task))

    def _advance(self, desk: Desk, told: tuple[Verdict, ...] | bool | None) -> None:
        """Run the flow up to its next claim, or its next feed, and want slots for the first parts of that."""
        desk.feed, desk.held = None, 0
        feed = desk.flow.send(told)
        desk.held = feed.held
        if isinstance(feed, Claim):
            self._link.hold(Claimed(task=desk.task, key=feed.key))
            return
        desk.feed, desk.asked, desk.judged = feed, 0, 0
        desk.values = tuple(
            np.empty((feed.count, network.size, network.size, MASKS), np.uint8)
            if network.segments
            else np.empty((feed.count, network.numbers), np.float32)
            for network in feed.networks
        )
        for _ in range(PARTS):
            self._want(desk, feed)

    def _want(self, desk: Desk, feed: Feed) -> None:
        """A part is known by the index of its first slice."""
        count = min(self._part, feed.count - desk.asked)
        if count > 0:
            self._link.hold(Want(task=desk.task, part=desk.asked, count=count))
            desk.asked += count

    def _fill(self, desk: Desk, grant: Grant) -> None:
        feed = desk.feed
        if feed is None:
            raise RuntimeError("slots were granted to a scan that wants none")
        for index, slot in enumerate(grant.slots, start=grant.part):
            self._arena.put(slot, feed.prepare(index))
        self._link.hold(Filled(task=desk.task, part=grant.part, slots=grant.slots, networks=feed.networks))

    def _take(self, desk: Desk, answer: Answer) -> None:
        feed = desk.feed
        if feed is None:
            raise RuntimeError("an answer came for a scan that asked nothing")
        count = len(answer.slots)
        for network, values, output in zip(feed.networks, desk.values, answer.outputs, strict=True):
            if output is not None:
                values[answer.part : answer.part + count] = output
                continue
            for index, slot in enumerate(answer.slots, start=answer.part):
                values[index] = self._arena.mask(slot, network.size)
        self._link.hold(Taken(task=desk.task, part=answer.part))
        desk.judged += count
        self._want(desk, feed)
        if desk.judged == feed.count:
            told = zip(feed.networks, answer.ran, desk.values, strict=True)
            verdicts = tuple(Verdict(network=network, ran=ran, values=values) for network, ran, values in told)
            self._advance(desk, verdicts)


def told(error: Exception) -> NeurobatchError:
    """An error as it is told to the supervisor; an unforeseen one by its type only, since its text may quote data."""
    if isinstance(error, NeurobatchError):
        return error
    if isinstance(error, MemoryError):
        return ScanFailed(Code.OUT_OF_MEMORY)
    log.error("crashed error=%s", place_of(error))
    return ScanFailed(Code.CRASHED, type(error).__name__)


def scans_fault(error: Exception) -> NeurobatchError:
    """What an error means for a scan: its own fault, unless a service or the installation is at fault."""
    fault = told(error)
    if isinstance(fault, Broken) and fault.code is Code.INTERNAL:
        log.error("crashed error=%s detail=%s", place_of(error), fault.detail)
        return ScanFailed(Code.CRASHED, fault.detail)  # the program's, over this scan: trying it again will not help
    return fault if isinstance(fault, Unavailable | Broken | ScanFailed) else ScanFailed(fault.code, fault.detail)


def _urgency(message: Any) -> int:
    return (
        0 if isinstance(message, Drop) else 1 if isinstance(message, Grant) else 2 if isinstance(message, Answer) else 3
    )
