"""What a run would do, told beforehand: scans by kind, files left out, disk and hours.

Plans the batch for real, with the planner's own code, into a store that is thrown away.
"""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local.pace import last_pace
from deploy.local.sources import root_source
from neurobatch.codes import Code
from neurobatch.display import clock
from neurobatch.errors import Refused
from neurobatch.records import Batch, Options, Value
from neurobatch.settings import Settings, load_settings
from storage.ledger import Ledger
from storage.names import BatchKey, new_batch_id
from storage.opening import open_store
from storage.roots import Roots
from worker.planning import Planner
from worker.sources import SourcesConfig


class Forecast(Value):
    """What a run would come to."""

    files: int
    scans: dict[str, int]  # by kind
    slices: int
    left_out: dict[str, int]  # by code
    bytes: int | None  # of results; None: no run has shown it yet
    seconds: float | None  # None: no run has shown it yet


def forecast(paths: Sequence[Path], options: Options, settings: Settings) -> Forecast:
    """Look at every file, and judge none.

    Raises:
        Refused: what was named cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="neurobatch-dry-") as place:
        thrown = load_settings(home=Path(place), store=None, roots=settings.roots)
        ledger, key = _accepted(paths, options, thrown)
        with _children() as call:
            planner = Planner(
                ledger=ledger, config=SourcesConfig.of(thrown), call=call, scratch=Path(place) / "scratch"
            )
            while planner.step(key).plan:
                pass
        return _counted(ledger, key, settings)


def _accepted(paths: Sequence[Path], options: Options, settings: Settings) -> tuple[Ledger, BatchKey]:
    ledger = Ledger(open_store(settings.store_url))
    key = BatchKey(settings.tenant, new_batch_id())
    roots = Roots.of(settings)
    ledger.open(key)
    sources = tuple(root_source(roots, path) for path in paths)
    ledger.accept(Batch(id=key.batch, tenant=key.tenant, created=datetime.now(UTC), sources=sources, options=options))
    return ledger, key


@contextlib.contextmanager
def _children() -> Iterator[Callable[..., Any]]:
    """Headers are read in a process of its own, as a worker does."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        def call(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
            return pool.submit(function, *arguments).result(seconds)

        yield call


def _counted(ledger: Ledger, key: BatchKey, settings: Settings) -> Forecast:
    end = ledger.plan_end(key)
    if end is not None and end.code is not None:
        raise Refused(end.code)
    kinds: Counter[str] = Counter()
    left: Counter[str] = Counter()
    files = slices = 0
    for page in ledger.pages(key, end):
        files += page.files
        for shard in page.shards:
            kinds.update(scan.kind.value for scan in shard.scans)
            slices += sum(scan.slices for scan in shard.scans)
        left.update(line.code.value for line in ledger.left_out(key, page))
    pace = last_pace(settings.home)
    scans = sum(kinds.values())
    return Forecast(
        files=files,
        scans=dict(kinds),
        slices=slices,
        left_out=dict(left),
        bytes=None if pace is None else round(pace.bytes / pace.scans * scans),
        seconds=None if pace is None else round(pace.seconds / pace.slices * slices, 1),
    )


def show_forecast(console: Console, told: Forecast) -> None:
    """For a person."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("files", str(told.files), "")
    for kind, number in sorted(told.scans.items()):
        table.add_row(f"{kind} scans", str(number), "")
    table.add_row("slices", str(told.slices), "")
    for code, number in sorted(told.left_out.items()):
        table.add_row("left out", str(number), f"{code}: {Code(code).sentence}")
    unknown = "not known before a first run on this machine"
    table.add_row("disk", *(("–", unknown) if told.bytes is None else (f"{told.bytes / 1e6:.0f} MB", "about")))
    table.add_row(
        "time", *(("–", unknown) if told.seconds is None else (clock(told.seconds), "about, at the last pace"))
    )
    console.print(table)
