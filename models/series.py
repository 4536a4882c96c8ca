"""Fit and measure the rule from slices to a verdict on a series.

`python -m models.series DATA CACHE [CLASSIFIER ...]` runs the shipped networks over the series of known truth in DATA
(LGG patients, and the heads of `configs/heads.csv`), fits a rule for each classifier, and writes rules and figures to
`series.json`, from where batches and cards take them. What the networks said is kept in CACHE: a second fit is quick.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.engines.choice import choose
from models.engines.seam import Engine, Predictor
from models.registry import SERIES, Network, networks, open_weights
from models.series_figures import figures
from models.series_fit import Said, fit, healthy_part
from models.volumes import Series, head_series, lgg_series
from neurobatch.errors import ScanFailed
from pipeline import masks
from pipeline.finding import calibrated
from pipeline.run import look, squares
from pipeline.volumes import Volume

BATCH = 16
CLASSIFIERS = ("mobilenet", "resnet50v2")
SEGMENTER = "unet"

log = logging.getLogger(__name__)


class Networks:
    """A network's word on every slice of a series, asked once and kept."""

    def __init__(self, engine: Engine, cache: Path) -> None:
        self._engine, self._cache = engine, cache
        self._predictors: dict[str, Predictor] = {}
        cache.mkdir(parents=True, exist_ok=True)

    def said(self, series: Series, volume: Volume, network: Network) -> NDArray[np.float64]:
        """`(n,)`: calibrated probabilities of a classifier, or the shares of planes that a segmenter's masks cover."""
        about = f"{series.part} {series.name} {network.sha256} {network.temperature} {network.profile}"
        file = self._cache / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.npy"
        if not file.is_file():
            np.save(file, self._asked(volume, network))
        return np.asarray(np.load(file), np.float64)

    def _asked(self, volume: Volume, network: Network) -> NDArray[np.float64]:
        shown, pin = look(volume), network.pin()
        if network.name not in self._predictors:
            self._predictors[network.name] = self._engine.load(network.name, open_weights(network.name), BATCH)
        pictures = np.stack([square for _, square in squares(volume, shown, pin)])
        outputs = self._predictors[network.name].predict(pictures)
        if network.kind == "segmenter":
            drawn = masks.restored(zip(shown, outputs, strict=True), volume.geometry, network.channels)
            return masks.shares(drawn)
        each = np.zeros(len(volume.planes))
        each[list(shown)] = calibrated(outputs[:, 0], network.temperature)
        return each


def all_said(series: Iterable[Series], asked: Networks, classifier: Network, segmenter: Network) -> Iterator[Said]:
    """What the networks say of each series that can be read and shows something."""
    for one in series:
        try:
            volume = one.read()
        except ScanFailed as error:
            log.info("passed over %s: %s", one.name, error.code)
            continue
        if not look(volume):
            continue
        yield Said(
            name=one.name,
            group=one.group,
            part=one.part,
            seen=one.split == "train",
            tumour=one.tumour,
            slices=one.slices,
            probabilities=asked.said(one, volume, classifier),
            shares=asked.said(one, volume, segmenter),
            slice_mm=volume.geometry.slice_mm,
            about=one.about,
        )


def with_healthy_parts(said: Iterable[Said]) -> list[Said]:
    """The series, and after each the part of it that stands for a healthy one."""
    pairs = ((one, healthy_part(one)) for one in said)
    return [each for each in chain.from_iterable(pairs) if each is not None]


def main(arguments: list[str]) -> None:
    """Fit and measure; see the module."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data, cache, *names = arguments
    asked = Networks(choose("openvino", Path(cache) / "engines"), Path(cache))
    known = networks()
    written = json.loads(SERIES.read_text(encoding="utf-8")) if SERIES.is_file() else {"rules": {}, "figures": {}}
    for name in names or CLASSIFIERS:
        everything = chain(lgg_series(Path(data) / "lgg"), head_series(Path(data)))
        said = with_healthy_parts(all_said(everything, asked, known[name], known[SEGMENTER]))
        rule = fit(said)
        written["rules"][name] = rule.model_dump(mode="json")
        written["figures"][name] = {
            "networks": {each: known[each].sha256 for each in (name, SEGMENTER)},
            **figures(said, rule, name),
        }
        SERIES.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        log.info("fitted %s: %s", name, rule)


if __name__ == "__main__":
    main(sys.argv[1:])
