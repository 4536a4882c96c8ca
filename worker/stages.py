"""A scan's flow through a decoder: the order of `pipeline.run`, with the networks at the other end of a pipe."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobatch.errors import ScanFailed
from neurobatch.records import ContentLine, FileRef, ModelPin
from neurobatch.version import VERSION
from pipeline import run
from pipeline.limits import Limits
from pipeline.prepare.denoise import warm
from pipeline.volumes import Volume
from storage.ledger import Content, Ledger, ResultFiles
from storage.opening import open_store
from storage.reuse import find
from worker.arena import MASK_STEPS, MASKS
from worker.jobs import Job, Judged
from worker.messages import Claim, Feed, Network, Outcome, Ran, Verdict
from worker.reuse import content_of, key_of, taken_over
from worker.sources import Sources, SourcesConfig

NO_ENGINE = "none"  # what the result line of a scan names that no network had to see

Pinned = tuple[ModelPin, Network]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What all flows of a decoder share."""

    sources: Sources
    limits: Limits
    ledger: Ledger


def context(config: SourcesConfig) -> Context:
    """Made once a process, since it holds connections. Before the first scan, so that none waits for a compiler."""
    warm()
    ledger = Ledger(open_store(config.store, config.s3))
    return Context(sources=Sources(config, ledger.objects), limits=config.limits, ledger=ledger)


def flow(context: Context, job: Job) -> Generator[Feed | Claim, Any, Outcome]:
    """Judge one scan.

    Raises:
        ScanFailed: it cannot be judged.
        Unavailable: a service does not answer.
    """
    volume = run.decode(job.scan.kind, fetched(context.sources, job), context.limits)
    content = content_of(volume)
    key = key_of(job, content)
    earlier = find(context.ledger, job.key.tenant, key) if key is not None else None
    if key is not None and earlier is None:
        waited = yield Claim(key=f"{job.key.tenant}/{key}", held=volume.planes.nbytes)
        earlier = find(context.ledger, job.key.tenant, key) if waited else None
    if earlier is not None:
        return _taken_over(context, job, ContentLine(scan=job.scan.id, content=content), earlier)
    line = ContentLine(scan=job.scan.id, content=content, kept=key)
    shown = run.look(volume)
    verdicts: dict[str, Verdict] = {}
    for pinned in _first(job) if shown else ():
        told = yield _feed(volume, shown, pinned)
        verdicts |= {pin.name: verdict for (pin, _), verdict in zip(pinned, told, strict=True)}
    setting = _setting(job, context.limits, verdicts)
    judged = run.judge(volume, shown, {name: said.values for name, said in verdicts.items()}, setting)
    maps = None
    if judged.wants_mask:
        segmenter = [pinned for pinned in _pinned(job) if pinned[0] == setting.segmenter]
        if segmenter[0][0].name not in verdicts:
            (verdicts[segmenter[0][0].name],) = yield _feed(volume, shown, segmenter)
            setting = _setting(job, context.limits, verdicts)
        maps = _maps(shown, verdicts[segmenter[0][0].name].values)
    return _outcome(job, run.conclude(job.scan, volume, judged, maps, setting), setting, line)


def _taken_over(context: Context, job: Job, line: ContentLine, earlier: ResultFiles) -> Outcome:
    """The outcome of an earlier scan as this one's own. Its own earlier try is no other scan's: nothing came of it."""
    again = (earlier.key, earlier.scan) == (job.key, job.scan.id)
    line = line.model_copy(update={"kept": earlier.reuse} if again else {"reused": True})
    conclusion, setting = taken_over(job, earlier, context.limits)
    return _outcome(job, conclusion, setting, line)


def fetched(sources: Sources, job: Job) -> tuple[bytes, ...]:
    """The bytes of a scan's files in the order of the plan. Raises the `ScanFailed` of the first that cannot be had."""
    found: dict[FileRef, bytes] = {}
    for ref, data in sources.fetch(job.key, job.sources, job.scan.files):
        if isinstance(data, ScanFailed):
            raise data
        found[ref] = data
    return tuple(found[ref] for ref in job.scan.files)


def _pinned(job: Job) -> list[Pinned]:
    return list(zip(job.pins, job.networks, strict=True))


def _first(job: Job) -> list[list[Pinned]]:
    """The networks that every scan must see, those together that take the same squares."""
    groups: dict[tuple[str, int], list[Pinned]] = {}
    for pin, network in _pinned(job):
        if pin.kind == "classifier" or job.options.segment == "all":
            groups.setdefault((pin.profile, pin.size), []).append((pin, network))
    return list(groups.values())


def _feed(volume: Volume, shown: Sequence[int], pinned: Sequence[Pinned]) -> Feed:
    pin, first = pinned[0]
    masks = sum(network.segments for _, network in pinned) * len(shown) * pin.size * pin.size * MASKS

    def prepare(index: int) -> NDArray[np.uint8]:
        if first.prepares is not None:
            return run.packed(volume, shown[index], pin)
        _, square = next(run.squares(volume, (shown[index],), pin))
        return square

    return Feed(
        networks=tuple(network for _, network in pinned),
        count=len(shown),
        prepare=prepare,
        held=volume.planes.nbytes + masks,
    )


def _setting(job: Job, limits: Limits, verdicts: dict[str, Verdict]) -> run.Setting:
    """All networks of a job run on one engine, so any verdict names it; their precisions may differ."""
    nothing = Ran(engine=NO_ENGINE, precision=job.networks[0].precision, processor=NO_ENGINE)
    ran = next((verdict.ran for verdict in verdicts.values()), nothing)
    precisions = {verdict.ran.precision for verdict in verdicts.values()}
    return run.Setting(
        pins=job.pins,
        options=job.options,
        engine=ran.engine,
        precision="mixed" if len(precisions) > 1 else ran.precision,
        processor=ran.processor,
        software=VERSION,
        limits=limits,
    )


def _maps(shown: Sequence[int], masks: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for index, mask in zip(shown, masks, strict=True):
        yield index, mask.astype(np.float32) / np.float32(MASK_STEPS)


def _outcome(job: Job, conclusion: run.Conclusion, setting: run.Setting, line: ContentLine) -> Outcome:
    files = {name: Content(run.MEDIA_TYPES[name], data) for name, data in conclusion.files.items()}
    judged = Judged(result=run.succeeded(job.scan, conclusion, setting), files=files, line=line)
    return Outcome(value=judged, size=sum(len(data) for data in conclusion.files.values()))
