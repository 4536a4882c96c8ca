"""Every object's name, built in one place; nothing else spells one.

Names hold ids and digests only: never a patient's, a file's or a host's name.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from uuid_utils import uuid7

from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import Artifact

PAGE_SPAN = 1000
"""Scans, and so shards, that one page can number: `number // PAGE_SPAN` is the page of either."""

LAST = "\x7e\x7e"
"""Sorts behind every name segment that we write (ids, digests and words in lower case)."""

_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_BATCH = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_SCAN = re.compile(r"([0-9]{9,})-[0-9a-f]{12}")


class BatchKey(NamedTuple):
    """Which batch, of which tenant."""

    tenant: str
    batch: str

    @property
    def prefix(self) -> str:
        """All objects of the batch begin so."""
        return f"tenants/{self.tenant}/batches/{self.batch}/"


def batch_key(tenant: str, batch: str) -> BatchKey:
    """Check both parts, which may come from a URL. Raises `Refused(not_found)` for what cannot be an id."""
    if not _TENANT.fullmatch(tenant) or not _BATCH.fullmatch(batch):
        raise Refused(Code.NOT_FOUND, "That is not the id of a batch.")
    return BatchKey(tenant, batch)


def new_batch_id() -> str:
    """A UUIDv7 (RFC 9562): ordered by time."""
    return str(uuid7())


def scan_id(ordinal: int, source: int, path: str, series_uid: str | None, part: int) -> str:
    """`{ordinal}-{12 hex digits}`: the same for the same plan, and its page found without a search."""
    told = "\0".join((str(source), path, series_uid or "", str(part)))
    return f"{ordinal:09d}-{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def page_of_scan(scan: str) -> int:
    """The page that holds a scan. Raises `Refused(not_found)` for what cannot be an id."""
    match = _SCAN.fullmatch(scan)
    if match is None:
        raise Refused(Code.NOT_FOUND, "That is not the id of a scan.")
    return int(match[1]) // PAGE_SPAN


def page_of_shard(shard: int) -> int:
    """The page that holds a shard."""
    return shard // PAGE_SPAN


def batches_prefix(tenant: str) -> str:
    """All batches of a tenant begin so."""
    return f"tenants/{tenant}/batches/"


def batch(key: BatchKey) -> str:
    return f"{key.prefix}batch.json"


def upload(key: BatchKey, number: int) -> str:
    return f"{key.prefix}inputs/{number}"


def manifest(key: BatchKey) -> str:
    return f"{key.prefix}inputs/manifest.jsonl"


def plan_start(key: BatchKey) -> str:
    return f"{key.prefix}plan/start.json"


def page(key: BatchKey, number: int) -> str:
    return f"{key.prefix}plan/{number}.json"


def plan_lines(kind: str, number: int, sha256: str) -> str:
    """Below the batch; by content, so that two planners who list differently never share one."""
    return f"plan/{kind}-{number}-{sha256[:16]}.jsonl"


def plan_end(key: BatchKey) -> str:
    return f"{key.prefix}plan/end.json"


def shards_prefix(key: BatchKey) -> str:
    return f"{key.prefix}shards/"


def attempt(key: BatchKey, shard: int, number: int) -> str:
    return f"{key.prefix}shards/{shard}/attempt-{number}"


def trying(key: BatchKey, shard: int, scan: str) -> str:
    return f"{key.prefix}shards/{shard}/trying/{scan}"


def shard_result(key: BatchKey, shard: int) -> str:
    return f"{key.prefix}shards/{shard}/result.jsonl"


def timing(key: BatchKey, shard: int, attempt_number: int) -> str:
    return f"{key.prefix}shards/{shard}/timing-{attempt_number}.json"


def contents(key: BatchKey, shard: int) -> str:
    return f"{key.prefix}shards/{shard}/contents.jsonl"


def shard_of_contents(name: str) -> int | None:
    """The shard whose `contents` an object is, None for every other object."""
    match = re.search(r"/shards/([0-9]+)/contents\.jsonl$", name)
    return int(match[1]) if match else None


def shard_of_result(name: str) -> int | None:
    """The shard whose result an object is, None for every other object."""
    match = re.search(r"/shards/([0-9]+)/result\.jsonl$", name)
    return int(match[1]) if match else None


def result_digest(artifacts: Iterable[Artifact]) -> str:
    """16 hex digits over the digests of a result's files: two differing tries never share a name."""
    told = "".join(sorted(f"{artifact.name}:{artifact.sha256}\n" for artifact in artifacts))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def artifact(key: BatchKey, scan: str, digest: str, name: str) -> str:
    return f"{key.prefix}artifacts/{scan}/{digest}/{name}"


def cancel(key: BatchKey) -> str:
    return f"{key.prefix}cancel.json"


def deletion(key: BatchKey) -> str:
    return f"{key.prefix}delete.json"


def results(sha256: str, ending: str) -> str:
    """Below the batch."""
    return f"results/{sha256}.{ending}"


def end(key: BatchKey) -> str:
    return f"{key.prefix}end.json"


def reusables_prefix(tenant: str) -> str:
    """All results of a tenant that can be taken over begin so."""
    return f"reuse/{tenant}/"


def reusable(tenant: str, key: str) -> str:
    return f"{reusables_prefix(tenant)}{key}"


def model(sha256: str) -> str:
    return f"models/{sha256}"


def marker(key: BatchKey) -> str:
    return f"open/{key.tenant}/{key.batch}"


def key_of_marker(name: str) -> BatchKey | None:
    """The batch of a marker's name, None for anything else that lies there."""
    parts = name.split("/")
    if len(parts) != 3 or not _TENANT.fullmatch(parts[1]) or not _BATCH.fullmatch(parts[2]):
        return None
    return BatchKey(parts[1], parts[2])


def idempotency(tenant: str, sent: str) -> str:
    return f"idempotency/{tenant}/{hashlib.sha256(sent.encode()).hexdigest()}.json"
