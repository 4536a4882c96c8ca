"""What may fail without harm: counts in Redis, which recovery makes good from the store."""

import logging
from collections.abc import Callable

from neurobatch.errors import NeurobatchError
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.progress import Progress, Whole
from storage.status import Tally, tally

REBUILDS = 3  # tries; another process may begin one at the same time, or Redis may be wiped meanwhile

log = logging.getLogger(__name__)


def harmlessly(word: str, action: Callable[[], object]) -> None:
    """Do it; where it fails, say the word."""
    try:
        action()
    except NeurobatchError as error:
        log.warning("%s code=%s", word, error.code)


def rebuild(ledger: Ledger, progress: Progress, key: BatchKey) -> bool:
    """Count a batch's progress anew from the store. False: others were at it, or Redis was wiped meanwhile.

    Raises:
        Unavailable: store or Redis does not answer.
    """
    for _ in range(REBUILDS):
        token = progress.begin_rebuild(key)
        found = tally(ledger, key, Tally())
        whole = Whole(
            planned=found.planned,
            begun=found.begun,
            pages=dict(enumerate(found.pages)),
            counts=found.counts,
            shards=found.counted,
        )
        if progress.rebuild(key, token, whole):
            return True
    return False
