"""Planning: each step commits one page, so that a long plan never holds a slot and a planner may die anywhere.

A page is drafted in a child, from the cursor that the last committed page left; two planners at once draft the same
page or two, and only the first that is put stands. What kills the child is left out with a code, and the rest is
planned.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from models import registry
from models.engines.choice import precision_of
from neurobatch.codes import Code
from neurobatch.errors import Broken, ScanFailed
from neurobatch.records import Batch, Cursor, ModelPin, Options, Page, PlanEnd, PlanStart
from neurobatch.version import VERSION
from storage.ledger import Ledger
from storage.names import BatchKey
from worker.notes import Spot, read_spot
from worker.pages import PageLimits, PageTask
from worker.sources import SourcesConfig

PAGE_SECONDS = 1800.0  # for one page: 20,000 files behind a slow link, or one pass over a large archive
SPOILED = 100  # files of one page that may kill a child, before the batch is given up
KILLERS = (Code.CRASHED, Code.TIMED_OUT, Code.OUT_OF_MEMORY)
SEGMENTER = "unet"

log = logging.getLogger(__name__)


class Call(Protocol):
    """Runs a function in a child: `Supervisor.call`."""

    def __call__(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step of planning came to, and so which bells to ring."""

    page: Page | None = None  # its shards can be worked on
    plan: bool = False  # another page is to be planned
    ended: bool = False  # the plan has ended
    wish: bool = False  # the batch is to be cancelled or deleted

    @property
    def shards(self) -> tuple[int, ...]:
        """Numbers of the shards that can be worked on now."""
        return tuple(shard.number for shard in self.page.shards) if self.page else ()


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans batches, a page a step."""

    ledger: Ledger
    config: SourcesConfig
    call: Call
    scratch: Path  # private folder of this machine
    limits: PageLimits = field(default_factory=PageLimits)
    seconds: float = PAGE_SECONDS
    threshold: float | None = None  # the site's own, where a batch names none
    precision: str = "auto"  # likewise
    engine: str = "auto"  # likewise

    def step(self, key: BatchKey, near: int = 0) -> Step:
        """Commit the next page of a batch, and the plan's end after the last; that page should be number `near`.

        Raises:
            Unavailable: a service does not answer; nothing is lost, the next step goes on.
            Broken: this installation cannot plan; others may.
        """
        batch = self.ledger.known(key)
        if batch is None or batch.abandoned:
            return Step()
        if self.ledger.cancelling(key) or self.ledger.deleting(key):
            return Step(wish=True)
        if self.ledger.plan_end(key) is not None:
            return Step(ended=True)
        if self.ledger.plan_start(key) is None:
            self._pin(key, batch)
        last = last_page(self.ledger, key, near)
        if last is None or last.cursor.phase != "done":
            number, cursor = (0, Cursor()) if last is None else (last.number + 1, last.cursor)
            try:
                last = self.ledger.put_page(key, self._drafted(key, number, cursor))
            except ScanFailed as error:
                log.error("planning_failed batch=%s page=%d code=%s", key.batch, number, error.code)
                self.ledger.end_plan(key, PlanEnd(pages=number, outcome="failed", code=Code.PLANNING_FAILED))
                return Step(ended=True)
        return self._after(key, last)

    def _after(self, key: BatchKey, page: Page) -> Step:
        if page.cursor.phase != "done":
            end = self.ledger.plan_end(key)
            return Step(page=page, plan=True) if end is None else Step(ended=True)
        code = self._nothing_was_there(key, page)
        outcome = PlanEnd(pages=page.number + 1, outcome="failed" if code else "planned", code=code)
        stands = self.ledger.end_plan(key, outcome)
        return Step(page=page if stands.pages > page.number else None, ended=True)

    def _nothing_was_there(self, key: BatchKey, last: Page) -> Code | None:
        """Why the batch failed: no file was listed, since no source could be had. None: it did not."""
        if last.files:
            return None
        for page in self.ledger.pages(key):
            if page.files:
                return None
            for line in self.ledger.left_out(key, page):
                return line.code
        return None

    def _pin(self, key: BatchKey, batch: Batch) -> PlanStart:
        """Pin the networks, and keep their weights in the store until the batch has ended."""
        models = pins(batch.options, self.threshold)
        for model in models:
            self.ledger.keep_model(model.sha256, registry.open_weights(model.name))
            check = registry.open_check(model.name)
            if model.oddness is not None and check is not None:
                self.ledger.keep_model(model.oddness.sha256, check)
        engine = self.engine if batch.options.engine == "auto" else batch.options.engine
        precision = precision_of(batch.options.precision, self.precision, engine)
        return self.ledger.start_plan(key, PlanStart(models=models, precision=precision, software=VERSION))

    def _drafted(self, key: BatchKey, number: int, cursor: Cursor) -> Page:
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = self.scratch / f"note-{uuid.uuid4().hex}"
        deaths: Counter[Spot] = Counter()
        spoiled: dict[Spot, Code] = {}
        task = PageTask(
            config=self.config, key=key, number=number, cursor=cursor, scratch=self.scratch, note=note,
            spoiled=spoiled, limits=self.limits,
        )  # fmt: skip
        try:
            while True:
                try:
                    page: Page = self.call(draft, task, seconds=self.seconds)
                    return page
                except ScanFailed as error:
                    spot = read_spot(note)
                    known = error.code in KILLERS and spot not in spoiled and len(spoiled) < SPOILED
                    if spot is None or not known:
                        raise
                    log.warning("planner_died batch=%s page=%d code=%s", key.batch, number, error.code)
                    deaths[spot] += 1
                    if deaths[spot] > 1:  # the first death may have been another's fault
                        spoiled[spot] = error.code
        finally:
            note.unlink(missing_ok=True)


def draft(task: PageTask) -> Page:
    """Draft a page; called in a child, so that only a child loads what reads headers."""
    from worker.drafting import draft_page

    return draft_page(task)


def last_page(ledger: Ledger, key: BatchKey, near: int = 0) -> Page | None:
    """The last committed page: found by doubling steps and halving, since pages are put in order; only it is read.

    `near`: where to look first, such as the number of the page that should come next.
    """
    low, step = -1, 1  # the last page that is known to stand
    if near and ledger.has_page(key, near - 1):
        low = near - 1
    while ledger.has_page(key, low + step):
        low, step = low + step, step * 2
    high = low + step  # does not stand
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if ledger.has_page(key, middle) else (low, middle)
    return ledger.page(key, low) if low >= 0 else None


def pins(options: Options, site: float | None = None) -> tuple[ModelPin, ...]:
    """The networks that a batch's options ask for, with the profile and threshold that it forces.

    `site`: the threshold of this site, where the batch names none.

    Raises:
        Broken: `weights_damaged`, a network is not there.
    """
    names: list[str] = ["mobilenet", "resnet50v2"] if options.classifier == "both" else [options.classifier]
    if options.segment != "none":
        names.append(SEGMENTER)
    known = registry.networks()
    missing = [name for name in names if name not in known]
    if missing:
        raise Broken(Code.WEIGHTS_DAMAGED, f"there is no network {', '.join(missing)}")
    return tuple(_with_threshold(known[name].pin(options.profile), options.threshold, site) for name in names)


def _with_threshold(pin: ModelPin, forced: float | None, site: float | None) -> ModelPin:
    """A threshold other than the card's takes the band of review with it, as wide as it was."""
    threshold = site if forced is None else forced
    if threshold is None or pin.kind != "classifier":
        return pin
    moved = threshold - pin.threshold
    return pin.model_copy(
        update={
            "threshold": threshold,
            "threshold_of": "site" if forced is None else "batch",
            "review_low": min(1.0, max(0.0, pin.review_low + moved)),
            "review_high": min(1.0, max(0.0, pin.review_high + moved)),
        }
    )
