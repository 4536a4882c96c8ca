"""The gateway to this machine's own store: what the command line shows where no server is named."""

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from api.listings import newest_batches
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import Artifact, Label, LeftOutLine, Options, Result, ScanState, Status
from neurobatch.settings import Settings, load_settings
from storage import names
from storage.endings import cancel, delete
from storage.ledger import Ledger
from storage.names import BatchKey, batch_key
from storage.opening import open_configured
from storage.status import StatusReader


@dataclasses.dataclass(frozen=True)
class LocalGateway:
    """Batches of one tenant, straight from the ledger."""

    ledger: Ledger
    tenant: str
    objects_at: str = ""  # what goes before an object's name to find it: a folder or a bucket's URL

    def submit(self, paths: Sequence[Path], options: Options, *, label: str, key: str | None) -> Status:
        raise Refused(Code.BAD_REQUEST, "No server is named (--url). On this machine: neurobatch process PATH.")

    def batches(self) -> Iterator[Status]:
        reader = StatusReader(self.ledger)
        for batch in newest_batches(self.ledger, self.tenant):
            try:
                yield reader.read(BatchKey(self.tenant, batch))
            except Refused:  # being handed over, or being deleted
                continue

    def status(self, batch: str) -> Status:
        return StatusReader(self.ledger).read(self._key(batch))

    def results(self, batch: str, *, state: ScanState | None = None, finding: Label | None = None) -> Iterator[Result]:
        key = self._key(batch)
        self.ledger.batch(key)
        for page in self.ledger.pages(key, self.ledger.plan_end(key)):
            for shard in page.shards:
                for result in self.ledger.results(key, shard.number) or ():
                    label = result.finding and result.finding.label
                    if state in (None, result.state) and finding in (None, label):
                        yield result

    def left_out(self, batch: str) -> Iterator[LeftOutLine]:
        key = self._key(batch)
        self.ledger.batch(key)
        for page in self.ledger.pages(key, self.ledger.plan_end(key)):
            yield from self.ledger.left_out(key, page)

    def artifact(self, batch: str, result: Result, artifact: Artifact) -> Iterator[bytes]:
        digest = names.result_digest(result.artifacts)
        return self.ledger.objects.read(names.artifact(self._key(batch), result.scan, digest, artifact.name))

    def cancel(self, batch: str) -> Status:
        key = self._key(batch)
        self.ledger.batch(key)
        cancel(self.ledger, key, datetime.now(UTC))
        return self.status(batch)

    def delete(self, batch: str) -> None:
        key = self._key(batch)
        if self.ledger.known(key) is None:
            raise Refused(Code.NOT_FOUND, "There is no such batch.")
        delete(self.ledger, key, datetime.now(UTC))

    def places(self, batch: str, *, taken: bool) -> Iterator[str]:
        """Lines that say where the results of a batch lie."""
        key = self._key(batch)
        end = self.ledger.end(key)
        where = self.objects_at + key.prefix
        if end is not None and end.results is not None and end.table is not None:
            yield f"table     {where}{end.table.name}"
            yield f"results   {where}{end.results.name}"
            yield f"artifacts {where}artifacts/"
            if end.duplicates is not None:
                yield f"duplicates {where}{end.duplicates.name}"
        if not taken:
            yield f"Copy them under the scans' own names: neurobatch results {batch} --to FOLDER"

    def _key(self, batch: str) -> BatchKey:
        return batch_key(self.tenant, batch)


def open_local(settings: Settings | None = None) -> LocalGateway:
    """Over the store that the settings name."""
    settings = settings or load_settings()
    url = settings.store_url
    place = unquote(url.removeprefix("file://")) if url.startswith("file://") else url
    return LocalGateway(open_ledger(settings), settings.tenant, place.rstrip("/") + "/")


def open_ledger(settings: Settings) -> Ledger:
    """The ledger in the store that the settings name."""
    return Ledger(open_configured(settings))
