"""The bare kernels, one process a core: read, prepare, network, and nothing else. Run by `bench limit`.

`python -m bench.kernels OPTIONS ENGINE CACHE BATCH` (options as JSON) answers questions in JSON.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.asking import answer
from models.engines.choice import choose, precision_for
from models.engines.seam import Predictor
from models.registry import open_check, open_weights
from neurobatch.records import Arithmetic, ModelPin, Options, ScanKind
from pipeline import masks, run
from pipeline.limits import Limits
from pipeline.volumes import Volume
from worker.planning import pins

Read = tuple[Volume, tuple[int, ...]]


class Kernels:
    """Networks in memory, each with one thread, since there is such a process for each core."""

    def __init__(self, options: Options, engine: str, cache: Path, batch: int) -> None:
        self._batch = batch
        self._loaded: dict[ModelPin, Predictor] = {}
        for pin in pins(options):
            precision = precision_for(pin.kind, cast(Arithmetic, options.precision))
            chosen = choose(engine, cache, precision=precision, threads=1)
            self._loaded[pin] = chosen.load(pin.name, open_weights(pin.name), batch, open_check(pin.name))
        self._setting = run.Setting(
            pins=tuple(self._loaded),
            options=options,
            engine=chosen.name,
            precision=options.precision,
            processor=chosen.processor,
            software="",
        )
        for pin, predictor in self._loaded.items():
            predictor.predict(np.zeros((batch, pin.size, pin.size, 3), np.uint8))

    def run(self, scans: Sequence[str] = (), series: Sequence[str] = ()) -> dict[str, Any]:
        """Judge pictures, or the slices of a series, and keep nothing.

        Args:
            scans: files of pictures.
            series: DICOM files of one series.

        Returns:
            When it began and ended, by the clock that all processes share, and how many masks it drew.
        """
        begun = time.monotonic()
        segmented = self._pictures(scans) + (self._slices(series) if series else 0)
        return {"begun": begun, "ended": time.monotonic(), "masks": segmented}

    def _pictures(self, scans: Sequence[str]) -> int:
        count = 0
        waiting: list[Read] = []  # for the segmenter, which gets full batches too
        for group in _groups(scans, self._batch):
            read = [self._read(Path(path)) for path in group]
            waiting += self._positive([one for one in read if one[1]])
            while len(waiting) >= self._batch:
                count += self._segment(waiting[: self._batch])
                del waiting[: self._batch]
        return count + self._segment(waiting)

    def _slices(self, files: Sequence[str]) -> int:
        """All networks on every slice that shows something, and the masks on the series' own grid."""
        volume = run.decode(ScanKind.DICOM, [Path(file).read_bytes() for file in files], Limits())
        shown = run.look(volume)
        said = {pin: _predicted([(volume, shown)], pin, predictor) for pin, predictor in self._loaded.items()}
        pin = self._setting.segmenter
        if pin is None:
            return 0
        drawn = masks.restored(zip(shown, said[pin], strict=True), volume.geometry, pin.channels)
        return int(drawn.joined.any(axis=(1, 2)).sum())

    def _read(self, path: Path) -> Read:
        volume = run.decode(ScanKind.PICTURE, [path.read_bytes()], Limits())
        return volume, run.look(volume)

    def _positive(self, read: list[Read]) -> list[Read]:
        if not read:
            return []
        logits = {pin.name: _predicted(read, pin, self._loaded[pin]) for pin in self._setting.classifiers}
        return [
            one
            for index, one in enumerate(read)
            if run.judge(
                *one, {name: said[index : index + 1] for name, said in logits.items()}, self._setting
            ).wants_mask
        ]

    def _segment(self, read: list[Read]) -> int:
        pin = self._setting.segmenter
        if not read or pin is None:
            return 0
        return len(_predicted(read, pin, self._loaded[pin]))


def _predicted(read: list[Read], pin: ModelPin, predictor: Predictor) -> Any:
    squares = [square for volume, shown in read for _, square in run.squares(volume, shown, pin)]
    return predictor.predict(np.stack(squares))


def _groups(scans: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(scans), size):
        yield scans[start : start + size]


def _made(options: str, engine: str, cache: str, batch: str) -> Any:
    return Kernels(Options.model_validate_json(options), engine, Path(cache), int(batch)).run


if __name__ == "__main__":
    answer(lambda: _made(*sys.argv[1:]))
