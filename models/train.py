"""Train a network: phases of growing picture size, checkpoints after each epoch, resumed where it stopped."""

import csv
import json
import logging
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from models.augment import Ranges
from models.data import Cache, Item, View, open_cache
from models.engines.seam import SIDE
from models.features import FeatureBatches, rest_of, stem_of, training_features, validation_features
from models.losses import outline_loss
from models.networks import NETWORKS, Architecture
from models.sampling import Batches, Sampler
from models.sets import read_sets
from models.validate import auc_score, classifier_score, logits_of_features, segmenter_score

Score = Callable[[], tuple[float, dict[str, float]]]
Epoch = Callable[[int], keras.utils.PyDataset]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training at one picture size; the rate falls from `rate` to nothing along a cosine."""

    side: int  # px
    epochs: int
    steps: int  # batches an epoch; batches drawn once and kept, for a network with a stem
    rate: float
    patience: int = 6  # epochs without a better validation before the phase ends
    frozen: bool = False  # the backbone stays as it is, so that a new decoder may learn fast


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that a training run depends on."""

    network: str
    profile: str
    seed: int
    batch: dict[str, int]  # kind of picture: how many a batch
    phases: tuple[Phase, ...]
    data: Path  # sets to train on
    start: Path | None  # ImageNet weights of the backbone; None: random
    out: Path  # checkpoints and log; prepared pictures go beside it
    ranges: Ranges = field(default_factory=Ranges)
    every: dict[str, int] = field(default_factory=dict)  # of a source's pictures only every so many-th is prepared


def read_config(file: Path, *, data: Path, start: Path | None, out: Path) -> Config:
    """Read a configuration (TOML); folders are not part of it.

    Args:
        file: the configuration.
        data: a folder of sets.
        start: folder with the ImageNet weights that the configuration names; None: start from random weights.
        out: folder for checkpoints and log.

    Raises:
        KeyError, TypeError: a value is missing or unknown.
    """
    text = tomllib.loads(file.read_text(encoding="utf-8"))
    backbone = text.get("start")
    return Config(
        network=text["network"],
        profile=text["profile"],
        seed=text["seed"],
        batch=text["batch"],
        phases=tuple(Phase(**phase) for phase in text["phases"]),
        ranges=Ranges(**text.get("ranges", {})),
        every=text.get("every", {}),
        data=data,
        out=out,
        start=start / backbone if start is not None and backbone else None,
    )


@dataclass(kw_only=True)
class State:
    """How far a run is; kept beside its checkpoints."""

    phase: int = 0
    epoch: int = 0  # within the phase
    best: float = -1.0
    stale: int = 0  # epochs since the best


def train(config: Config, say: Callable[[str], None]) -> Path:
    """Train, or go on training, and give the file of the best weights.

    Args:
        config: what to train on what.
        say: takes one line after each epoch.

    Raises:
        Refused: the data folder holds no set, or a picture of it cannot be read.
    """
    keras.utils.set_random_seed(config.seed)
    config.out.mkdir(parents=True, exist_ok=True)
    run = _Run(config, say)
    for number in range(run.state.phase, len(config.phases)):
        run.phase(number)
    return run.best


def training_cache(config: Config) -> Cache:
    """All pictures of the sets, prepared; single sequences apart where a profile mixes channels."""
    rows: list[tuple[Item, View]] = []
    seen: Counter[str] = Counter()
    for item in read_sets(config.data):
        seen[item.source] += 1
        if seen[item.source] % config.every.get(item.source, 1):
            continue
        rows.append((item, "colour"))
        if item.source == "lgg" and config.profile != "plain":
            rows.append((item, "flair"))
    return open_cache(rows, config.profile, SIDE, config.out.parent / "cache")


