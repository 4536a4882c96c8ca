"""The supervisor: one a worker. It owns the arena and the children, and gives scans and calls to them.

Its state belongs to one thread. Other threads (Celery's, the children's readers) put what they have to say
on its queue of events; callers wait on futures.
"""

import atexit
import functools
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, Unavailable
from neurobatch.settings import Settings
from worker.arena import Arena, Slots
from worker.children import Child, Role, place_of
from worker.cores import usable_cores
from worker.crew import Crew, CrewCalls, CrewLimits
from worker.device import Device, DeviceCalls
from worker.engines import device_batch
from worker.heartbeat import BEAT_SECONDS, Heartbeat, Pulse
from worker.messages import DecoderConfig, Network, NetworkConfig, Outcome, Run, Start
from worker.tickets import Part, Task

SIDE = 224  # px of a slice that comes prepared
PART = 64  # slices at most that a decoder fills at once
BACKLOG = 256 << 20  # bytes of results that are not put away, above which no further scan is begun
WATCH_SECONDS = 0.05  # between two looks at memory and time
TICK = 0.01  # seconds between two looks at a batch that waits to be full
CLOSE_SECONDS = 5.0  # for children to end by themselves

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What children do, named so that the supervisor need not import it: "module:function" each."""

    flow: str = "worker.stages:flow"
    context: str = "worker.stages:context"
    load: str = "worker.engines:loader"
    context_settings: Any = None  # what `context` is called with, in a decoder
    load_settings: Any = None  # what `load` is called with, in the network process
    streams: int = 1  # device batches that the network process runs at once
    side: int = SIDE  # px of the largest slice that slots are made for


class Ticket:
    """A scan that was handed in."""

    def __init__(self, task: Task, supervisor: "Supervisor") -> None:
        self._task, self._supervisor = task, supervisor
        self.future: Future[Outcome] = task.future

    def cancel(self) -> None:
        """Forget it: the future is cancelled, or its outcome is put away."""
        if self.future.cancel():
            self._supervisor.forget(self._task)
        elif self.future.exception() is None:
            self.put_away()

    def put_away(self) -> None:
        """The outcome's bytes are no longer kept: must be called once for each outcome that was taken."""
        self._supervisor.put_away(self._task, self.future.result().size)


