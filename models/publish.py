"""Make a trained network a shipped one: float16 weights, calibration, figures, card, and a row in the registry.

Everything that the registry and the cards say is measured here, on the weights as they are shipped.
"""

import hashlib
import json
import logging
import sys
from dataclasses import asdict, replace
from pathlib import Path

from models.calibrate import calibrate
from models.carding import write_card
from models.engines.choice import choose
from models.engines.seam import SIDE, Engine
from models.evaluate import VALIDATION, classified, evaluate, items_of, judge, report
from models.figures import Figure
from models.networks import NETWORKS
from models.registry import TABLE, WEIGHTS, Network
from models.train import Config, read_config
from models.weightfile import shrink

LICENCE = "research only: made from data under CC BY-NC-SA 4.0, see LICENSE.md beside the weights"
CHANNELS = ("FLAIR abnormality (as outlined on TCGA-LGG)", "tumour core on T1 after contrast")
PIXEL_THRESHOLD = 0.5


def publish(config: Config, trained: Path, engine: Engine) -> Network:
    """Ship what a training run gave.

    Args:
        config: with what it was trained; its data folder is measured on.
        trained: the run's best weights.
        engine: what measures; the engine that users have by default.

    Returns:
        The new row of the registry.

    Raises:
        Refused: the data folder holds no set.
        Broken: the weights do not fit the architecture.
    """
    weights = WEIGHTS / f"{config.network}.weights.h5"
    shrink(trained, weights)
    network, figures = _measured(_row(config, weights), weights, config.data, engine)
    figures["training"] = {"configuration": f"{config.network}.toml", "seed": config.seed}
    write_card(network, figures)
    _enter(network)
    return network


def _row(config: Config, weights: Path) -> Network:
    content = weights.read_bytes()
    segments = NETWORKS[config.network].segments
    return Network(
        name=config.network,
        kind="segmenter" if segments else "classifier",
        file=weights.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        profile=config.profile,
        size=SIDE,
        temperature=1.0,
        threshold=PIXEL_THRESHOLD,
        review_low=PIXEL_THRESHOLD,
        review_high=PIXEL_THRESHOLD,
        channels=CHANNELS if segments else (),
        licence=LICENCE,
    )


def _measured(network: Network, weights: Path, data: Path, engine: Engine) -> tuple[Network, Figure]:
    """The network with its calibration, and its figures; a classifier runs once for both."""
    if network.kind == "segmenter":
        return network, evaluate(network, weights, data, engine, VALIDATION).figures
    judged = judge(network, weights, items_of(data, VALIDATION), engine)
    network = replace(network, **asdict(calibrate(judged)))
    return network, report(network, engine, VALIDATION, classified(judged, network).figures)


def _enter(network: Network) -> None:
    """Put the network's row into the table, beside the others."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["networks"] if TABLE.is_file() else []
    others = [row for row in rows if row["name"] != network.name]
    table = {"networks": sorted([*others, asdict(network)], key=lambda row: str(row["name"]))}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """`python -m models.publish CONFIG DATA TRAINED CACHE`: ship TRAINED; CACHE takes the engine's converted form."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    file, data, trained, cache = (Path(argument) for argument in arguments)
    config = read_config(file, data=data, start=None, out=trained.parent)
    network = publish(config, trained, choose("openvino", cache))
    logging.getLogger(__name__).info(
        "published %s: %d bytes, threshold %s", network.name, network.bytes, network.threshold
    )


if __name__ == "__main__":
    main(sys.argv[1:])
