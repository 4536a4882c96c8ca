"""Puts the files of results: where the store writes many for less than one by one, all that wait go together.

So a worker puts in groups as large as the store is slow, and a scan that comes alone waits for nobody.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from neurobatch.records import Result
from storage.ledger import Ledger, ResultFiles
from storage.names import BatchKey
from storage.objects import Together
from worker.jobs import Judged

THREADS = 8  # that put one scan's files after the other
GROUPS = 2  # threads that put together: one group is put while the other gathers
MOST = 64  # scans of a group


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting:
    """A result whose files are to be put."""

    key: BatchKey
    judged: Judged
    over: Callable[[], None]
    future: "Future[Result]" = field(default_factory=Future)


class Putting:
    """Threads that put. Safe for threads; close it after the last result."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        together = isinstance(ledger.objects, Together)
        self._most = MOST if together else 1
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"put-{number}", daemon=True)
            for number in range(GROUPS if together else THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, key: BatchKey, judged: Judged, over: Callable[[], None]) -> "Future[Result]":
        """Put a result's files; gives the result that names them, or raises what the store does.

        `over` is called before that, whatever came of it: the files' bytes are no longer kept.
        """
        waiting = _Waiting(key=key, judged=judged, over=over)
        self._queue.put(waiting)
        return waiting.future

    def close(self) -> None:
        """End, when all that waits has been put."""
        self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while group := self._group():
            try:
                made = self._ledger.put_results_files([_files(each) for each in group])
            except Exception as error:  # noqa: BLE001  the edge of a thread: those who wait are told
                for each in group:
                    each.over()
                    each.future.set_exception(error)
            else:
                for each, artifacts in zip(group, made, strict=True):
                    each.over()
                    each.future.set_result(each.judged.result.model_copy(update={"artifacts": artifacts}))

    def _group(self) -> list[_Waiting]:
        """What waits, once something does; nothing at the end."""
        group: list[_Waiting] = []
        with suppress(queue.Empty):
            while len(group) < self._most:
                each = self._queue.get(block=not group)
                if each is None:
                    self._queue.put(None)  # for the other threads, and for this one's next time
                    break
                group.append(each)
        return group


def _files(waiting: _Waiting) -> ResultFiles:
    judged = waiting.judged
    return ResultFiles(waiting.key, judged.result.scan, judged.files, judged.line.kept if judged.line else None)
