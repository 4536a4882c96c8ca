"""Results that later scans may take over, and what is repeated within a batch.

A result is found by its key: a digest of all that it depends on. Its files are read from the batch that made them
and put anew for the scan that takes them over, so that no batch needs another; what is missing or damaged
is as if it had never been. Tenants never share: each has keys of its own.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing
from neurobatch.records import ContentLine, DuplicateLine, Result, Reusable, ScanState, dump_lines, load_lines
from storage import names
from storage.ledger import JSONL, Content, Ledger, ResultFiles
from storage.names import BatchKey


def find(ledger: Ledger, tenant: str, key: str) -> ResultFiles | None:
    """The result under a key, each file as it was put; None where there is none, or not the whole of it.

    Raises:
        Unavailable: the store does not answer.
    """
    found = _reusable(ledger, names.reusable(tenant, key))
    if found is None:
        return None
    batch = BatchKey(tenant, found.batch)
    digest = names.result_digest(found.artifacts)
    files: dict[str, Content] = {}
    for artifact in found.artifacts:
        try:
            data = ledger.objects.get(names.artifact(batch, found.scan, digest, artifact.name))
        except Missing:
            return None
        if hashlib.sha256(data).hexdigest() != artifact.sha256:
            return None
        files[artifact.name] = Content(artifact.media_type, data)
    return ResultFiles(batch, found.scan, files, key)


def leads_nowhere(ledger: Ledger, tenant: str, name: str) -> bool:
    """Whether what lies there points to a result that is gone."""
    found = _reusable(ledger, name)
    if found is None:
        return True
    batch, digest = BatchKey(tenant, found.batch), names.result_digest(found.artifacts)
    wanted = (names.artifact(batch, found.scan, digest, artifact.name) for artifact in found.artifacts)
    return any(ledger.objects.head(each) is None for each in wanted)


def put_contents(ledger: Ledger, key: BatchKey, shard: int, lines: Sequence[ContentLine]) -> None:
    """Keep what a shard's scans hold, before the shard is committed; of two tries the first is kept."""
    if lines:
        ledger.objects.create(names.contents(key, shard), dump_lines(lines), content_type=JSONL)


def contents(ledger: Ledger, key: BatchKey, shard: int) -> tuple[ContentLine, ...]:
    """What a shard's scans hold, as far as they were judged."""
    try:
        return tuple(load_lines(ContentLine, ledger.objects.get(names.contents(key, shard))))
    except Missing:
        return ()


def forget(ledger: Ledger, key: BatchKey) -> None:
    """Take away what points to a batch's results. What a later batch had put in its place goes too: that costs time
    when such a scan comes again, and a look at each would cost more.
    """
    found = (names.shard_of_contents(stored.name) for stored in ledger.objects.list(names.shards_prefix(key)))
    ledger.objects.delete(
        names.reusable(key.tenant, line.kept)
        for shard in found
        if shard is not None
        for line in contents(ledger, key, shard)
        if line.kept is not None
    )


class Repeats:
    """Tells, in plan order, which scans of a batch hold what came before.

    What was seen lies in a temporary file, so that a million scans take no memory to speak of.
    """

    def __init__(self) -> None:
        self.reused = 0  # scans that took over another scan's result

    def __enter__(self) -> "Repeats":
        self._seen = sqlite3.connect("")  # a file of its own, gone with the connection
        self._seen.execute("CREATE TABLE seen (content BLOB PRIMARY KEY, scan TEXT, path TEXT) WITHOUT ROWID")
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.close()

    def among(self, results: Sequence[Result], lines: Sequence[ContentLine]) -> Iterator[DuplicateLine]:
        """The duplicates among a shard's results; shards must come in plan order."""
        known = {line.scan: line for line in lines}
        for result in results:
            line = known.get(result.scan)
            if line is None or result.state is not ScanState.SUCCEEDED:
                continue
            self.reused += line.reused
            first = self._first(bytes.fromhex(line.content), result)
            if first is not None:
                yield DuplicateLine(scan=result.scan, path=result.path, first=first[0], first_path=first[1])

    def _first(self, content: bytes, result: Result) -> tuple[str, str] | None:
        """The scan that showed the same before; None for the first."""
        added = self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (content, result.scan, result.path))
        if added.rowcount:
            return None
        first: tuple[str, str] = self._seen.execute(
            "SELECT scan, path FROM seen WHERE content = ?", (content,)
        ).fetchone()
        return first


def _reusable(ledger: Ledger, name: str) -> Reusable | None:
    try:
        return Reusable.load(ledger.objects.get(name))
    except Missing:
        return None
    except Broken as error:
        if error.code is not Code.INTERNAL:
            raise
        return None  # damaged, or of a newer version: as if there were none
