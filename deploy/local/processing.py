"""The main job on one machine: hand a folder over, work on it, show how it goes and what came out."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from api.intake import Intake, Wish
from deploy.local.gateway import LocalGateway, open_ledger
from deploy.local.listing import Listing, list_files
from deploy.local.pace import Pace, remember_pace
from deploy.local.sources import root_source
from deploy.local.stack import Stack
from models.registry import networks
from neurobatch.codes import Code
from neurobatch.display import FINAL, follow
from neurobatch.errors import Refused
from neurobatch.records import Batch, BatchState, Counts, Options, Status
from neurobatch.settings import Settings
from neurobatch.taking import take
from storage.bells import Bells
from storage.broker import connect
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.objects import probe
from storage.progress import Progress
from storage.ringing import Ringer
from storage.roots import Roots
from storage.status import StatusReader

RUNS = "runs"  # in the data folder: which submission a listing stands for
DEATHS = 3  # of the worker in a row, after which something is broken
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
        probe(ledger.objects)
        earlier = _work(asked, settings, console, ledger, run, earlier)
    if asked.to is not None:
        taken = take(LocalGateway(ledger, settings.tenant), earlier.id, asked.to)
        console.print(f"{taken} files copied to {asked.to}", highlight=False)
    return earlier


def _work(
    asked: Asked, settings: Settings, console: Console, ledger: Ledger, run: "Run", earlier: Status | None
) -> Status:
    with Stack(settings, share=True) as stack:
        if earlier is None:
            key = BatchKey(settings.tenant, _submit(asked, settings, ledger, stack.broker, run).id)
        else:
            key = BatchKey(settings.tenant, earlier.id)
            console.print(f"going on with batch {earlier.id}", highlight=False)
        began, before = time.monotonic(), earlier.counts if earlier else Counts()
        stack.start_worker()
        reader = StatusReader(ledger, Progress(connect(stack.broker)))
        try:
            status = follow(lambda: reader.read(key), console, watch=lambda: _keep(stack, console))
        except KeyboardInterrupt:
            console.print("stopping; the same command goes on from here", highlight=False)
            raise
        seconds = time.monotonic() - began
    if not before.done:
        remember_pace(settings.home, _pace(ledger, key, status, seconds))
    return status


def _keep(stack: Stack, console: Console) -> None:
    for name in stack.keep(deaths=DEATHS):
        console.print(f"the {name} had died and was started again", highlight=False)


def _pace(ledger: Ledger, key: BatchKey, status: Status, seconds: float) -> Pace:
    size = sum(stored.size for stored in ledger.objects.list(f"{key.prefix}artifacts/"))
    return Pace(slices=status.counts.slices, seconds=seconds, scans=status.scans, bytes=size)


def _submit(asked: Asked, settings: Settings, ledger: Ledger, broker: str, run: "Run") -> Batch:
    roots = Roots.of(settings)
    intake = Intake(ledger, Ringer(broker, Bells(connect(broker))), settings, roots)
    wish = Wish(options=asked.options, label=asked.label, listing=run.listing.digest, idempotency_key=run.key)
    return intake.submit(settings.tenant, [root_source(roots, path) for path in asked.paths], wish)


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
