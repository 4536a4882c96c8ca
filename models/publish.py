"""Make a trained network a shipped one: float16 weights, calibration, figures, card, and a row in the registry.

Everything that the registry and the cards say is measured here, on the weights as they are shipped. A weight file is
named by its content; the table of networks is replaced in one step once the file that it names is there, so whoever
reads at any moment, also after a crash, finds networks that are whole.
"""

import hashlib
import json
import logging
import sys
from dataclasses import asdict, replace
from pathlib import Path

from models.calibrate import calibrate
from models.carding import write_card
from models.configuring import Config, read_config
from models.engines.choice import choose
from models.engines.seam import SIDE, Engine
from models.evaluate import VALIDATION, classified, evaluate, items_of, judge, report
from models.figures import Figure
from models.networks import NETWORKS
from models.registry import TABLE, WEIGHTS, Network
from models.weightfile import shrink
from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused

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
        Refused: the data folder holds no set; `invalid_field`, the run's network is not of the size that engines run.
        Broken: the weights do not fit the architecture.
    """
    if config.sizes or config.size != SIDE:
        raise Refused(Code.INVALID_FIELD, "Only networks of the sizes that stand in the code are shipped.")
    weights = _placed(config.network, trained)
    network, figures = _measured(_row(config, weights), weights, config.data, engine)
    figures["training"] = {"configuration": config.name, "seed": config.seed}
    enter(network)
    write_card(network, figures)
    return network


def _placed(name: str, trained: Path) -> Path:
    """The weights in half precision beside the shipped ones, under a name that says what is in them."""
    fresh = WEIGHTS / f"new-{name}.weights.h5"
    try:
        shrink(trained, fresh)
        digest = hashlib.sha256(fresh.read_bytes()).hexdigest()
        return fresh.replace(WEIGHTS / f"{name}-{digest[:8]}.weights.h5")
    finally:
        fresh.unlink(missing_ok=True)


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


def enter(network: Network, table: Path = TABLE) -> None:
    """Put a network's row into the table in one step; then the weight file that the row before named goes.

    Raises:
        Broken: `weights_damaged`, the file that the row names is not there.
    """
    if not (table.parent / network.file).is_file():
        raise Broken(Code.WEIGHTS_DAMAGED, f"the weight file of {network.name} is not beside the table")
    rows = json.loads(table.read_text(encoding="utf-8"))["networks"] if table.is_file() else []
    others = [row for row in rows if row["name"] != network.name]
    whole = {"networks": sorted([*others, asdict(network)], key=lambda row: str(row["name"]))}
    fresh = table.with_suffix(".tmp")
    fresh.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    fresh.replace(table)
    for row in rows:
        if row["name"] == network.name and row["file"] != network.file:
            (table.parent / row["file"]).unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
    """`python -m models.publish CONFIG DATA TRAINED CACHE`: ship TRAINED; CACHE takes the engine's converted form."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    file, data, trained, cache = (Path(argument) for argument in arguments)
    config = read_config(file, data=data, out=trained.parent)
    network = publish(config, trained, choose("openvino", cache))
    logging.getLogger(__name__).info(
        "published %s: %d bytes, threshold %s", network.name, network.bytes, network.threshold
    )


if __name__ == "__main__":
    main(sys.argv[1:])
