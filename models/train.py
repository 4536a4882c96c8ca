"""Train a network: phases of growing picture size, checkpoints after each epoch, resumed where it stopped."""

import csv
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from models import validate
from models.allocating import keep_freed_memory
from models.configuring import Config, Phase, read_config
from models.data import Cache, Item, View, open_cache
from models.learning import accelerated, begin, freeze, learner, part_from_average, settle_norms
from models.networks import NETWORKS, Architecture
from models.sampling import Batches, Sampler
from models.sets import read_sets
from models.splits import split_anew
from neurobatch.codes import Code
from neurobatch.errors import Refused

SETTLE_STEPS = 8  # batches from which batch norms take the statistics of averaged weights

Figures = dict[str, dict[str, float | int]]


@dataclass(kw_only=True)
class State:
    """How far a run is; kept beside its checkpoints."""

    phase: int = 0
    epoch: int = 0  # within the phase
    best: float = -1.0
    stale: int = 0  # epochs since the best


def train(config: Config, say: Callable[[str], None]) -> Path:
    """Train, or go on training, and give the file of the best weights; its quick figures go beside it.

    On a GPU numbers are multiplied as bfloat16; weights and checkpoints are float32 everywhere.

    Args:
        config: what to train on what.
        say: takes one line after each epoch.

    Raises:
        Refused: the data folder holds no set, a picture of it cannot be read, or the configuration is wrong.
    """
    keras.utils.set_random_seed(config.seed)
    if not accelerated():
        keep_freed_memory()
    config.out.mkdir(parents=True, exist_ok=True)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if accelerated() else "float32")
    try:
        run = _Run(config, say)
        for number in range(run.state.phase, len(config.phases)):
            if not run.phase(number):
                say("time is up; the same command goes on from here")
                return run.best
        run.finish()
    finally:
        keras.config.set_dtype_policy(before)
    return run.best


def training_cache(config: Config) -> Cache:
    """All pictures of the sets, prepared; single sequences apart where a profile mixes channels."""
    rows: list[tuple[Item, View]] = []
    seen: Counter[str] = Counter()
    items = [item for item in read_sets(config.data) if not config.sets or item.source in config.sets]
    for item in split_anew(items, config.split, config.parts, config.seed):
        seen[item.source] += 1
        if seen[item.source] % config.every.get(item.source, 1):
            continue
        rows.append((item, "colour"))
        if item.source == "lgg" and config.profile != "plain":
            rows.append((item, "flair"))
    return open_cache(rows, config.profile, config.size, config.out.parent / "cache")


