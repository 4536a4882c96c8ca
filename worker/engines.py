"""How the network process gets its networks: the engines of `models`, each made once."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from models.engines.choice import choose
from models.engines.seam import Engine, Precision
from worker.messages import Network, Ran
from worker.network import Loader, Runs


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What engines need of this machine; picklable."""

    cache: Path  # folder for converted networks
    threads: int | None = None  # of one network call; None: the library's own choice


def loader(config: EngineConfig) -> Loader:
    """Load networks through the engine that each names. Raises `Broken`: `no_engine`, `weights_damaged`."""
    engines: dict[tuple[str, str], Engine] = {}

    def load(network: Network, batch: int) -> tuple[Runs, Ran]:
        asked = (network.engine, network.precision)
        if asked not in engines:
            precision = cast(Precision, network.precision)
            engines[asked] = choose(network.engine, config.cache, precision=precision, threads=config.threads)
        engine = engines[asked]
        predictor = engine.load(network.name, network.weights, batch, network.check)
        if network.prepares is not None:
            from models.engines.preparing import preparing  # TensorFlow, which is here where a network prepares

            predictor = preparing(network.prepares, predictor, batch)
        ran = Ran(engine=engine.name, precision=engine.precision, processor=engine.processor)
        return predictor.predict, ran

    return load
