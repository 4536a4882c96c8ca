"""Measure what bfloat16 changes in what the shipped networks say, and put it on their cards.

Cards, temperatures and thresholds are those of float32. A processor that multiplies bfloat16 runs the same weights two
to four times as fast with eight bits of mantissa; whether it then says the same is measured here, not assumed.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.bfloat16_card import COLUMNS
from models.carding import put_on_card
from models.data import Item
from models.engines.choice import choose
from models.engines.seam import Engine
from models.evaluate import VALIDATION, classified, evaluate, items_of, judge, with_web
from models.figures import Figure
from models.judging import verdicts_of
from models.registry import Network, networks, open_weights
from neurobatch.codes import Code
from neurobatch.errors import Broken

DIGITS = 4  # of figures

log = logging.getLogger(__name__)


def compared(network: Network, weights: Path, data: Path, exact: Engine, rounded: Engine) -> Figure:
    """The figures of a network on the validation part, in float32 and in bfloat16, in one run.

    Args:
        network: its thresholds and profile.
        weights: its weight file.
        data: a folder of sets.
        exact: an engine in float32.
        rounded: the same in bfloat16.

    Raises:
        Refused: the data folder holds no set.
        Broken: `no_engine`, the processor has no bfloat16, so that nothing would be compared.
    """
    if rounded.precision != "bfloat16":
        raise Broken(Code.NO_ENGINE, "this processor does not multiply bfloat16")
    if network.kind == "segmenter":
        found = [evaluate(network, weights, data, each, VALIDATION).figures["parts"] for each in (exact, rounded)]
        parts = {name: _beside(found[0][name], found[1][name]) for name in found[0]}
    else:
        parts = _classifiers(network, weights, items_of(data, VALIDATION), exact, rounded)
    return {"engine": rounded.name, "processor": rounded.processor, "parts": parts}


def _classifiers(network: Network, weights: Path, items: Sequence[Item], exact: Engine, rounded: Engine) -> Figure:
    both = [judge(network, weights, items, each, log.info) for each in (exact, rounded)]
    before, after = (classified(judged, network).figures for judged in both)
    parts: Figure = {}
    for one, other in zip(*(with_web(judged) for judged in both), strict=True):
        name, first, second = one.part.name, verdicts_of(one, network), verdicts_of(other, network)
        gaps = np.abs(first.chance - second.chance)
        parts[name] = {
            **_beside(before[name], after[name]),
            "pictures": len(gaps),
            "other_findings": int(np.count_nonzero(first.positive != second.positive)),
            "probability_differs": round(float(gaps.max()), DIGITS),
            "probability_differs_median": round(float(np.median(gaps)), DIGITS),
        }
    return parts


def _beside(before: Mapping[str, object], after: Mapping[str, object]) -> Figure:
    return {
        precision: {key: figures[key] for key, _ in COLUMNS if figures.get(key) is not None}
        for precision, figures in (("float32", before), ("bfloat16", after))
    }


def main(arguments: list[str]) -> None:
    """`python -m models.bfloat16 DATA CACHE [NETWORK …]`: CACHE takes the engine's converted form; no name: all."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data, cache, *names = arguments
    exact, rounded = choose("openvino", Path(cache)), choose("openvino", Path(cache), precision="bfloat16")
    for name in names or sorted(networks()):
        found = compared(networks()[name], open_weights(name), Path(data), exact, rounded)
        put_on_card(networks()[name], "bfloat16", found)
        log.info("%s", json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