class _Run:
    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self.config, self.say = config, say
        self.until = time.monotonic() + config.minutes * 60
        self.kind: Architecture = NETWORKS[config.network]
        self.cache = training_cache(config)
        self.sampler = Sampler(self.cache, config.batch, config.ranges, alike=config.alike)
        self.state_file = config.out / "state.json"
        self.best = config.out / "best.weights.h5"
        self.state = State(**json.loads(self.state_file.read_text())) if self.state_file.is_file() else State()

    def phase(self, number: int) -> bool:
        """Run one phase to its end, from wherever the state says that it stands; False where time was up."""
        phase = self.config.phases[number]
        network = self.kind.build(phase.side, self.config.sizes)
        if number == 0:
            begin(network, self.kind, self.config, phase.side)
        else:
            network.load_weights(self.best)
        freeze(network, self.kind.donor(phase.side, self.config.sizes), phase.learns)
        trained = learner(network, self.kind, self.config, phase)
        if self.state.phase == number and self.state.epoch > 0:
            trained.load_weights(self._last())
        else:
            self.state = State(phase=number, best=self._score(network, phase)[0] if number else -1.0)
        while self.state.epoch < phase.epochs and self.state.stale < phase.patience:
            self._epoch(network, trained, phase)
            if time.monotonic() > self.until:
                return False
        last = self._last()
        self.state = State(phase=number + 1, best=self.state.best)
        self._keep()
        last.unlink(missing_ok=True)
        return True

    def finish(self) -> None:
        """Measure the best weights on the part that chose nothing, or on validation where there is none."""
        side = self.config.phases[-1].side
        network = self.kind.build(side, self.config.sizes)
        network.load_weights(self.best)
        split = "test" if any(item.split == "test" for item in self.cache.items) else "val"
        judge = validate.segmenter_figures if self.kind.segments else validate.classifier_figures
        found = {"configuration": self.config.name, "split": split, "parts": judge(network, self.cache, side, split)}
        _write(figures_file(self.config.out), json.dumps(found, indent=1) + "\n")

    def _score(self, network: keras.Model, phase: Phase) -> tuple[float, dict[str, float | int]]:
        judge = validate.segmenter_score if self.kind.segments else validate.classifier_score
        return judge(network, self.cache, phase.side)

    def _epoch(self, network: keras.Model, trained: keras.Model, phase: Phase) -> None:
        began = time.monotonic()
        seed = [self.config.seed, self.state.phase, self.state.epoch]
        workers = min(os.cpu_count() or 1, 8)
        batches = Batches(self.sampler, seed=seed, steps=phase.steps, side=phase.side, workers=workers)
        loss = trained.fit(batches, verbose=0, shuffle=False).history["loss"][0]
        seconds = time.monotonic() - began
        part_from_average(trained)
        if self.config.average:
            settle_norms(trained, (batches[index][0] for index in range(min(phase.steps, SETTLE_STEPS))))
        figure, parts = self._score(network, phase)
        if figure > self.state.best:
            _save(network, self.best)
        before = self._last()
        self.state.epoch += 1
        self.state.stale = 0 if figure > self.state.best else self.state.stale + 1
        self.state.best = max(self.state.best, figure)
        _save(trained, self._last())
        self._keep()
        before.unlink(missing_ok=True)
        self._log(
            {
                "phase": self.state.phase,
                "side": phase.side,
                "epoch": self.state.epoch,
                "loss": round(float(loss), 4),
                "pictures_s": round(phase.steps * len(self.sampler.kinds) / seconds, 1),
                "score": round(figure, 4),
                **parts,
            }
        )

    def _last(self) -> Path:
        """The checkpoint of the state, so that a run that is killed between the two goes on from the one before."""
        return self.config.out / f"last-{self.state.phase}-{self.state.epoch}.weights.h5"

    def _keep(self) -> None:
        _write(self.state_file, json.dumps(vars(self.state)))

    def _log(self, row: dict[str, Any]) -> None:
        file = self.config.out / "log.csv"
        fresh = not file.is_file()
        with file.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        self.say(" ".join(f"{name}={value}" for name, value in row.items()))


def figures_file(out: Path) -> Path:
    """Where a run that has come to its end leaves its quick figures."""
    return out / "figures.json"


def figures_of(out: Path) -> Figures:
    """The quick figures of a finished run. Raises `Refused(not_finished)` where it is not."""
    try:
        found: Figures = json.loads(figures_file(out).read_text(encoding="utf-8"))["parts"]
    except OSError:
        raise Refused(Code.NOT_FINISHED, "The run has not come to its end.") from None
    return found


def _save(network: keras.Model, file: Path) -> None:
    whole = file.with_name(f"new-{file.name}")
    network.save_weights(whole)
    whole.replace(file)


def _write(file: Path, text: str) -> None:
    whole = file.with_suffix(".tmp")
    whole.write_text(text, encoding="utf-8")
    whole.replace(file)


def main(arguments: list[str]) -> None:
    """`python -m models.train CONFIG DATA START OUT`: train as a configuration says; START holds ImageNet weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config, data, start, out = (Path(argument) for argument in arguments)
    train(read_config(config, data=data, start=start, out=out), logging.getLogger(__name__).info)


if __name__ == "__main__":
    main(sys.argv[1:])
