"""What children do in tests of the supervisor: flows that die, hang or eat memory, and networks of one line.

They stand in for decoding and for networks only; processes, pipes, arena and queue are the real ones.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Broken, ScanFailed
from worker.messages import Feed, Network, Outcome, Ran, Verdict

SIDE = 32
PAIR_SECONDS = 120.0  # that a batch waits for the other
POISON, GLUE, GREED = 66, 67, 68  # slices of these greys kill the network process, hold it up, make it eat memory


def _network(name: str, digit: str, *, segments: bool = False) -> Network:
    return Network(
        name=name,
        sha256=digit * 64,
        size=SIDE,
        segments=segments,
        weights=Path("none"),
        engine="test",
        precision="float32",
    )


CLASSIFIER = _network("classifier", "a")
SEGMENTER = _network("segmenter", "b", segments=True)
MISSING = _network("missing", "c")
FATAL = _network("fatal", "d")
SLUGGISH = _network("sluggish", "e")
SLUGGISH_SECONDS = 3.0  # that it takes to load


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A scan of a test: what its flow does."""

    greys: tuple[int, ...] = (10,)  # one slice each
    networks: tuple[Network, ...] = (CLASSIFIER,)
    trouble: str = ""  # what happens while it is decoded
    unless: Path | None = None  # no trouble where this file is; it is made before the trouble
    seconds: float = 0.0  # that decoding takes
    prepare_seconds: float = 0.0  # that each slice takes
    marks: Path | None = None  # folder in which a file is made when it begins


def context(settings: Any) -> Any:
    return settings


def flow(_: Any, scan: Scan) -> Generator[Feed, tuple[Verdict, ...], Outcome]:
    if scan.marks is not None:
        scan.marks.joinpath(f"{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(scan.seconds)
    _trouble(scan)

    def prepare(index: int) -> NDArray[np.uint8]:
        time.sleep(scan.prepare_seconds)
        if scan.trouble == "prepare":
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full((SIDE, SIDE, 3), scan.greys[index], np.uint8)

    verdicts = yield Feed(networks=scan.networks, count=len(scan.greys), prepare=prepare, held=1000)
    told = tuple(_said(verdict) for verdict in verdicts)
    return Outcome(value=told, size=len(scan.greys))


def _said(verdict: Verdict) -> tuple[float, ...]:
    if not verdict.network.segments:
        return tuple(float(said[0]) for said in verdict.values)
    assert all(np.all(mask == mask[0, 0, 0]) for mask in verdict.values)
    return tuple(float(mask[0, 0, 0]) for mask in verdict.values)


def _trouble(scan: Scan) -> None:
    if scan.unless is not None:
        if scan.unless.exists():
            return
        scan.unless.touch()
    match scan.trouble:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "eat":
            _eat()
        case "raise":
            raise ValueError("Jane Doe, born 1970")
        case "memory":
            raise MemoryError
        case "refuse":
            raise ScanFailed(Code.DAMAGED)


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(np.ones(4 << 20, np.uint8))


def loader(settings: Any) -> Callable[[Network, int], tuple[Callable[[NDArray[np.uint8]], Any], Ran]]:
    """Networks that answer with the slice's grey, and masks of that many 255ths; `settings` is seconds a batch."""

    def load(network: Network, batch: int) -> tuple[Callable[[NDArray[np.uint8]], Any], Ran]:
        if network == MISSING:
            raise Broken(Code.WEIGHTS_DAMAGED, "missing")
        if network == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        if network == SLUGGISH:
            time.sleep(SLUGGISH_SECONDS)

        def run(pictures: NDArray[np.uint8]) -> Any:
            assert pictures.shape == (batch, SIDE, SIDE, 3)
            time.sleep(settings or 0.0)
            if (pictures[:, 0, 0, 0] == POISON).any():
                os.kill(os.getpid(), signal.SIGKILL)
            if (pictures[:, 0, 0, 0] == GLUE).any():
                time.sleep(3600)
            if (pictures[:, 0, 0, 0] == GREED).any():
                _eat()
            if network.segments:
                return pictures[..., :2].astype(np.float32) / 255
            return pictures[:, :1, 0, 0].astype(np.float32)

        return run, Ran(engine="test", precision="float32", processor="none")

    return load


def paired(settings: Any) -> Callable[[Network, int], tuple[Callable[[NDArray[np.uint8]], Any], Ran]]:
    """Networks of which each batch waits for another to be judged with it."""
    pair = threading.Barrier(2, timeout=PAIR_SECONDS)

    def load(network: Network, batch: int) -> tuple[Callable[[NDArray[np.uint8]], Any], Ran]:
        run, ran = loader(settings)(network, batch)

        def together(pictures: NDArray[np.uint8]) -> Any:
            if pictures.any():  # loading tries it with black
                pair.wait()
            return run(pictures)

        return together, ran

    return load


def threads() -> int:
    """Threads that OpenCV may start in this process."""
    import cv2

    return cv2.getNumThreads()


def double(number: int) -> int:
    return 2 * number


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise Broken(Code.PLANNING_FAILED, "so it is")
