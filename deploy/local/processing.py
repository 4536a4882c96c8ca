"""The main job on one machine: hand a folder over, work on it, show how it goes and what came out."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.local.gateway import LocalGateway, open_ledger
from deploy.local.listing import Listing, list_files
from models.registry import networks
from neurobatch.codes import Code
from neurobatch.display import FINAL
from neurobatch.errors import Refused
from neurobatch.records import BatchState, Options, Status
from neurobatch.settings import Settings
from neurobatch.taking import take
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.status import StatusReader

RUNS = "runs"  # in the data folder: which submission a listing stands for
AGAIN = frozenset({BatchState.FAILED, BatchState.CANCELLED, BatchState.ABANDONED})  # the same command begins anew


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks of one run."""

    paths: tuple[Path, ...]
    options: Options
    to: Path | None = None
    new: bool = False
    label: str = ""


def process(asked: Asked, settings: Settings, console: Console) -> Status:
    """Judge what lies at the paths; go on where the same command stopped before.

    `console` shows progress; returns the status at the end. Raises `NeurobatchError`.
    """
    ledger = open_ledger(settings)
    listing = list_files(asked.paths, asked.options, {name: card.sha256 for name, card in networks().items()})
    run = Run(settings, listing)
    if asked.new:
        run.begin_afresh()
    earlier = run.earlier(ledger)
    if earlier is None or earlier.state not in FINAL:
        from api.intake import Wish
        from deploy.local.working import work_on  # brings Celery and Redis, which showing results does not need

        wish = Wish(options=asked.options, label=asked.label, listing=run.listing.digest, idempotency_key=run.key)
        earlier = work_on(settings, ledger, asked.paths, wish, earlier, console)
    if asked.to is not None:
        taken = take(LocalGateway(ledger, settings.tenant), earlier.id, asked.to)
        console.print(f"{taken} files copied to {asked.to}", highlight=False)
    return earlier


class Run:
    """Which batch a listing stands for.

    The data folder counts how often the same command began afresh; listing and count are the submission's
    Idempotency-Key, so that a command that is stopped at any moment makes no second batch.
    """

    def __init__(self, settings: Settings, listing: Listing) -> None:
        self.listing = listing
        self._tenant = settings.tenant
        self._file = settings.home / RUNS / listing.digest
        self._count = int(self._file.read_text()) if self._file.is_file() else 0

    @property
    def key(self) -> str:
        """The Idempotency-Key of the submission."""
        return f"process-{self.listing.digest}-{self._count}"

    def begin_afresh(self) -> None:
        """From now on the listing stands for a new batch."""
        self._count += 1
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._file.parent, delete=False) as draft:
            draft.write(str(self._count))
        Path(draft.name).replace(self._file)

    def earlier(self, ledger: Ledger) -> Status | None:
        """The batch that the same command made before; None where there is none that one would go on with."""
        claimed = ledger.claimed(self._tenant, self.key)
        if claimed is None:
            return None
        try:
            status = StatusReader(ledger).read(BatchKey(self._tenant, claimed.batch))
        except Refused as error:
            if error.code is Code.NOT_FOUND:  # stopped between the claim and `batch.json`: submitting goes on
                return None
            status = None
        if status is None or status.state in AGAIN:
            self.begin_afresh()
            return None
        return status
