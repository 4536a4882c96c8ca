"""Choices at test time, measured on validation: a second look, both classifiers or a cascade of them, no specks.

What the product does is the row that each table begins with. Another row pays where the interval of its difference lies
above zero in every part that it changes.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.cascade import cascade_choices
from models.choices_card import write_choices
from models.engines.choice import choose
from models.engines.seam import Engine, Outputs, Pictures, Predictor
from models.evaluate import BATCH, VALIDATION, items_of, judge, with_web
from models.figures import Figure, dice_by_case
from models.intervals import Bootstrap, Rows
from models.judging import Judged, Outlining, logits_of, outlines_of, parts_of
from models.registry import CARDS, Network, networks, open_weights
from models.scores import auc
from pipeline.finding import calibrated

SMALLEST = (20, 50, 100, 200)  # px of the network's square: regions below are left out
AS_IT_IS = "as it is"
CASCADE = ("mobilenet", "resnet50v2")  # the cheap one first

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """A network that looks twice: at each picture, and at it left for right; the mean of both."""

    predictor: Predictor

    def predict(self, pictures: Pictures) -> Outputs:
        """As `Predictor.predict`; maps are turned back before the mean."""
        there = self.predictor.predict(pictures)
        back = self.predictor.predict(np.ascontiguousarray(pictures[:, :, ::-1]))
        return (there + (back[:, :, ::-1] if back.ndim == 4 else back)) * np.float32(0.5)


@dataclass(frozen=True, kw_only=True)
class WithoutSpecks:
    """A segmenter whose maps are zero where a region from `threshold` on has fewer than `smallest` px."""

    predictor: Predictor
    smallest: int
    threshold: float

    def predict(self, pictures: Pictures) -> Outputs:
        """As `Predictor.predict`."""
        maps = self.predictor.predict(pictures)
        for picture in maps:
            for channel in range(picture.shape[2]):
                plane = picture[:, :, channel]
                _, labels, sizes, _ = cv2.connectedComponentsWithStats((plane >= self.threshold).astype(np.uint8))
                small = sizes[:, cv2.CC_STAT_AREA] < self.smallest
                small[0] = False  # the background
                plane[small[labels]] = 0
        return maps


def measure(data: Path, engine: Engine) -> Figure:
    """All choices on the validation part of the sets.

    Args:
        data: a set, or a folder of sets.
        engine: what runs the networks.

    Returns:
        By network the choices by name; by choice how often a network runs for a picture, and by part its figure (AUC,
        sensitivity or specificity of a cascade, or the mean Dice) and the difference to what the product does, with
        95 % intervals over patients or groups.

    Raises:
        Refused: as `evaluate`.
    """
    shipped = networks()
    found = {name: shipped[name] for name in sorted(shipped) if shipped[name].kind == "classifier"}
    looks = {name: _looks(network, data, engine) for name, network in found.items()}
    choices = {name: _classifier_choices(both) for name, both in looks.items()}
    once = {name: judged for name, (judged, _) in looks.items()}
    choices["both classifiers"] = _together(found, once)
    choices |= cascade_choices(*((found[name], once[name]) for name in CASCADE))
    for name, network in shipped.items():
        if network.kind == "segmenter":
            choices[name] = _segmenter_choices(network, data, engine)
    return {
        "networks": {name: network.sha256 for name, network in shipped.items()},
        "engine": engine.name,
        "precision": engine.precision,
        "choices": choices,
    }


def _looks(network: Network, data: Path, engine: Engine) -> tuple[list[Judged], list[Judged]]:
    """A classifier's logits by part, of one look and of two."""
    weights, items = open_weights(network.name), items_of(data, VALIDATION)
    once = judge(network, weights, items, engine, log.info)
    mirrored = Mirrored(predictor=engine.load(network.name, weights, BATCH))
    twice = [logits_of(mirrored, one.part, network.profile) for one in once]
    return with_web(once), with_web(twice)


