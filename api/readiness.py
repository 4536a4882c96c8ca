"""Whether batches would be worked on now. Each look is remembered for a while, so that probes cost little."""

import logging
import time
from collections.abc import Callable
from threading import Lock

from api.shapes import Readiness as Found
from neurobatch.errors import NeurobatchError
from neurobatch.version import VERSION
from storage.objects import Objects, probe

REMEMBERED_SECONDS = 2.0
PROBE = "probe/ready"

_log = logging.getLogger("neurobatch.api")


class Readiness:
    """Looks at store, broker and workers."""

    def __init__(
        self,
        objects: Objects,
        broker_answers: Callable[[], bool],
        worker_seen: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._broker_answers = broker_answers
        self._worker_seen = worker_seen
        self._clock = clock
        self._lock = Lock()
        self._last: tuple[float, Found] | None = None
        self._trusted = False  # the store was seen to let one writer of a name win

    def look(self) -> Found:
        """What holds now, or held at the last look a moment ago."""
        with self._lock:
            if self._last is None or self._clock() - self._last[0] > REMEMBERED_SECONDS:
                found = self._look()
                self._last = (self._clock(), found)
            return self._last[1]

    def _look(self) -> Found:
        store = _holds(self._store_writable)
        broker = _holds(self._broker_answers)
        worker = broker and _holds(self._worker_seen)
        return Found(ready=store and broker and worker, store=store, broker=broker, worker=worker, version=VERSION)

    def _store_writable(self) -> bool:
        if not self._trusted:
            probe(self._objects)
            self._trusted = True
        self._objects.put(PROBE, b"")
        return True


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except NeurobatchError as error:
        _log.warning("not_ready %s", error.message)
        return False
