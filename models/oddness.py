"""Fit and measure the check of odd pictures: one number beside a classifier's logit, from features it has anyway.

What a network sees of a picture are the means over the grid of one of its middle layers: its last ones know tumour
from no tumour and hardly tell a knee from a head. Training pictures are a Gaussian of that (`models.gaussian`); the
threshold is the distance that few validation pictures reach, each part of them weighing the same.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import keras
import numpy as np
from numpy.typing import NDArray

from models.carding import put_on_card
from models.data import Item, View, read_plane
from models.engines.choice import choose
from models.engines.seam import SIDE, Engine
from models.gaussian import Gaussian, fitted, write
from models.networks import NETWORKS, load, look
from models.registry import TABLE, WEIGHTS, Check, Network, networks, open_weights
from models.samples import Sample, samples_of, scans_below
from models.scores import auc
from models.sets import read_sets
from models.weightfile import digest
from pipeline.oddness import of_scan, written
from pipeline.prepare.profiles import prepare

DIRECTIONS = 64
FLAGGED = 0.01  # part of the validation pictures that may be called odd
TRAINING, VALIDATION = 300, 120  # pictures of each part: more change little
BATCH = 16
VIEWS: tuple[View, ...] = ("colour", "pre", "flair", "post")
DIGITS = 4  # of figures

Squares = NDArray[np.uint8]  # (n, side, side, 3)
Figures = dict[str, object]
Row = tuple[Item, View]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pictures of one source, seen in one way."""

    name: str
    rows: tuple[Row, ...]


def parts_of(items: Iterable[Item], split: str, most: int) -> list[Part]:
    """The pictures of a split by source, LGG as composite and as each sequence alone; of each evenly spread ones."""
    by_name: dict[str, list[Row]] = {}
    for item in items:
        if item.split == split:
            for view in VIEWS if item.source == "lgg" else VIEWS[:1]:
                name = item.source if view == "colour" else f"{item.source}-{view}"
                by_name.setdefault(name, []).append((item, view))
    return [Part(name=name, rows=tuple(spread(rows, most))) for name, rows in sorted(by_name.items())]


def spread(things: Sequence[Row], most: int) -> list[Row]:
    """At most so many of them, evenly spread."""
    count = min(most, len(things))
    return [things[index * len(things) // count] for index in range(count)]


def squares_of(part: Part, profile: str) -> Squares:
    """The pictures of a part as a network takes them."""
    return np.stack([prepare(read_plane(item.file, view), profile, SIDE) for item, view in part.rows])


def fit(network: Network, weights: Path, training: Sequence[Squares]) -> Gaussian:
    """The Gaussian of what a network sees of training pictures, each part weighing the same."""
    model = load(network.name, weights)
    eye = keras.Model(model.input, look(model, NETWORKS[network.name].looks))
    seen = [_seen(eye, pictures) for pictures in training]
    weight = np.concatenate([np.full(len(each), 1 / len(each)) for each in seen])
    return fitted(np.concatenate(seen), weight, DIRECTIONS)


def _seen(eye: keras.Model, pictures: Squares) -> NDArray[np.float64]:
    chunks = (pictures[at : at + BATCH] for at in range(0, len(pictures), BATCH))
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(eye(chunk.astype(np.float32), training=False)).astype(np.float64)
            for chunk in chunks
        ]
    )


def threshold_of(validation: Sequence[NDArray[np.float64]]) -> float:
    """The distance that at most `FLAGGED` of the validation pictures reach, each part weighing the same."""
    distances = np.concatenate(validation)
    weight = np.concatenate([np.full(len(each), 1 / len(each)) for each in validation])
    order = np.argsort(-distances)
    above = np.cumsum(weight[order]) / weight.sum()
    last = distances[order][above > FLAGGED][0]  # the first that may not be called odd
    return round(float(last) + 0.001, 3)


def measured(
    engine: Engine, network: Network, check: Path, validation: Sequence[Part], samples: Sequence[Sample]
) -> tuple[float, Figures]:
    """The threshold, and what is found odd at it, as users run it.

    Args:
        engine: what runs the network.
        network: which has the check.
        check: the file of the check.
        validation: pictures that should not be odd.
        samples: scans of which it is known whether they should be.

    Returns:
        The threshold and a JSON-able tree: by part and by kind of sample how many are odd, and the AUC.
    """
    predictor = engine.load(network.name, open_weights(network.name), BATCH, check)
    distances = [written(predictor.predict(squares_of(part, network.profile))[:, 1]) for part in validation]
    threshold = threshold_of(distances)
    kinds: dict[str, list[float]] = {}
    for sample in samples:
        squares = np.stack([prepare(plane, network.profile, SIDE, sample.pixel_mm) for plane in sample.planes])
        kinds.setdefault(sample.kind, []).append(of_scan(written(predictor.predict(squares)[:, 1])))
    unlike = [distance for kind, found in kinds.items() if not kind.startswith("head") for distance in found]
    alike = np.concatenate(distances)
    truth = np.concatenate([np.ones(len(unlike), bool), np.zeros(len(alike), bool)])
    return threshold, {
        "threshold": threshold,
        "auc": round(auc(truth, np.concatenate([unlike, alike])), DIGITS) if unlike else None,
        "found": _share(unlike, threshold),
        "validation": {
            part.name: _share(found.tolist(), threshold) for part, found in zip(validation, distances, strict=True)
        },
        "samples": {kind: _share(found, threshold) for kind, found in sorted(kinds.items())},
    }


def _share(distances: Sequence[float], threshold: float) -> Figures:
    odd = sum(distance >= threshold for distance in distances)
    middle = round(float(np.median(distances)), DIGITS) if len(distances) else None
    return {"scans": len(distances), "odd": odd, "median": middle}


def publish(network: Network, figures: Figures, check: Check) -> None:
    """Put the check into the table of networks, and its figures into the network's card."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["networks"]
    for row in rows:
        if row["name"] == network.name:
            row["oddness"] = asdict(check)
    TABLE.write_text(json.dumps({"networks": rows}, indent=1) + "\n", encoding="utf-8")
    put_on_card(network, "oddness", figures)


@click.command()
@click.argument("name", type=click.Choice([name for name, kind in NETWORKS.items() if kind.looks]))
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("cache", type=click.Path(file_okay=False, path_type=Path))
@click.option("--alike", type=click.Path(exists=True, path_type=Path), help="Phantoms, which must pass too.")
@click.option("--unlike", type=click.Path(exists=True, path_type=Path), help="Pictures of anything else.")
def main(name: str, data: Path, cache: Path, alike: Path | None, unlike: Path | None) -> None:
    """Fit the check of the shipped network NAME on the sets in DATA, measure it there, and publish it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    network, weights = networks()[name], open_weights(name)
    items = read_sets(data)
    training = [squares_of(part, network.profile) for part in parts_of(items, "train", TRAINING)]
    file = WEIGHTS / f"oddness-{name}.h5"
    write(fit(network, weights, training), file, digest(weights))
    samples = [*samples_of(data), *_further(alike, "head, phantom"), *_further(unlike, "picture of something else")]
    threshold, figures = measured(choose("openvino", cache), network, file, parts_of(items, "val", VALIDATION), samples)
    check = Check(file=file.name, sha256=digest(file), bytes=file.stat().st_size, threshold=threshold)
    publish(network, figures, check)
    log.info("%s", json.dumps(figures, indent=1))


def _further(folder: Path | None, kind: str) -> Iterator[Sample]:
    return (replace(sample, kind=kind) for sample in scans_below(folder)) if folder is not None else iter(())


if __name__ == "__main__":
    main()
