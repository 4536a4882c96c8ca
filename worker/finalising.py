"""Settles a batch: fulfils a wish to delete or cancel it, else finalises it where all its shards are committed."""

import logging
from datetime import datetime

from storage.endings import cancel, delete, finalise
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.progress import Progress
from worker.telling import harmlessly

log = logging.getLogger(__name__)


def settle(ledger: Ledger, progress: Progress, key: BatchKey, now: datetime) -> bool:
    """Do what the batch's commit points ask for. Whether the batch has ended now.

    Raises:
        Unavailable: the store does not answer; done again, it goes on.
    """
    if ledger.deleting(key):
        delete(ledger, key, now)
        harmlessly("progress_not_forgotten", lambda: progress.forget(key))
        return True
    if ledger.known(key) is None:
        return False
    wished = ledger.end(key) is None and ledger.cancelling(key)
    end = cancel(ledger, key, now) if wished else finalise(ledger, key, now)
    if end is None:
        return False
    log.info("batch_ended batch=%s state=%s scans=%d", key.batch, end.state.value, end.scans)
    harmlessly("progress_not_finished", lambda: progress.finish(key))
    return True
