"""One engine with all networks of a measurement, in a process of its own. Run by `bench engines`.

`python -m bench.predicting ENGINE PRECISION CACHE` answers questions in JSON. The engine `keras` is `predict` itself.
"""

import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.asking import answer
from models.engines.choice import choose
from models.engines.seam import SIDE, Outputs, Pictures, Precision, Predictor
from models.registry import open_weights


class Predict:
    """Keras's `predict`, as one would call it."""

    def __init__(self, network: str, batch: int) -> None:
        from models.networks import load

        self._model, self._batch = load(network, open_weights(network)), batch

    def predict(self, pictures: Pictures) -> Outputs:
        """See `models.engines.seam.Predictor`."""
        parts = [pictures[start : start + self._batch] for start in range(0, len(pictures), self._batch)]
        return np.concatenate([self._model.predict(part, verbose=0) for part in parts])


def predicting(engine: str, precision: str, folder: str) -> Any:
    """What answers: seconds of CPU that a network takes for some pictures, in device batches of one size."""
    chosen = None if engine == "keras" else choose(engine, Path(folder), precision=cast(Precision, precision))

    @cache
    def loaded(network: str, batch: int) -> Predictor:
        if chosen is None:
            predictor: Predictor = Predict(network, batch)
        else:
            predictor = chosen.load(network, open_weights(network), batch)
        predictor.predict(noise(batch))  # the first run traces, compiles and allocates
        return predictor

    def answering(network: str, batch: int, pictures: int) -> float:
        predictor, given = loaded(network, batch), noise(pictures)
        begun = time.process_time()
        predictor.predict(given)
        return time.process_time() - begun

    return answering


def noise(count: int) -> Pictures:
    """Pictures `(count, SIDE, SIDE, 3)` that no kernel can take a short way through."""
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


if __name__ == "__main__":
    answer(lambda: predicting(*sys.argv[1:]))
