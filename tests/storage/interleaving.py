"""Actors whose every look at the store is one step that the test decides on: run, interleave or kill them."""

import threading
from collections.abc import Callable, Iterable, Iterator

from neurobatch.errors import NeurobatchError
from storage.objects import OCTETS, Body, Objects, Stored


class Killed(BaseException):
    """The process died here."""


class Actor:
    """One process that works on the store; it runs only while `step` lets it, one store operation at a time."""

    def __init__(self, name: str, work: Callable[[Objects], object], store: Objects) -> None:
        self.name = name
        self.done = False
        self.fault: NeurobatchError | None = None
        self.crash: BaseException | None = None
        self._store = store
        self._work = work
        self._kill: str | None = None
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()
        self._back.acquire()

    def step(self) -> None:
        """Let it do one operation."""
        if not self.done:
            self._turn.release()
            self._back.acquire()

    def kill(self, *, after: bool) -> None:
        """Kill it before its next operation, or after that took effect but before it heard so."""
        if not self.done:
            self._kill = "after" if after else "before"
            self.step()
            assert self.done

    def _run(self) -> None:
        try:
            self._work(Stepped(self._store, self._gate, self._struck))
        except Killed:
            pass
        except NeurobatchError as fault:
            self.fault = fault
        except BaseException as crash:  # noqa: BLE001  shown by the test that owns the actor
            self.crash = crash
        self.done = True
        self._back.release()

    def _gate(self) -> None:
        self._back.release()
        self._turn.acquire()
        if self._kill == "before":
            raise Killed

    def _struck(self) -> None:
        if self._kill == "after":
            raise Killed


class Stepped:
    """A store that asks before each operation, and can die after it."""

    def __init__(self, inner: Objects, gate: Callable[[], None], struck: Callable[[], None]) -> None:
        self._inner = inner
        self._gate = gate
        self._struck = struck

    def create(self, name: str, body: Body, *, content_type: str = OCTETS) -> bool:
        self._gate()
        won = self._inner.create(name, body, content_type=content_type)
        self._struck()
        return won

    def put(self, name: str, body: Body, *, content_type: str = OCTETS) -> Stored:
        self._gate()
        stored = self._inner.put(name, body, content_type=content_type)
        self._struck()
        return stored

    def get(self, name: str) -> bytes:
        self._gate()
        self._struck()
        return self._inner.get(name)

    def read(self, name: str, *, start: int = 0, length: int | None = None, chunk: int = 1 << 20) -> Iterator[bytes]:
        self._gate()
        self._struck()
        return self._inner.read(name, start=start, length=length, chunk=chunk)

    def head(self, name: str) -> Stored | None:
        self._gate()
        self._struck()
        return self._inner.head(name)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        self._gate()
        self._struck()
        return self._inner.list(prefix, after=after)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._gate()
            self._inner.delete([name])
            self._struck()
