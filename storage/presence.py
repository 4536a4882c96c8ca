"""Which workers are there: each keeps a lease while it takes work, and whoever asks counts them."""

from storage.leases import Leases

GROUP = "workers"
RENEW_SECONDS = 5.0  # a lease lasts three times as long


def lease_of(holder: str) -> str:
    """The name of the lease that a worker keeps while scans move in it."""
    return f"{GROUP}/{holder}"


def workers(leases: Leases) -> int:
    """How many workers take work now. Raises `Unavailable`."""
    return len(leases.group(GROUP))