def _classifier_choices(looks: tuple[list[Judged], list[Judged]]) -> Figure:
    once, twice = looks
    return {
        AS_IT_IS: {"runs": 1, "parts": _aucs(once, [one.logits for one in once])},
        "mirrored": {
            "runs": 2,
            "parts": _aucs(once, [one.logits for one in once], [two.logits for two in twice]),
        },
    }


def _together(found: Mapping[str, Network], judged: Mapping[str, Sequence[Judged]]) -> Figure:
    """The mean of the calibrated probabilities, as a batch with `both` weighs them, against each alone."""
    chances = {
        name: [calibrated(one.logits, network.temperature) for one in judged[name]] for name, network in found.items()
    }
    mean = [np.mean(each, axis=0) for each in zip(*chances.values(), strict=True)]
    parts = next(iter(judged.values()))
    return {
        f"against {name} alone": {"runs": len(found), "parts": _aucs(parts, alone, mean)}
        for name, alone in chances.items()
    }


def _aucs(
    judged: Sequence[Judged],
    base: Sequence[NDArray[np.floating]],
    other: Sequence[NDArray[np.floating]] | None = None,
) -> Figure:
    """AUC by part of `other`, or of `base` where there is no other, and the difference of the two."""
    parts: Figure = {}
    for place, one in enumerate(judged):
        truth = one.truth
        if truth.all() or not truth.any():
            continue
        bootstrap = Bootstrap([item.group for item in one.part.items])
        scores = [base[place]] if other is None else [base[place], other[place]]
        parts[one.part.name] = _figure(bootstrap, [_auc(truth, score) for score in scores])
    return parts


def _auc(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> Callable[[Rows], float]:
    return lambda rows: auc(truth[rows], score[rows])


def _segmenter_choices(network: Network, data: Path, engine: Engine) -> Figure:
    once = engine.load(network.name, open_weights(network.name), BATCH)
    cut = network.threshold
    specks = {
        f"without regions below {px} px": WithoutSpecks(predictor=once, smallest=px, threshold=cut) for px in SMALLEST
    }
    twice: dict[str, Predictor] = {AS_IT_IS: once, **specks, "mirrored": Mirrored(predictor=once)}
    choices: Figure = {name: {"runs": 2 if name == "mirrored" else 1, "parts": {}} for name in twice}
    for part in parts_of(items_of(data, VALIDATION)):
        if all(item.mask is None for item in part.items):
            continue
        outlined = {}
        for name, predictor in twice.items():
            log.info("%s, %s, on %s: %d pictures", network.name, name, part.name, len(part.items))
            outlined[name] = outlines_of(predictor, part, network.profile, cut)
            choices[name]["parts"][part.name] = _dice(outlined[AS_IT_IS], outlined[name])
    return choices


def _dice(base: Outlining, other: Outlining) -> Figure:
    groups, before = dice_by_case(base)
    _, after = dice_by_case(other)
    pair = [before] if other is base else [before, after]
    return _figure(Bootstrap(groups), [_mean(values) for values in pair])


def _mean(values: NDArray[np.float64]) -> Callable[[Rows], float]:
    return lambda rows: float(values[rows].mean())


def _figure(bootstrap: Bootstrap, measures: Sequence[Callable[[Rows], float]]) -> Figure:
    """The last measure, and how much it is above the first."""
    first, last = measures[0], measures[-1]
    figure: dict[str, Any] = bootstrap.of(last).named("value")
    if last is not first:
        figure |= bootstrap.of(lambda rows: last(rows) - first(rows)).named("more")
    return figure


def main(arguments: list[str]) -> None:
    """`python -m models.choices DATA CACHE`: CACHE takes the engine's converted networks."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data, cache = (Path(argument) for argument in arguments)
    figures = measure(data, choose("openvino", cache))
    (CARDS / "choices.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    log.info("wrote %s", write_choices(figures, CARDS))


if __name__ == "__main__":
    main(sys.argv[1:])
