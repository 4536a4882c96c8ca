"""Measure a network on labelled sets, through an engine, as users run it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.data import Item
from models.engines.seam import Engine
from models.figures import Figure, by_patient, classifier_figures, core_figures, lgg_figures
from models.judging import Judged, Part, logits_of, outlines_of, parts_of
from models.registry import Network
from models.sets import read_sets
from neurobatch.codes import Code
from neurobatch.errors import Refused

BATCH = 16
WEB = ("navoneel", "sartaj", "brisc")


def evaluate(network: Network, weights: Path, data: Path, engine: Engine, split: str | None = "val") -> Figure:
    """Every figure of a network on the sets in a folder.

    Args:
        network: its thresholds and profile.
        weights: its weight file.
        data: a set, or a folder of sets.
        engine: what runs it.
        split: rows of this split only; None: all rows, whatever their split says.

    Returns:
        A JSON-able tree: what was measured by what, and the figures of each part.

    Raises:
        Refused: `no_set`, there is no set here, or no row of this split.
    """
    items = items_of(data, split)
    if network.kind == "classifier":
        parts = classifier_parts(judge(network, weights, items, engine), network)
    else:
        parts = segmenter_parts(network, weights, items, engine)
    return report(network, engine, split, parts)


def report(network: Network, engine: Engine, split: str | None, parts: Figure) -> Figure:
    """The figures of all parts, under what was measured by what."""
    return {
        "network": network.name,
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
        Refused: `no_set`, there is no set here, or no row of this split.
    """
    items = [item for item in read_sets(data) if split is None or item.split == split]
    if not items:
        raise Refused(Code.NO_SET, f"No row of these sets is of the split {split!r}.")
    return items


def judge(network: Network, weights: Path, items: Sequence[Item], engine: Engine) -> list[Judged]:
    """A classifier's logits for each part of these items."""
    predictor = engine.load(network.name, weights, BATCH)
    return [logits_of(predictor, part, network.profile) for part in parts_of(items)]


def classifier_parts(judged: Sequence[Judged], network: Network) -> Figure:
    """Figures by part; web sources also together, and LGG by patient."""
    web = [one for one in judged if one.part.name in WEB]
    parts = {one.part.name: classifier_figures(one, network) for one in judged}
    if len(web) > 1:
        parts["web"] = classifier_figures(_together("web", web), network)
    for one in judged:
        if one.part.name.startswith("lgg"):
            parts[one.part.name]["healthy_slices"] = by_patient(one, network)
    return parts


def segmenter_parts(network: Network, weights: Path, items: Sequence[Item], engine: Engine) -> Figure:
    """Figures by part: volumes by patient for LGG, slices for everything else."""
    predictor = engine.load(network.name, weights, BATCH)
    parts = {}
    for part in parts_of(items):
        outlined = outlines_of(predictor, part, network.profile, network.threshold)
        parts[part.name] = (lgg_figures if part.name.startswith("lgg") else core_figures)(outlined)
    return parts


def _together(name: str, judged: Sequence[Judged]) -> Judged:
    items = tuple(item for one in judged for item in one.part.items)
    return Judged(
        part=Part(name=name, items=items, view="colour"), logits=np.concatenate([one.logits for one in judged])
    )
