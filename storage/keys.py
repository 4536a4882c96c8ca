"""Every key and channel in Redis, and how long each may stay.

All begin with `neurobatch:`; beside them lie Celery's own: one list for each queue, under the queue's name.
"""

from storage.names import BatchKey

LEASE_SECONDS = 15
BELL_SECONDS = 86_400  # the record of a bell that waits in a long queue
PROGRESS_SECONDS = 7 * 86_400  # of a batch that nobody has worked on since
FINISHED_SECONDS = 600  # of a batch that ended, for those who still watch it


def lease(name: str) -> str:
    """Hash: who holds it, and what it has counted so far."""
    return f"neurobatch:lease:{name}"


def leases(group: str) -> str:
    """Sorted set: the leases of a group (what stands before the last slash of their names) by when they end."""
    return f"neurobatch:leases:{group}"


def bell(task: str, key: BatchKey, number: int) -> str:
    """Hash: the ticket of a bell that was rung and not yet heard, or when it was heard."""
    return f"neurobatch:bell:{task}:{key.tenant}/{key.batch}:{number}"


def tickets(queue: str) -> str:
    """Hash: the last ticket given for a queue, and the highest that was heard of it."""
    return f"neurobatch:tickets:{queue}"


def queue(name: str) -> str:
    """List: Celery's messages that wait in a queue."""
    return name


def progress(key: BatchKey) -> str:
    """Hash: counts of a batch; its field `ready` says that they are whole."""
    return f"neurobatch:progress:{key.tenant}/{key.batch}"


def progress_shards(key: BatchKey) -> str:
    """Bitmap: shards that are counted."""
    return f"{progress(key)}:shards"


def progress_pages(key: BatchKey) -> str:
    """Bitmap: pages that are counted."""
    return f"{progress(key)}:pages"


def progress_pending(key: BatchKey) -> str:
    """Hash: what was to be counted while a rebuild read the store; its field `token` names the rebuild."""
    return f"{progress(key)}:pending"


def news(key: BatchKey) -> str:
    """Channel: a word at each change of a batch's progress."""
    return f"neurobatch:news:{key.tenant}/{key.batch}"


def shard_lease(key: BatchKey, shard: int) -> str:
    """The name of the lease on a shard; those of a batch are one group."""
    return f"{batch_group(key)}/{shard}"


def batch_group(key: BatchKey) -> str:
    """The group of a batch's leases."""
    return f"{key.tenant}/{key.batch}"
