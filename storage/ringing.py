"""Rings bells: puts a message that says only "look at this" into a queue. Celery's producer; imports no worker.

A message names a task and ids, as JSON. Whether it arrives is nobody's worry: `recover` rings for whatever still
waits. Each bell is noted in the record of bells first, so that what waits never collects bells.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from neurobatch.codes import Code
from neurobatch.errors import Unavailable
from storage import keys
from storage.bells import Bells
from storage.broker import CONNECT_SECONDS, SOCKET, connect, translated
from storage.names import BatchKey

PLAN, SHARD, SETTLE = "plan", "shard", "settle"  # tasks, and how the record of bells calls them

TRIES = 2  # of one publication after the first: a server that was restarted costs one
_ANSWER_SECONDS = 5.0
_PAUSE = {"interval_start": 0.05, "interval_step": 0.1, "interval_max": 0.3}  # seconds between tries


def queue_of_task(task: str, asked: str) -> str:
    """The queue of a bell, of a batch that asked for `asked`.

    Plans and ends overtake shards: else a long plan would be held up by its own shards, and a batch that is done or to
    be cancelled by another's.
    """
    return asked if task == SHARD else f"{asked}-early"


QUEUES = tuple(queue_of_task(task, asked) for asked in ("urgent", "normal", "bulk") for task in (PLAN, SHARD))
"""Heard in this order."""


def task_name(task: str) -> str:
    """What a message calls a task."""
    return f"neurobatch.{task}"


def celery_url(url: str) -> str:
    """The broker's URL as kombu wants it: `unix:///path?db=1` is `redis+socket:///path?virtual_host=1`."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    return f"{SOCKET}://{parts.path}?virtual_host={parse_qs(parts.query).get('db', ['0'])[0]}"


def celery_settings(url: str) -> dict[str, Any]:
    """What ringing and hearing have in common.

    Queues are bound to no exchange but the unnamed one: a message goes straight into the list of its queue, so
    nothing that a wiped Redis forgets stands between bell and hearer.
    """
    return {
        "broker_url": celery_url(url),
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
        "task_queues": [Queue(name, Exchange("", type="direct"), routing_key=name) for name in QUEUES],
        "task_default_queue": "normal",
        "task_default_exchange": "",
        "task_default_routing_key": "normal",
        "task_create_missing_queues": False,
        "broker_connection_timeout": CONNECT_SECONDS,
        "enable_utc": True,
    }


class Ringer:
    """Rings bells. Safe for threads.

    All methods raise `Unavailable` where the broker does not answer within seconds: `recover` rings later.
    """

    def __init__(self, url: str, bells: Bells) -> None:
        """`url` is redis://, rediss://, unix:// or redis+socket://; nothing is sent yet."""
        self._bells = bells
        self._app = Celery("neurobatch", set_as_current=False)
        self._app.conf.update(
            celery_settings(url),
            broker_transport_options={
                "socket_timeout": _ANSWER_SECONDS,
                "socket_connect_timeout": CONNECT_SECONDS,
                "max_retries": TRIES,
                **_PAUSE,
            },
        )

    @classmethod
    def of(cls, url: str) -> "Ringer":
        """A ringer with a record of its own."""
        return cls(url, Bells(connect(url)))

    def ring_plan(self, key: BatchKey, queue: str, page: int = 0) -> None:
        """Wake a planner for the batch's next page, which is `page`."""
        self.ring(PLAN, key, page, queue)

    def ring_shard(self, key: BatchKey, number: int, queue: str) -> None:
        """Have a shard worked on."""
        self.ring(SHARD, key, number, queue)

    def ring_settle(self, key: BatchKey, queue: str) -> None:
        """Have a wish fulfilled, or a batch finalised."""
        self.ring(SETTLE, key, 0, queue)

    def ring(self, task: str, key: BatchKey, number: int, queue: str) -> bool:
        """Ring for a batch that asked for `queue`, unless a bell for the same waits already: then False."""
        queue = queue_of_task(task, queue)
        if not self._bells.mark(task, key, number, queue=queue):
            return False
        try:
            with _translated():
                self._app.send_task(
                    task_name(task),
                    args=[key.tenant, key.batch, number],
                    queue=queue,
                    ignore_result=True,
                    retry=True,
                    retry_policy={"max_retries": TRIES, **_PAUSE},
                )
        except Unavailable:
            with contextlib.suppress(Unavailable):
                self._bells.unmark(task, key, number)
            raise
        return True

    def silent(self, task: str, key: BatchKey, numbers: Sequence[int]) -> list[int]:
        """Those of the numbers for which no bell waits: what `ring` would ring for, told for many at once."""
        return self._bells.silent(task, key, numbers)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()


class Queues:
    """The bells that wait."""

    def __init__(self, url: str) -> None:
        """`url` as for `Ringer`; nothing is sent yet."""
        self._client = connect(url)

    def lengths(self) -> dict[str, int]:
        """How many bells wait, by queue. Raises `Unavailable`."""
        with translated(), self._client.pipeline(transaction=False) as together:
            for name in QUEUES:
                together.llen(keys.queue(name))
            return dict(zip(QUEUES, map(int, together.execute()), strict=True))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn kombu's errors, and those of the client beneath it, into ours."""
    try:
        with translated():
            yield
    except OperationalError as fault:
        raise Unavailable(Code.BROKER_UNAVAILABLE, "The bell could not be rung.") from fault
