"""Training on kept features: what a frozen stem makes of augmented pictures is computed once, then the rest learns."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from models.data import Cache
from models.sampling import Sampler
from models.validate import parts

CHUNK = 32  # pictures a call of the stem


@dataclass(frozen=True, kw_only=True)
class Features:
    """Outputs of a stem, on disk, and what the pictures showed."""

    values: NDArray[np.float16]  # (n, h, w, channels)
    tumour: NDArray[np.bool_]  # (n,)


def stem_of(network: keras.Model, end: str) -> keras.Model:
    """The network up to the layer `end`."""
    return keras.Model(network.inputs, network.get_layer(end).output)


def rest_of(network: keras.Model, end: str, output: str) -> keras.Model:
    """The network from the layer `end` on, up to `output`; shares its weights with `network`."""
    return keras.Model(network.get_layer(end).output, network.get_layer(output).output)


def training_features(
    stem: keras.Model, sampler: Sampler, *, seed: int, batches: int, side: int, file: Path
) -> Features:
    """Draw `batches` augmented batches and keep what the stem makes of them in `file`."""

    def drawn() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
        for index in range(batches):
            batch = sampler.batch(np.random.default_rng([seed, side, index]), side)
            yield np.stack([one.picture for one in batch]), np.array([one.tumour for one in batch], bool)

    return _kept(stem, drawn(), batches * sum(sampler.kinds.values()), file)


def validation_features(stem: keras.Model, cache: Cache, folder: Path) -> dict[str, Features]:
    """Features of the validation pictures by part, as they are."""
    found = {}
    for name, rows, _ in parts(cache):
        chunks = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
        shown = (
            (
                np.stack([cache.pictures[row] for row in chunk]),
                np.array([cache.items[row].tumour for row in chunk], bool),
            )
            for chunk in chunks
        )
        found[name] = _kept(stem, shown, len(rows), folder / f"val-{name}.npy")
    return found


class FeatureBatches(keras.utils.PyDataset):  # type: ignore[misc]  # keras is not typed
    """An epoch over kept features, in an order that follows from seed and epoch."""

    def __init__(self, features: Features, *, seed: int, epoch: int, batch: int) -> None:
        super().__init__(workers=1)
        self.features, self.batch = features, batch
        self.order = np.random.default_rng([seed, epoch]).permutation(len(features.tumour))

    def __len__(self) -> int:
        return len(self.order) // self.batch

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = np.sort(self.order[index * self.batch : (index + 1) * self.batch])
        return self.features.values[rows].astype(np.float32), self.features.tumour[rows, None].astype(np.float32)


def _kept(
    stem: keras.Model, shown: Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]], count: int, file: Path
) -> Features:
    labels = file.with_suffix(".labels.npy")
    if not labels.is_file():
        values = np.lib.format.open_memmap(file, "w+", np.float16, (count, *stem.output_shape[1:]))
        tumour, at = np.zeros(count, bool), 0
        for pictures, truth in shown:
            given = keras.ops.convert_to_numpy(stem.predict_on_batch(pictures.astype(np.float32)))
            values[at : at + len(truth)] = given.astype(np.float16)
            tumour[at : at + len(truth)] = truth
            at += len(truth)
        values.flush()
        np.save(labels, tumour)
    return Features(values=np.load(file, mmap_mode="r"), tumour=np.load(labels))
