"""`timed`: waits as long as a network would and answers from the picture's bytes, for benchmarks of everything else."""

import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.engines.seam import SIDE, Outputs, Pictures, Precision, in_batches

SPREAD = 8.0  # logits lie between minus and plus half of this
RADIUS = 20.0  # px of the disc that stands for a mask


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Engine that waits. No verdict of it means anything; result lines name it."""

    seconds: float = 0.005  # a picture
    precision: Precision = "float32"
    name: str = "timed"
    streams: int = 1
    processor: str = "none"

    def load(self, network: str, weights: Path, batch: int, check: Path | None = None) -> "TimedPredictor":
        """Ready at once; no file is read. `unet` answers with masks, all others with logits; nothing is ever odd."""
        return TimedPredictor(self.seconds, batch, masks=network == "unet", checks=check is not None)


class TimedPredictor:
    """Answers that depend on the picture alone."""

    def __init__(self, seconds: float, batch: int, *, masks: bool, checks: bool) -> None:
        self._seconds, self._batch, self._masks, self._checks = seconds, batch, masks, checks

    def predict(self, pictures: Pictures) -> Outputs:
        """See `Predictor.predict`."""
        return in_batches(pictures, self._batch, self._run)

    def _run(self, batch: Pictures) -> Outputs:
        time.sleep(self._seconds * len(batch))
        chances = [zlib.crc32(picture.tobytes()) / 2**32 for picture in batch]
        if self._masks:
            return np.stack([_disc(chance) for chance in chances])
        logits = np.array([[(chance - 0.5) * SPREAD] for chance in chances], np.float32)
        return np.concatenate([logits, np.zeros_like(logits)], axis=1) if self._checks else logits


def _disc(chance: float) -> Outputs:
    """A disc that stands for a tumour, or nothing where the chance is below one half."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE * (0.3 + 0.4 * chance)
    inside = (rows**2 + columns**2 < RADIUS**2) & (chance > 0.5)
    return np.repeat(inside[:, :, None], 2, axis=2).astype(np.float32)
