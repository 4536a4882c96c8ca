"""Opens remote files before their turn, several at a time, and gives them in order: one request's wait hides many."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from worker.folders import Opened

THREADS = 8  # requests at once
WINDOW = 2 * THREADS  # files that are opened before their turn

T = TypeVar("T")


class Ahead:
    """Opens ahead. Use as a context manager, around all its iterators."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="ahead")

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def over(
        self, items: Iterable[T], opener: Callable[[T], Callable[[], Opened] | None]
    ) -> Iterator[tuple[T, Future[Opened] | None]]:
        """Each item with its file, which may still be on its way; `opener` says how to open it, or None: not ahead."""
        waiting: deque[tuple[T, Future[Opened] | None]] = deque()
        for item in items:
            how = opener(item)
            waiting.append((item, None if how is None else self._pool.submit(_with_head, how)))
            if how is None or len(waiting) > WINDOW:
                while waiting and (how is None or len(waiting) > WINDOW):
                    yield waiting.popleft()
        yield from waiting


def _with_head(how: Callable[[], Opened]) -> Opened:
    """Open, and fetch the first bytes."""
    opened = how()
    opened.stream.read(1)
    opened.stream.seek(0)
    return opened
