"""`bench stages`: where the time of a scan goes, one stage after another, and what a worker makes of it."""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from bench.report import Report, Row
from bench.served import Handled, Served, served
from bench.task import Measurement, Task, files_of, place_for
from models.engines.choice import choose, precision_for
from models.engines.seam import Predictor
from models.registry import open_check, open_weights
from neurobatch.records import Arithmetic, FileRef, ModelPin, Options, PlannedScan, ScanKind
from neurobatch.settings import Settings
from pipeline import run
from pipeline.limits import Limits
from pipeline.volumes import Volume
from storage import names
from storage.ledger import Content, Ledger
from storage.names import BatchKey, new_batch_id
from worker.cores import usable_cores
from worker.engines import device_batch
from worker.planning import pins

STAGES = (
    "read", "decode", "look", "prepare for classifiers", "classify", "judge", "prepare for segmenter", "segment",
    "masks, overlay, report", "put artifacts",
)  # fmt: skip
WHOLE, ALONE = "all, one after another", "the worker, all cores"


def stages(task: Task) -> Report:
    """Time each stage by itself, in one thread but for the networks; then let a worker judge the same scans."""
    begun = Measurement()
    with place_for(task) as place, served(place.folder / "home") as ours:
        ours.judge([place.warm], task.options)
        alone = OneByOne(task.options, ours.settings, ours.ledger)
        alone.run(files_of(place.warm))
        walls: list[float] = []
        waits: list[float] = []
        rounds: list[Mapping[str, float]] = []
        for folder in place.rounds:
            rounds.append(alone.run(files_of(folder)))
            handled = ours.judge([folder], task.options)
            walls.append(1000 * handled.seconds / task.scans)
            waits.append(under_way(ours, handled))
    sums = [sum(found.values()) for found in rounds]
    rows = [_row(stage, [found[stage] for found in rounds], sums) for stage in STAGES]
    rows += [_row(WHOLE, sums, sums), _row(ALONE, walls, sums)]
    return begun.report(
        name=task.named("stages"),
        title="Stages: where the time of a scan goes",
        ratio="share",
        sizes=task.sizes,
        rows=tuple(rows),
        notes=_notes(sums, walls, waits),
        rounds=task.rounds,
    )


def under_way(ours: Served, handled: Handled) -> float:
    """Median time (ms) that a scan was under way in the worker, as the shards' timing files say."""
    objects = ours.ledger.objects
    found: list[float] = []
    for stored in objects.list(names.shards_prefix(handled.key)):
        if "/timing-" in stored.name:
            found += json.loads(objects.get(stored.name))["scans"].values()
    return 1000 * statistics.median(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """One scan on its way."""

    plan: PlannedScan
    volume: Volume
    shown: tuple[int, ...]


class OneByOne:
    """The stages of a scan as the worker has them, one after another in this process."""

    def __init__(self, options: Options, settings: Settings, ledger: Ledger) -> None:
        self._batch, self._ledger = device_batch(settings), ledger
        self._loaded: dict[ModelPin, Predictor] = {}
        for pin in pins(options):
            precision = precision_for(pin.kind, cast(Arithmetic, options.precision))
            engine = choose(settings.engine, settings.engines_folder, precision=precision)
            self._loaded[pin] = engine.load(pin.name, open_weights(pin.name), self._batch, open_check(pin.name))
        self._setting = run.Setting(
            pins=tuple(self._loaded),
            options=options,
            engine=engine.name,
            precision=options.precision,
            processor=engine.processor,
            software="",
        )
        self._spent: dict[str, float] = defaultdict(float)

    def run(self, files: Sequence[Path]) -> dict[str, float]:
        """Milliseconds a scan by stage, over all scans: a stage that not all scans meet counts where it is met."""
        self._spent.clear()
        key = BatchKey("bench", new_batch_id())
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # as in a decoder
        try:
            for start in range(0, len(files), self._batch):
                self._group(key, [self._read(path) for path in files[start : start + self._batch]])
        finally:
            cv2.setNumThreads(threads)
        return {stage: 1000 * self._spent[stage] / len(files) for stage in STAGES}

    def _read(self, path: Path) -> Scan:
        with self._timed("read"):
            data = path.read_bytes()
        with self._timed("decode"):
            volume = run.decode(ScanKind.PICTURE, [data], Limits())
        with self._timed("look"):
            shown = run.look(volume)
        ref = FileRef(source=0, path=path.name, size=len(data), stamp="0")
        plan = PlannedScan(
            id=names.scan_id(0, 0, path.name, None, 0), kind=ScanKind.PICTURE, path=path.name, files=(ref,), slices=1
        )
        return Scan(plan=plan, volume=volume, shown=shown)

    def _group(self, key: BatchKey, scans: Sequence[Scan]) -> None:
        seen = [scan for scan in scans if scan.shown]
        told: dict[str, Any] = {}
        for pin in self._setting.classifiers:
            told[pin.name] = self._through(pin, seen, "prepare for classifiers", "classify")
        with self._timed("judge"):
            judged = [
                run.judge(
                    scan.volume, scan.shown, {name: said[at : at + 1] for name, said in told.items()}, self._setting
                )
                for at, scan in enumerate(seen)
            ]
        drawn = [scan for scan, verdict in zip(seen, judged, strict=True) if verdict.wants_mask]
        maps: dict[int, Any] = {}
        if drawn and self._setting.segmenter is not None:
            masks = self._through(self._setting.segmenter, drawn, "prepare for segmenter", "segment")
            maps = {id(scan): [(scan.shown[0], each)] for scan, each in zip(drawn, masks, strict=True)}
        for scan, verdict in zip(seen, judged, strict=True):
            with self._timed("masks, overlay, report"):
                done = run.conclude(scan.plan, scan.volume, verdict, maps.get(id(scan)), self._setting)
            with self._timed("put artifacts"):
                files = {name: Content(run.MEDIA_TYPES[name], data) for name, data in done.files.items()}
                self._ledger.put_artifacts(key, scan.plan.id, files)

    def _through(self, pin: ModelPin, scans: Sequence[Scan], preparing: str, predicting: str) -> Any:
        with self._timed(preparing):
            squares = [square for scan in scans for _, square in run.squares(scan.volume, scan.shown, pin)]
        predictor: Predictor = self._loaded[pin]
        with self._timed(predicting):
            return predictor.predict(np.stack(squares))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._spent[stage] += time.perf_counter() - begun


def _row(name: str, values: Sequence[float], sums: Sequence[float]) -> Row:
    share = statistics.median(value / whole for value, whole in zip(values, sums, strict=True))
    return Row.of(name, "ms a scan", values).model_copy(update={"ratio": round(share, 3)})


def _notes(sums: Sequence[float], walls: Sequence[float], waits: Sequence[float]) -> tuple[str, ...]:
    one, worker, wait = (statistics.median(values) for values in (sums, walls, waits))
    return (
        f"One after another: networks have all {usable_cores()} cores, all else has one.",
        f"The worker, upload to end, is {one / worker:.2f} × as fast: its stages overlap.",
        f"In the worker a scan is under way for {wait:.0f} ms (median): it waits for full batches and free decoders.",
    )
