"""The part of a run that works: broker and worker are started, the batch is handed over and followed to its end."""

import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from api.intake import Intake, Wish
from deploy.local.pace import Pace, remember_pace
from deploy.local.sources import root_source
from deploy.local.stack import Stack
from neurobatch.display import follow
from neurobatch.records import Status
from neurobatch.settings import Settings
from storage.bells import Bells
from storage.broker import connect
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.objects import probe
from storage.progress import Progress
from storage.ringing import Ringer
from storage.roots import Roots
from storage.status import StatusReader

DEATHS = 3  # of the worker in a row, after which something is broken


def work_on(
    settings: Settings, ledger: Ledger, paths: Iterable[Path], wish: Wish, earlier: Status | None, console: Console
) -> Status:
    """Hand the paths over, or go on with an earlier batch of them, until it ends."""
    probe(ledger.objects)
    with Stack(settings, share=True) as stack:
        batch = earlier.id if earlier else _submit(settings, ledger, stack.broker, paths, wish)
        if earlier is not None:
            console.print(f"going on with batch {batch}", highlight=False)
        key, began = BatchKey(settings.tenant, batch), time.monotonic()
        stack.start_worker()
        status = _follow(StatusReader(ledger, Progress(connect(stack.broker))), key, stack, console)
        seconds = time.monotonic() - began
    if earlier is None:
        size = sum(stored.size for stored in ledger.objects.list(f"{key.prefix}artifacts/"))
        pace = Pace(slices=status.counts.slices, seconds=seconds, scans=status.scans, bytes=size)
        remember_pace(settings.home, pace)
    return status


def _submit(settings: Settings, ledger: Ledger, broker: str, paths: Iterable[Path], wish: Wish) -> str:
    roots = Roots.of(settings)
    intake = Intake(ledger, Ringer(broker, Bells(connect(broker))), settings, roots)
    return intake.submit(settings.tenant, [root_source(roots, path) for path in paths], wish).id


def _follow(reader: StatusReader, key: BatchKey, stack: Stack, console: Console) -> Status:
    def watch() -> None:
        for name in stack.keep(deaths=DEATHS):
            console.print(f"the {name} had died and was started again", highlight=False)

    try:
        return follow(lambda: reader.read(key), console, watch=watch)
    except KeyboardInterrupt:
        console.print("stopping; the same command goes on from here", highlight=False)
        raise