class Supervisor:
    """Runs scans and calls in child processes. Use as a context manager; safe for any number of threads."""

    def __init__(self, settings: Settings, stages: Stages, *, warm: tuple[Network, ...] = ()) -> None:
        """Nothing is started before `start`."""
        self._settings, self._stages, self._warm = settings, stages, warm
        self._events: queue.SimpleQueue[Callable[[float], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)
        self._lock = threading.Lock()  # over `_open` and the numbers of tasks
        self._open = False
        self._number = 0
        self._closing = False
        self._batch = device_batch(settings)
        self.width = self._batch * stages.streams  # slices that the networks judge at once
        self._end: NeurobatchError = Unavailable(Code.INTERNAL, "The worker is stopping.")
        self._tasks: set[Task] = set()
        self._backlog = 0  # bytes
        self._done = 0
        self._moved = 0.0
        self._heartbeat = Heartbeat(settings.home / "run")

    def __enter__(self) -> "Supervisor":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- for any thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Allocate the arena and start the children. Raises `Broken`: there is no room for the arena."""
        self._arena = Arena.create(self._settings.arena, self._stages.side)
        self._slots = Slots(self._arena.plan.slots)
        self._device = self._make_device()
        self._crew = self._make_crew()
        self._open = True
        atexit.register(self.close)
        self._thread.start()

    def close(self) -> None:
        """End the children; what was not done raises `Unavailable` where it is waited for."""
        with self._lock:
            self._open = False
        atexit.unregister(self.close)
        self._events.put(self._begin_to_close)
        if self._thread.ident is not None:
            self._thread.join()

    def judge(self, job: Any, *, alone: bool = False) -> Ticket:
        """Hand in a scan: its flow runs on `job`. Its future gives an `Outcome`, or raises:

        ScanFailed: it cannot be judged: `crashed`, `timed_out`, `out_of_memory`, or what its flow raised.
        Unavailable, Broken: no scan's fault.

        `alone`: it shares its decoder with no other from the start, and is failed at once if that dies.
        """
        task = self._hand_in(lambda number: Start(task=number, job=job), self._settings.scan_seconds, alone)
        return Ticket(task, self)

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """Run a plain function in a decoder that does nothing else meanwhile; it travels pickled, so by its name.

        Raises:
            ScanFailed: `timed_out` after `seconds` of work, `out_of_memory`, `crashed`.
            NeurobatchError: what the function raised.
        """

        def order(number: int) -> Run:
            return Run(task=number, function=function, arguments=arguments)

        ForkingPickler.dumps(order(0))  # what cannot travel is the caller's mistake, told here
        return self._hand_in(order, seconds, True).future.result()

    def forget(self, task: Task) -> None:
        """Nobody waits for a task any more."""
        self._events.put(functools.partial(self._forget, task))

    def put_away(self, task: Task, size: int) -> None:
        """The bytes of a task's outcome are no longer kept."""

        def settle(now: float) -> None:
            self._backlog -= size
            self._crew.settle(task, now, stands=True)

        self._events.put(settle)

    def pulse(self) -> Pulse:
        """How it does now; read without a lock, so counts may be of neighbouring moments."""
        under_way = len(self._tasks)
        return Pulse(
            pid=os.getpid(),
            at=time.time(),
            under_way=under_way,
            stuck=time.monotonic() - self._moved if under_way or self.dead else 0.0,
            done=self._done,
            slices=self._device.slices,
            batches=self._device.batches,
        )

    @property
    def dead(self) -> bool:
        """Whether it broke, which only a mistake in its program can do: the worker must be started anew."""
        return isinstance(self._end, Broken)

    @property
    def free_slots(self) -> tuple[int, int]:
        """Free slots of the arena, and all."""
        return self._slots.free, self._slots.count

    def pids(self) -> tuple[tuple[int, ...], int | None]:
        """Process ids of the decoders that run, and of the network process."""
        decoders = tuple(child.pid for seat in self._crew.seats if (child := seat.child) is not None)
        network = self._device.child
        return decoders, network.pid if network is not None else None

    def _hand_in(self, order: Callable[[int], Start | Run], seconds: float, alone: bool) -> Task:
        with self._lock:
            if not self._open:
                raise self._end
            self._number += 1
            task = Task(number=self._number, order=order, future=Future(), seconds=seconds, alone=alone)
            self._events.put(functools.partial(self._take_in, task))
        return task

    # -- the supervisor's own thread -------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001  the thread's outermost edge: everyone who waits is told
            log.critical("supervisor_died error=%s", place_of(error))
            self._end = Broken(Code.INTERNAL, "the supervisor died")
        self._closing = True
        with self._lock:
            self._open = False
        self._end_children()
        self._drain(time.monotonic())
        for task in list(self._tasks):
            self._finished(task, None, self._end)
        self._heartbeat.stop()
        self._arena.close()

    def _serve(self) -> None:
        watched = beaten = 0.0
        while not self._closing:
            try:
                event = self._events.get(timeout=TICK if self._device.partial else WATCH_SECONDS)
                event(time.monotonic())
            except queue.Empty:
                pass
            now = time.monotonic()
            self._drain(now)
            self._crew.run(now)
            self._device.feed(now, coming=self._crew.coming)
            if now - watched >= WATCH_SECONDS:
                self._crew.watch(now)
                self._device.watch(now)
                self._moved = now if self._device.loading else self._moved
                watched = now
            if now - beaten >= BEAT_SECONDS:
                self._heartbeat.beat(self.pulse())
                beaten = now

    def _drain(self, now: float) -> None:
        while True:
            try:
                self._events.get_nowait()(now)
            except queue.Empty:
                return

    def _begin_to_close(self, _: float) -> None:
        self._closing = True

    def _take_in(self, task: Task, now: float) -> None:
        if task.future.cancelled():
            return
        if not self._tasks:
            self._moved = now
        self._tasks.add(task)
        self._crew.put(task)

    def _forget(self, task: Task, now: float) -> None:
        if task in self._tasks:
            self._tasks.discard(task)
            self._crew.drop(task, now)

    def _finished(self, task: Task, value: Any, error: NeurobatchError | None) -> None:
        self._tasks.discard(task)
        self._done += 1
        self._moved = time.monotonic()
        try:
            if error is not None:
                task.future.set_exception(error)
            else:
                task.future.set_result(value)
                self._backlog += value.size if isinstance(value, Outcome) else 0
        except InvalidStateError:  # it was cancelled a moment ago
            self._crew.settle(task, self._moved, stands=False)

    def _answered(self, part: Part) -> None:
        self._crew.answer(part, self._device.ran(part), time.monotonic())

    def _filled(self, part: Part) -> None:
        self._device.put(part, time.monotonic())

    def _failed(self, task: Task, error: NeurobatchError) -> None:
        self._crew.fail(task, error, time.monotonic())

    # -- wiring ----------------------------------------------------------------------------------------------

    def _make_device(self) -> Device:
        settings = self._settings
        config = NetworkConfig(
            arena=self._arena.plan,
            batch=self._batch,
            streams=self._stages.streams,
            load=self._stages.load,
            settings=self._stages.load_settings,
        )
        role = Role(name="network", main="worker.network:main", config=config, log_level=self._log_level)
        calls = DeviceCalls(
            start=lambda: self._start(role, self._device),
            answered=self._answered,
            failed=self._failed,
        )
        return Device(
            calls,
            self._slots,
            batch=self._batch,
            streams=self._stages.streams,
            seconds=settings.scan_seconds,
            memory=settings.network_memory,
            warm=self._warm,
        )

    def _make_crew(self) -> Crew:
        settings = self._settings
        seats = settings.decoders or usable_cores()
        config = DecoderConfig(
            arena=self._arena.plan,
            part=max(1, min(self.width, PART, self._slots.count // 4)),
            flow=self._stages.flow,
            context=self._stages.context,
            settings=self._stages.context_settings,
        )
        limits = CrewLimits(
            seats=seats,
            scans=2 + math.ceil(3 * self.width / seats),
            held=settings.decoder_memory // 4,
            memory=settings.decoder_memory,
            seconds=settings.scan_seconds,
        )
        calls = CrewCalls(
            start=lambda number: self._start(self._decoder_role(number, config), self._crew),
            filled=self._filled,
            finished=self._finished,
            full=lambda: self._backlog > BACKLOG,
        )
        return Crew(calls, self._slots, limits)

    def _decoder_role(self, number: int, config: DecoderConfig) -> Role:
        return Role(
            name=f"decoder-{number}",
            main="worker.decoder:main",
            config=config,
            log_level=self._log_level,
            threads=1,
        )

    @property
    def _log_level(self) -> int:
        return logging.getLevelNamesMapping()[self._settings.log_level.upper()]

    def _start(self, role: Role, owner: Crew | Device) -> Child:
        """Always in the supervisor's own thread: children die with the thread that started them."""

        def hear(child: Child, messages: list[Any], now: float) -> None:
            for message in messages:
                owner.hear(child, message, now)

        def heard(child: Child, messages: list[Any]) -> None:
            self._events.put(functools.partial(hear, child, messages))

        def gone(child: Child) -> None:
            if not self._closing:
                self._events.put(functools.partial(owner.gone, child))

        return Child(role, heard, gone)

    def _end_children(self) -> None:
        children = [seat.child for seat in self._crew.seats if seat.child is not None]
        children += [self._device.child] if self._device.child is not None else []
        for child in children:
            child.dismiss()
        until = time.monotonic() + CLOSE_SECONDS
        for child in children:
            if not child.join(max(0.0, until - time.monotonic())):
                child.kill()
                child.join(CLOSE_SECONDS)
