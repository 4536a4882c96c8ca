"""Child processes: how one is started, spoken with, watched and ended; and the first steps of one.

A child is started by `spawn`. A thread of the supervisor reads its pipe and another writes to it, so that
no child that hangs can hold up the supervisor; a thread of the child reads the other end, so that a child
ends itself when the supervisor is gone, whatever it is doing. Signals of the terminal or of an init system
are for the supervisor: children ignore them.

What passes through the pipe is lists of messages: each pickle and each wake-up costs more than what most messages say.
"""

import contextlib
import ctypes
import logging
import multiprocessing
import os
import pickle
import pkgutil
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn, cast

import psutil

from neurobatch.codes import Code

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STOP = None  # what tells a writer to end
_FAREWELL = b""  # unpickling nothing raises EOFError, as a pipe does whose other end was closed

QUOTING = ("pydicom", "nibabel", "PIL")  # libraries whose messages quote what a file holds: a patient's name

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a child does."""

    name: str
    main: str  # "module:function" taking (link, config); the supervisor need not import it
    config: Any
    log_level: int = logging.WARNING
    threads: int | None = None  # that its numeric libraries may start; None: as many as they like


class Child:
    """One child process, as the supervisor sees it. All methods return at once."""

    def __init__(
        self, role: Role, heard: Callable[["Child", list[Any]], None], gone: Callable[["Child"], None]
    ) -> None:
        """Start it. `heard` gets what it says, then `gone` comes once; both in a thread of the child's own."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=child_main, args=(theirs,), name=role.name, daemon=True)
        self._process.start()
        theirs.close()
        self._watched = psutil.Process(self._process.pid)
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._heard, self._gone = heard, gone
        self._ended = threading.Event()
        self.sent = 0  # messages
        self.reason: Code | None = None  # why the supervisor killed it
        self._outbox.put(role)
        for work in (self._read, self._write):
            threading.Thread(target=work, name=f"{role.name}-{work.__name__[1:]}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._watched.pid

    def send(self, message: Any) -> None:
        """Queue a message."""
        self.sent += 1
        self._outbox.put(message)

    def memory(self) -> int:
        """Bytes of memory that are its own: resident, without what it shares (arena, libraries)."""
        try:
            used = self._watched.memory_info()
        except psutil.Error:
            return 0
        return max(0, int(used.rss) - int(getattr(used, "shared", 0)))

    def kill(self, reason: Code | None = None) -> None:
        """End it now; `gone` follows."""
        self.reason = self.reason or reason
        self._process.kill()

    def dismiss(self) -> None:
        """Close the pipe when all is sent: the child ends by itself."""
        self._outbox.put(_STOP)

    def join(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        return self._ended.wait(seconds)

    def _read(self) -> None:
        try:
            while True:
                self._heard(self, self._pipe.recv())
        except (EOFError, OSError):
            pass
        finally:
            self._process.kill()  # whatever broke the pipe, a child that cannot be heard is no use
            self._process.join()
            self._outbox.put(_STOP)
            self._pipe.close()
            self._ended.set()
            self._gone(self)

    def _write(self) -> None:
        try:
            self._pipe.send(self._outbox.get())  # its role
            while messages := self._unsent():
                self._pipe.send(messages)
            self._pipe.send_bytes(_FAREWELL)
        except (OSError, pickle.PicklingError, TypeError, AttributeError):
            self._process.kill()  # the reader sees its end and tells

    def _unsent(self) -> list[Any]:
        """All that waits to be sent, once something does; nothing where it is to end."""
        messages = [self._outbox.get()]
        with contextlib.suppress(queue.Empty):
            while messages[-1] is not _STOP:
                messages.append(self._outbox.get_nowait())
        if messages[-1] is _STOP:
            messages.pop()
            self._outbox.put(_STOP)  # for the next time
        return messages


class Link:
    """The supervisor, as a child sees it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._held: list[Any] = []
        self.heard = 0  # messages taken by `receive`

    def listen(self) -> None:
        """Start reading. From now on the process ends when the supervisor does."""
        threading.Thread(target=self._read, name="link", daemon=True).start()

    def receive(self, *, wait: bool = True) -> Any:
        """The next message; None where none is there and `wait` is False."""
        try:
            message = self.inbox.get(block=wait)
        except queue.Empty:
            return None
        self.heard += 1
        return message

    def hold(self, message: Any) -> None:
        """Say something together with what is sent next."""
        self._held.append(message)

    def send(self, message: Any) -> None:
        """Say something now, and what was held back before it; blocks while the pipe is full."""
        messages, self._held = [*self._held, message], []
        self._pipe.send(messages)

    def _read(self) -> None:
        try:
            while True:
                for message in self._pipe.recv():
                    self.inbox.put(message)
        finally:
            os._exit(0)


def child_main(pipe: Connection) -> None:
    """Become what the first message says, before anything heavy is imported. Never returns."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold patients' pictures
    _die_with_parent()
    role = pipe.recv()
    logging.basicConfig(level=role.log_level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    for reader in QUOTING:
        logging.getLogger(reader).setLevel(logging.CRITICAL + 1)
    if role.threads is not None:
        os.environ.update(dict.fromkeys(THREADS, str(role.threads)))
    main = resolve(role.main)
    link = Link(pipe)
    link.listen()  # not before: two threads that import the same modules can meet half of one
    try:
        main(link, role.config)
    except BaseException as error:  # noqa: BLE001  the process's outermost edge: told, then it ends
        fatal(error)
    os._exit(0)  # no clean-up: views into the arena may still stand


def fatal(error: BaseException) -> NoReturn:
    """End this process for an error that nobody foresaw."""
    log.critical("child_died role=%s error=%s", multiprocessing.current_process().name, place_of(error))
    os._exit(1)


def resolve(entry: str) -> Callable[..., Any]:
    """The function that "module:function" names; imports the module."""
    return cast(Callable[..., Any], pkgutil.resolve_name(entry))


def place_of(error: BaseException) -> str:
    """An error's type and where it arose; not its text, which may quote a patient's data."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join([type(error).__name__, *(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))])


def _die_with_parent() -> None:
    """On Linux also a process that never comes back from a library is ended when the supervisor dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
