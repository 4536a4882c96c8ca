"""`tf.data` and `predict` in batches: pictures are read and prepared side by side, ahead of the network.

Run by `bench throughput`; `python -m bench.peers.tf_data ASKED` answers questions in JSON.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bench.asking import answer
from bench.peers.asked import Asked
from bench.peers.by_hand import BATCH, SIDE, Found, Networks, finish, prepared, read, verdict, wants_mask
from worker.cores import usable_cores


class Pipelines:
    """Networks in memory, and a pipeline for each."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.networks = asked, Networks(asked)
        self.networks.warm(BATCH, 1)

    def run(self, scans: list[str], to: str) -> dict[str, Any]:
        """Judge pictures: how long it took (s), and what was found of each."""
        begun = time.monotonic()
        said = {name: self.through(model, name, scans) for name, model in self.networks.classifiers.items()}
        verdicts = {
            scan: verdict(self.asked, {name: rows[at] for name, rows in said.items()}) for at, scan in enumerate(scans)
        }
        wanted = [scan for scan in scans if self.networks.unet is not None and wants_mask(self.asked, verdicts[scan])]
        maps = dict(zip(wanted, self.through(self.networks.unet, "unet", wanted), strict=True))
        conclude = partial(self.conclude, Path(to), verdicts, maps)
        with ThreadPoolExecutor(usable_cores()) as pool:
            found = dict(zip([Path(scan).name for scan in scans], map(asdict, pool.map(conclude, scans)), strict=True))
        return {"seconds": time.monotonic() - begun, "found": found}

    def through(self, model: keras.Model, name: str, scans: Sequence[str]) -> Any:
        """What a network says of pictures."""
        if not scans:
            return []
        profile = next((known.profile for known in self.asked.named if known.name == name), "plain")
        return model.predict(self.dataset(scans, lambda path: self.square(path, profile)), verbose=0)

    def dataset(self, scans: Sequence[str], square: Callable[[bytes], Any]) -> Any:
        """Batches of squares, prepared ahead."""

        def load(path: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(square, [path], tf.uint8), (SIDE, SIDE, 3))

        paths = tf.data.Dataset.from_tensor_slices(list(scans))
        return paths.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)

    def square(self, path: bytes, profile: str) -> Any:
        """A picture as a network takes it."""
        return np.asarray(prepared(read(path.decode()), profile, self.asked), np.uint8)

    def conclude(self, to: Path, verdicts: dict[str, Found], maps: dict[str, Any], scan: str) -> Found:
        """Write a picture's files."""
        return finish(self.asked, scan, to, read(scan), verdicts[scan], maps.get(scan))


if __name__ == "__main__":
    answer(lambda: Pipelines(Asked.read(sys.argv[1])).run)
