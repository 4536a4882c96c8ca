"""The three tasks: what a message names, and what hears it."""

from typing import Protocol

from celery import Celery

from storage.names import BatchKey, batch_key
from storage.ringing import PLAN, SETTLE, SHARD, task_name


class Hearer(Protocol):
    """What the tasks call: `worker.hearing.Hearing`. Its methods raise nothing."""

    def plan(self, key: BatchKey, page: int) -> None: ...
    def shard(self, key: BatchKey, number: int) -> None: ...
    def settle(self, key: BatchKey) -> None: ...


def register(app: Celery, hearer: Hearer) -> None:
    """Add the tasks to an app."""

    @app.task(name=task_name(PLAN))
    def plan(tenant: str, batch: str, page: int = 0) -> None:
        hearer.plan(batch_key(tenant, batch), page)

    @app.task(name=task_name(SHARD))
    def shard(tenant: str, batch: str, number: int) -> None:
        hearer.shard(batch_key(tenant, batch), number)

    @app.task(name=task_name(SETTLE))
    def settle(tenant: str, batch: str, number: int = 0) -> None:
        hearer.settle(batch_key(tenant, batch))
