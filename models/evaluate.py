"""Measure a network on labelled sets, through an engine, as users run it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models import worst
from models.data import Item
from models.engines.seam import Engine
from models.figures import Figure, by_patient, classifier_figures, slice_figures, unread, volume_figures
from models.judging import Judged, Part, logits_of, masks_of, outlines_of, parts_of, verdicts_of
from models.registry import Network
from models.sets import read_sets
from models.worst import Case
from neurobatch.codes import Code
from neurobatch.errors import Refused

BATCH = 16
VALIDATION = "val"  # the split on which cards are measured

Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured, and the cases that went worst."""

    figures: Figure  # a JSON-able tree: what was measured by what, and the figures of each part
    cases: tuple[Case, ...] = ()


def evaluate(
    network: Network,
    weights: Path,
    data: Path,
    engine: Engine,
    split: str | None = None,
    *,
    cases: bool = False,
    say: Say = lambda line: None,
) -> Evaluation:
    """Every figure of a network on the sets in a folder.

    Args:
        network: its thresholds and profile.
        weights: its weight file.
        data: a set, or a folder of sets.
        engine: what runs it.
        split: rows of this split only; None: all rows, whatever their split says.
        cases: whether the worst cases are wanted too.
        say: takes a line as each part begins.

    Raises:
        Refused: `no_set`, there is no set here, or no row of this split; `bad_table`, `source_missing`, a row cannot be
            used; `unreadable`, no picture of a part can be decoded.
    """
    items = items_of(data, split)
    if network.kind == "classifier":
        judged = judge(network, weights, items, engine, say)
        found = classified(judged, network, cases=cases)
    else:
        found = _outlined(network, weights, items, engine, cases=cases, say=say)
    return Evaluation(figures=report(network, engine, split, found.figures), cases=found.cases)


def report(network: Network, engine: Engine, split: str | None, parts: Figure) -> Figure:
    """The figures of all parts, under what was measured by what."""
    return {
        "network": network.name,
        "kind": network.kind,
        "sha256": network.sha256,
        "split": split or "all",
        "engine": engine.name,
        "precision": engine.precision,
        "processor": engine.processor,
        "profile": network.profile,
        "threshold": network.threshold,
        "parts": parts,
    }


def items_of(data: Path, split: str | None) -> list[Item]:
    """The rows of a split, or all.

    Raises:
        Refused: as `read_sets`; `no_set`, no row is of this split.
    """
    items = [item for item in read_sets(data) if split is None or item.split == split]
    if not items:
        raise Refused(Code.NO_SET, f"No row of these sets is of the split {split!r}.")
    return items


def judge(
    network: Network, weights: Path, items: Sequence[Item], engine: Engine, say: Say = lambda line: None
) -> list[Judged]:
    """A classifier's logits for each part of these items."""
    predictor = engine.load(network.name, weights, BATCH)
    judged = []
    for part in parts_of(items):
        say(f"{network.name} on {part.name}: {len(part.items)} pictures")
        judged.append(logits_of(predictor, part, network.profile))
    return judged


def classified(judged: Sequence[Judged], network: Network, *, cases: bool = False) -> Evaluation:
    """Figures by part; pictures of several `images.csv` sources also together, and volumes by patient."""
    parts: Figure = {}
    for one in with_web(judged):
        verdicts = verdicts_of(one, network)
        parts[one.part.name] = {**classifier_figures(verdicts), **unread(one.part)}
        if one.part.volumes:
            parts[one.part.name]["healthy_slices"] = by_patient(verdicts)
    found = [case for one in judged for case in worst.wrong_verdicts(one, verdicts_of(one, network))] if cases else []
    return Evaluation(figures=parts, cases=tuple(found))


def _outlined(
    network: Network, weights: Path, items: Sequence[Item], engine: Engine, *, cases: bool, say: Say
) -> Evaluation:
    """Figures by part: volumes by patient where slices form volumes, slices for everything else."""
    predictor = engine.load(network.name, weights, BATCH)
    parts: Figure = {}
    found: list[Case] = []
    for part in parts_of(items):
        say(f"{network.name} on {part.name}: {len(part.items)} pictures")
        outlining = outlines_of(predictor, part, network.profile, network.threshold)
        measured = volume_figures if part.volumes else slice_figures
        parts[part.name] = {**measured(outlining), **unread(outlining.part)}
        if cases:
            again = partial(masks_of, predictor, profile=network.profile, threshold=network.threshold)
            found += worst.bad_outlines(outlining, again)
    return Evaluation(figures=parts, cases=tuple(found))


def with_web(judged: Sequence[Judged]) -> list[Judged]:
    """The parts, and behind them those of `images.csv` together as `web`, where there are several."""
    web = [one for one in judged if all(item.table == "images" for item in one.part.items)]
    if len(web) < 2:
        return list(judged)
    items = tuple(item for one in web for item in one.part.items)
    logits = np.concatenate([one.logits for one in web])
    return [*judged, Judged(part=Part(name="web", items=items, view="colour"), logits=logits)]
