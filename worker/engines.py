"""How the network process gets its networks: the engines of `models`, each made once."""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.engines.choice import choose, resolved
from models.engines.seam import Engine, Precision
from neurobatch.settings import Settings
from worker.cores import usable_cores
from worker.messages import Network, Ran
from worker.network import Loader, Runs

MOST_STREAMS = 8  # each needs memory of its own; on more cores a stream has several threads
BATCH = 4  # slices that a processor is given at once: more gain nothing, and a picture that comes alone pays for all
GPU_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What engines need of this machine; picklable."""

    cache: Path  # folder for converted networks
    threads: int | None = None  # of all networks; None: the library's own choice
    streams: int = 1  # batches that may run at once

    @classmethod
    def of(cls, settings: Settings) -> "EngineConfig":
        """For a worker with these settings, on the cores that it may use."""
        return cls(cache=settings.engines_folder, threads=usable_cores(), streams=streams(settings.engine))


def streams(engine: str) -> int:
    """Batches that run at once: on processors one a core.

    Threads that share a batch wait for each other at every layer, and longer where decoders use the cores too.
    """
    return min(usable_cores(), MOST_STREAMS) if resolved(engine) == "openvino" else 1


def device_batch(settings: Settings) -> int:
    """Slices of a network call: those of the settings, else what suits what runs the networks."""
    return settings.device_batch or (BATCH if resolved(settings.engine) == "openvino" else GPU_BATCH)


def loader(config: EngineConfig) -> Loader:
    """Load networks through the engine that each names. Raises `Broken`: `no_engine`, `weights_damaged`."""
    engines: dict[tuple[str, str], Engine] = {}
    locks: dict[tuple[str, str], Lock] = {}

    def load(network: Network, batch: int) -> tuple[Runs, Ran]:
        asked = (network.engine, network.precision)
        if asked not in engines:
            precision = cast(Precision, network.precision)
            engines[asked] = choose(
                network.engine, config.cache, precision=precision, threads=config.threads, streams=config.streams
            )
            locks[asked] = Lock()
        engine = engines[asked]
        predictor = engine.load(network.name, network.weights, batch, network.check)
        if network.prepares is not None:
            from models.engines.preparing import preparing  # TensorFlow, which is here where a network prepares

            predictor = preparing(network.prepares, predictor, batch)
        ran = Ran(engine=engine.name, precision=engine.precision, processor=engine.processor)
        if engine.streams >= config.streams:
            return predictor.predict, ran
        return _one_by_one(predictor.predict, locks[asked]), ran

    return load


def _one_by_one(run: Runs, lock: Lock) -> Runs:
    """For an engine that runs fewer batches at once than the process has threads."""

    def locked(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        with lock:
            return run(pictures)

    return locked
