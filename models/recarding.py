"""Measure the shipped networks again and write their cards anew; weights, thresholds and registry stay as they are."""

import json
import logging
import sys
from pathlib import Path

from models.carding import SECTIONS, write_card
from models.engines.choice import choose
from models.engines.seam import Engine
from models.evaluate import VALIDATION, evaluate
from models.registry import CARDS, Network, networks, open_weights

log = logging.getLogger(__name__)


def write_anew(network: Network, data: Path, engine: Engine, cards: Path = CARDS) -> Path:
    """Evaluate a shipped network as `publish` does and write its card; how it was trained and what its check of
    odd pictures comes to is taken from the old one.

    Args:
        network: its row of the registry.
        data: the sets on whose validation part it is measured.
        engine: what measures; the engine that users have by default.
        cards: where the old card is and the new one goes.

    Raises:
        Refused: the data folder holds no set.
        Broken: the weight file is not the one that was published.
    """
    old = json.loads((cards / f"{network.name}.json").read_text(encoding="utf-8"))
    measured = evaluate(network, open_weights(network.name), data, engine, VALIDATION, say=log.info)
    kept = {key: old[key] for key in SECTIONS if key in old}
    return write_card(network, {**measured.figures, **kept}, cards)


def main(arguments: list[str]) -> None:
    """`python -m models.recarding DATA CACHE [NETWORK …]`: CACHE takes the engine's converted form; no name: all."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data, cache, *names = arguments
    engine = choose("openvino", Path(cache))
    for name in names or sorted(networks()):
        log.info("wrote %s", write_anew(networks()[name], Path(data), engine))


if __name__ == "__main__":
    main(sys.argv[1:])
