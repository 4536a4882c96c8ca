"""Sees that a worker takes work: tells the others that it is there, and when it has gone deaf.

A consumer may survive an outage of the broker and yet never hear again. Whether it answers pings says nothing; that
bells wait, hands are free and nothing is heard does.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from neurobatch.errors import NeurobatchError
from storage.leases import Leases
from storage.presence import RENEW_SECONDS, lease_of
from storage.ringing import Queues
from worker.hands import HANDS
from worker.hearing import Activity

DEAF_SECONDS = 30.0  # that bells may wait while hands are free
FIRST = 4  # times as long for a consumer that has heard nothing yet: it may still be starting

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Watches one worker."""

    queues: Queues
    leases: Leases
    activity: Activity
    holder: str
    stuck: Callable[[], bool]  # whether scans wait and none moves
    deaf_seconds: float = DEAF_SECONDS
    hands: int = HANDS

    def run(self, stop: threading.Event, deaf: Callable[[], None]) -> None:
        """Look every few seconds until told to stop; call `deaf` once, if it comes to that."""
        since: float | None = None
        while not stop.is_set():
            try:
                if not self.stuck():
                    self.leases.take(lease_of(self.holder), self.holder, 3 * RENEW_SECONDS)
                missed = self.misses()
            except NeurobatchError as error:
                log.warning("broker_away code=%s", error.code)
                missed = False
            now = time.monotonic()
            since = (since if since is not None else now) if missed else None
            patience = self.deaf_seconds if self.activity.heard else FIRST * self.deaf_seconds
            if since is not None and min(now - since, self.activity.silent) >= patience:
                log.critical("consumer_deaf seconds=%d", now - since)
                deaf()
                return
            stop.wait(min(RENEW_SECONDS, self.deaf_seconds / 3))

    def misses(self) -> bool:
        """Whether bells wait now although a hand is free. Raises `Unavailable`."""
        return sum(self.queues.lengths().values()) > 0 and self.activity.running < self.hands

    def leave(self) -> None:
        """Tell the others that the worker takes no more."""
        try:
            self.leases.release(lease_of(self.holder), self.holder)
        except NeurobatchError as error:
            log.warning("leave_not_told code=%s", error.code)
