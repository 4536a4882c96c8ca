"""Batches planned in this process, for tests: a store in a folder, a root in another, and a planner over them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurobatch.codes import Code
from neurobatch.records import Batch, LeftOutLine, Options, Page, PlannedScan, PlanStart, RootSource, Source
from storage.ledger import Ledger
from storage.names import BatchKey, new_batch_id
from storage.opening import open_store
from storage.roots import Roots
from worker.pages import PageLimits
from worker.planning import Planner, Step
from worker.sources import Sources, SourcesConfig

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = PlanStart(models=(), precision="float32", software="test")


def here(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """Calls in this process."""
    assert seconds > 0
    return function(*arguments)


@dataclass
class Bench:
    """A store, a root folder, and what is planned over them."""

    folder: Path
    call: Callable[..., Any] = here
    limits: PageLimits = field(default_factory=PageLimits)

    def __post_init__(self) -> None:
        self.root = self.folder / "root"
        self.root.mkdir()
        self.config = SourcesConfig(
            store=(self.folder / "store").as_uri(), roots=Roots(configured={"r": str(self.root)})
        )
        self.ledger = Ledger(open_store(self.config.store))

    def write(self, path: str, data: bytes) -> None:
        """Put a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def accept(self, *sources: Source, **options: Any) -> BatchKey:
        """A batch over sources, by default the whole root; its networks are pinned to none."""
        key = BatchKey("t", new_batch_id())
        self.ledger.open(key)
        self.ledger.accept(
            Batch(
                id=key.batch, tenant=key.tenant, created=NOW, sources=sources or (RootSource(root="r"),),
                options=Options(**options),
            )
        )  # fmt: skip
        self.ledger.start_plan(key, START)
        return key

    def planner(self, **changes: Any) -> Planner:
        chosen: dict[str, Any] = {
            "ledger": self.ledger, "config": self.config, "call": self.call,
            "scratch": self.folder / "scratch", "limits": self.limits,
        }  # fmt: skip
        return Planner(**{**chosen, **changes})

    def plan(self, key: BatchKey, **changes: Any) -> list[Step]:
        """Plan to the end, a step at a time."""
        steps = [self.planner(**changes).step(key)]
        while steps[-1].plan:
            steps.append(self.planner(**changes).step(key))
        return steps

    def pages(self, key: BatchKey) -> list[Page]:
        return list(self.ledger.pages(key, self.ledger.plan_end(key)))

    def scans(self, key: BatchKey) -> list[PlannedScan]:
        return [scan for page in self.pages(key) for shard in page.shards for scan in shard.scans]

    def left_lines(self, key: BatchKey) -> Iterator[LeftOutLine]:
        for page in self.pages(key):
            yield from self.ledger.left_out(key, page)

    def left_out(self, key: BatchKey) -> dict[str, Code]:
        return {line.path: line.code for line in self.left_lines(key)}

    def ends(self, key: BatchKey) -> list[str]:
        """The path of each file's end: one for each file of a scan and each left-out line, sorted."""
        batch = self.ledger.batch(key)
        sources = Sources(self.config, self.ledger.objects)
        files = [file for scan in self.scans(key) for file in scan.files]
        shown = [sources.shown(batch.sources[file.source], file.path, file.name) for file in files]
        return sorted(shown + [line.path for line in self.left_lines(key)])
