"""The threads that hear bells. A thread that is free says so: a consumer whose hands are all full does not listen to
the broker, and by itself would look only once a second whether one has become free.
"""

import contextlib
import os
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool

HANDS = 2  # bells that a worker hears at a time

_asleep, _waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # one consumer a process


class Hands(TaskPool):
    """Celery's pool of threads, each of which wakes the consumer at the end of a task."""

    def on_apply(self, *args: Any, **kwargs: Any) -> Any:
        """Begin a task."""
        begun = super().on_apply(*args, **kwargs)
        begun.f.add_done_callback(lambda _: _wake())
        return begun


class Waking(bootsteps.StartStopStep):
    """Part of the consumer: lets the hands wake it, also after it has lost the broker and found it again."""

    def register_with_event_loop(self, _: Any, hub: Any) -> None:
        """Called by Celery whenever the consumer's loop begins."""
        hub.add_reader(_asleep, _woken)


def _wake() -> None:
    with contextlib.suppress(BlockingIOError):  # it is being woken already
        os.write(_waker, b"\0")


def _woken() -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(_asleep, 64):
            continue
