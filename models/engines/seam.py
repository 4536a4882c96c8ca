"""The seam between the worker and whatever runs a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]  # (n, side, side, 3) RGB grey levels 0…255
Outputs = NDArray[np.float32]  # (n, 1) logits of a classifier, or (n, 2) logits and how odd the pictures are where it
# has a check for that; (n, side, side, channels) probabilities of a segmenter
Precision = Literal["float32", "bfloat16"]

SIDE = 224  # px of a network's square


class Predictor(Protocol):
    """A network, loaded."""

    def predict(self, pictures: Pictures) -> Outputs:
        """Run the network on any number of pictures, in order.

        The device always sees batches of one shape, filled up with black, so a picture's output depends on nothing
        but the picture. Safe for as many threads at once as the engine has streams.

        Raises:
            ValueError: `pictures` is not `(n, 224, 224, 3)` uint8.
        """
        ...


class Engine(Protocol):
    """What runs networks on this machine. Its three names stand in every result line."""

    @property
    def name(self) -> str:
        """`openvino`, `tensorflow` or `timed`."""
        ...

    @property
    def streams(self) -> int:
        """How many batches may run at once."""
        ...

    @property
    def precision(self) -> Precision:
        """In which numbers the device multiplies."""
        ...

    @property
    def processor(self) -> str:
        """The class of processor, within which outputs are the same bytes."""
        ...

    def load(self, network: str, weights: Path, batch: int, check: Path | None = None) -> Predictor:
        """Make the network of this architecture ready, with the weights of a file.

        Args:
            network: name of the architecture (`mobilenet`, `resnet50v2`, `unet`).
            weights: its weight file (`.weights.h5`).
            batch: pictures that the device sees at once.
            check: file of its check of how odd a picture is (`models.oddness`); None: it gives no such number.

        Raises:
            Broken: `no_engine`, it cannot run here; `weights_damaged`, a file does not fit the architecture.
        """
        ...


def in_batches(pictures: Pictures, batch: int, run: Callable[[Pictures], Outputs]) -> Outputs:
    """Give `pictures` to `run`, whose arrays are its caller's, in batches of exactly `batch`; put all outputs together.

    Raises:
        ValueError: `pictures` is not `(n, 224, 224, 3)` uint8, or empty.
    """
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (SIDE, SIDE, 3) or not len(pictures):
        raise ValueError(f"pictures are (n, {SIDE}, {SIDE}, 3) uint8, not {pictures.shape} {pictures.dtype}")
    parts = []
    for start in range(0, len(pictures), batch):
        part = pictures[start : start + batch]
        parts.append(run(_full(part, batch))[: len(part)])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _full(part: Pictures, batch: int) -> Pictures:
    if len(part) == batch:
        return np.ascontiguousarray(part)
    full = np.zeros((batch, SIDE, SIDE, 3), np.uint8)
    full[: len(part)] = part
    return full