class _Run:
    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self.config, self.say = config, say
        self.kind: Architecture = NETWORKS[config.network]
        self.cache = training_cache(config)
        self.sampler = Sampler(self.cache, config.batch, config.ranges)
        self.state_file = config.out / "state.json"
        self.last, self.best = config.out / "last.weights.h5", config.out / "best.weights.h5"
        self.state = State(**json.loads(self.state_file.read_text())) if self.state_file.is_file() else State()

    def phase(self, number: int) -> None:
        """Run one phase to its end, from wherever the state says that it stands."""
        phase = self.config.phases[number]
        network = self.kind.build(phase.side)
        resumed = self.state.phase == number and self.state.epoch > 0
        if self.config.start is not None and (number == 0 or self.kind.stem_end):
            load_backbone(network, self.kind.donor(phase.side), self.config.start)
            self.kind.settle(network)
        if number > 0:
            network.load_weights(self.best)
        freeze(network, self.kind.donor(phase.side), whole=phase.frozen)
        setup = self._on_features if self.kind.stem_end else self._whole
        trained, batches, score = setup(network, phase)
        compiled(trained, phase, outlines=self.kind.segments)
        if resumed:
            trained.load_weights(self.last)
        else:
            self.state = State(phase=number, best=score()[0] if number else -1.0)
        while self.state.epoch < phase.epochs and self.state.stale < phase.patience:
            self._epoch(network, trained, batches, score, phase)
        self.state = State(phase=number + 1, best=self.state.best)
        self._keep()

    def _whole(self, network: keras.Model, phase: Phase) -> tuple[keras.Model, Epoch, Score]:
        """All layers learn, from pictures."""
        output = network.get_layer("logits" if self.kind.segments else "logit").output
        judge = segmenter_score if self.kind.segments else classifier_score

        def batches(epoch: int) -> keras.utils.PyDataset:
            return Batches(
                self.sampler,
                seed=self.config.seed,
                epoch=epoch,
                steps=phase.steps,
                side=phase.side,
                outlines=self.kind.segments,
            )

        return keras.Model(network.inputs, output), batches, lambda: judge(network, self.cache, phase.side)

    def _on_features(self, network: keras.Model, phase: Phase) -> tuple[keras.Model, Epoch, Score]:
        """What follows the stem learns, from the stem's kept output."""
        stem, rest = stem_of(network, self.kind.stem_end), rest_of(network, self.kind.stem_end, "logit")
        known = validation_features(stem, self.cache, self.config.out)
        kept = training_features(
            stem,
            self.sampler,
            seed=self.config.seed,
            batches=phase.steps,
            side=phase.side,
            file=self.config.out / "train.npy",
        )
        size = sum(self.config.batch.values())

        def batches(epoch: int) -> keras.utils.PyDataset:
            return FeatureBatches(kept, seed=self.config.seed, epoch=epoch, batch=size)

        def score() -> tuple[float, dict[str, float]]:
            return auc_score(
                {name: (part.tumour, logits_of_features(rest, part.values)) for name, part in known.items()}
            )

        return rest, batches, score

    def _epoch(self, network: keras.Model, trained: keras.Model, batches: Epoch, score: Score, phase: Phase) -> None:
        loss = trained.fit(batches(self.state.epoch), verbose=0, shuffle=False).history["loss"][0]
        figure, parts = score()
        self.state.epoch += 1
        self.state.stale = 0 if figure > self.state.best else self.state.stale + 1
        if figure > self.state.best:
            self.state.best = figure
            network.save_weights(self.best)
        trained.save_weights(self.last)
        self._keep()
        self._log(
            {
                "phase": self.state.phase,
                "side": phase.side,
                "epoch": self.state.epoch,
                "loss": round(loss, 4),
                "score": round(figure, 4),
                **parts,
            }
        )

    def _keep(self) -> None:
        whole = self.state_file.with_suffix(".tmp")
        whole.write_text(json.dumps(vars(self.state)))
        whole.replace(self.state_file)

    def _log(self, row: dict[str, Any]) -> None:
        file = self.config.out / "log.csv"
        fresh = not file.is_file()
        with file.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        self.say(" ".join(f"{name}={value}" for name, value in row.items()))


def freeze(network: keras.Model, donor: keras.Model, *, whole: bool) -> None:
    """Keep the backbone's batch norms, or the `whole` backbone, as they are.

    On small batches the statistics of a batch mislead a backbone that learnt with those of ImageNet.
    """
    names = {layer.name for layer in donor.layers}
    for layer in network.layers:
        if layer.name in names and (whole or isinstance(layer, keras.layers.BatchNormalization)):
            layer.trainable = False


def load_backbone(network: keras.Model, donor: keras.Model, file: Path) -> None:
    """Copy ImageNet weights into the layers that `network` shares with its `donor`."""
    donor.load_weights(file)
    for layer in donor.layers:
        if layer.weights:
            network.get_layer(layer.name).set_weights(layer.get_weights())


def compiled(network: keras.Model, phase: Phase, *, outlines: bool) -> None:
    """Give a network that ends in logits its optimiser and its loss."""
    total = phase.epochs * phase.steps
    warm = min(200, total // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        phase.rate / 20, total - warm, alpha=0.01, warmup_target=phase.rate, warmup_steps=warm
    )
    optimiser = keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=1.0)
    loss = outline_loss if outlines else keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.02)
    network.compile(optimiser, loss, jit_compile=False)
    optimiser.build(network.trainable_variables)  # else a checkpoint's optimiser state finds no place


def main(arguments: list[str]) -> None:
    """`python -m models.train CONFIG DATA START OUT`: train as a configuration says; START holds ImageNet weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config, data, start, out = (Path(argument) for argument in arguments)
    train(read_config(config, data=data, start=start, out=out), logging.getLogger(__name__).info)


if __name__ == "__main__":
    main(sys.argv[1:])
