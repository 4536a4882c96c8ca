"""Leases held while something runs, renewed by a thread; and the names of those that are on no shard."""

import contextlib
import logging
import threading
from collections.abc import Iterator

from neurobatch.errors import Unavailable
from storage.leases import Leases
from storage.names import BatchKey

RENEWALS = 3  # of a lease in its time

log = logging.getLogger(__name__)


def plan_lease(key: BatchKey) -> str:
    """Who plans a batch now."""
    return f"plan/{key.tenant}/{key.batch}"


def settle_lease(key: BatchKey) -> str:
    """Who finalises, cancels or deletes a batch now."""
    return f"settle/{key.tenant}/{key.batch}"


@contextlib.contextmanager
def held(leases: Leases, name: str, holder: str, seconds: float) -> Iterator[bool]:
    """Hold a lease while the block runs; False where another holds it. Raises `Unavailable` before the block only.

    That it is lost meanwhile stops nothing: two holders do no harm.
    """
    if not leases.take(name, holder, seconds):
        yield False
        return
    done = threading.Event()

    def renew() -> None:
        while not done.wait(seconds / RENEWALS):
            with _harmlessly():
                leases.take(name, holder, seconds)  # takes it again after Redis was wiped, too

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        done.set()
        thread.join()
        with _harmlessly():
            leases.release(name, holder)


@contextlib.contextmanager
def _harmlessly() -> Iterator[None]:
    try:
        yield
    except Unavailable:
        log.warning("lease_not_told")
