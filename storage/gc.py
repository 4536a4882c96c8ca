"""Sweeps what no commit point names: artifacts of lost tries, remains of deleted batches, networks nobody needs,
and what points to results that are gone.

Only objects older than a day are swept, so that nothing is taken from under a try that is still running.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from neurobatch.records import BatchState, Result
from storage import names
from storage.endings import delete
from storage.ledger import Ledger, split_lines
from storage.names import BatchKey
from storage.objects import Stored
from storage.reuse import leads_nowhere

KEEP = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What one sweep removed, or would remove."""

    objects: int = 0
    size: int = 0  # bytes
    expired: int = 0  # batches


def sweep(ledger: Ledger, tenant: str, now: datetime, *, dry_run: bool = False) -> Swept:
    """Delete expired batches of a tenant, then every object of it that no commit point names."""
    expired = 0
    for batch in list(ledger.batches(tenant)):
        key = BatchKey(tenant, batch)
        known = ledger.known(key)
        if known is not None and known.expires is not None and known.expires <= now:
            expired += 1
            if not dry_run:
                delete(ledger, key, now)
    loose = [stored for stored in _loose(ledger, tenant) if now - stored.modified > KEEP]
    if not dry_run:
        ledger.objects.delete(stored.name for stored in loose)
    return Swept(objects=len(loose), size=sum(stored.size for stored in loose), expired=expired)


def _loose(ledger: Ledger, tenant: str) -> Iterator[Stored]:
    pinned: set[str] = set()
    open_keys = {opened.key for opened in ledger.opened()}
    for key in open_keys:
        start = ledger.plan_start(key)
        for model in start.models if start else ():
            pinned.update({model.sha256, *([model.oddness.sha256] if model.oddness else [])})
    for batch in ledger.batches(tenant):
        key = BatchKey(tenant, batch)
        if key not in open_keys:
            yield from _loose_in(ledger, key)
    for stored in ledger.objects.list(names.reusables_prefix(tenant)):
        if leads_nowhere(ledger, tenant, stored.name):
            yield stored
    for stored in ledger.objects.list("models/"):
        if stored.name.removeprefix("models/") not in pinned:
            yield stored


def _loose_in(ledger: Ledger, key: BatchKey) -> Iterator[Stored]:
    if ledger.known(key) is None:
        yield from ledger.objects.list(key.prefix)
        return
    end = ledger.end(key)
    if end is not None and end.state is BatchState.ABANDONED:
        kept = {names.batch(key), names.end(key)}
        yield from (stored for stored in ledger.objects.list(key.prefix) if stored.name not in kept)
    if end is None or end.results is None:
        return
    named: set[str] = set()
    for line in split_lines(ledger.objects.read(key.prefix + end.results.name)):
        result = Result.load(line)
        if result.artifacts:
            named.add(f"{key.prefix}artifacts/{result.scan}/{names.result_digest(result.artifacts)}/")
    for stored in ledger.objects.list(f"{key.prefix}artifacts/"):
        if stored.name.rpartition("/")[0] + "/" not in named:
            yield stored
