"""A worker whose network does nothing: what `bench queue` and `bench scale` measure everything else with.

`python -m bench.idle [SECONDS]`: so long the network waits for each device batch, as if it computed. The worker
fetches, decodes, prepares and commits as any worker; every scan is without a tumour, so nothing is drawn.
"""

import signal
import sys
import time
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from neurobatch.settings import load_settings
from worker.app import Worker
from worker.log import log_to_stderr
from worker.messages import Network, Ran
from worker.network import Loader, Runs
from worker.sources import SourcesConfig
from worker.supervisor import Stages

NO_TUMOUR = -8.0  # logit
RAN = Ran(engine="timed", precision="float32", processor="none")


def loader(seconds: float) -> Loader:
    """Networks that answer after so many seconds, whatever they are shown."""

    def load(network: Network, batch: int) -> tuple[Runs, Ran]:
        shape = (batch, network.size, network.size, 2) if network.segments else (batch, network.numbers)
        said = np.zeros(shape, np.float32)  # no mask, and nothing is ever odd
        if not network.segments:
            said[:, 0] = NO_TUMOUR

        def run(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            time.sleep(seconds)
            return said

        return run, RAN

    return load


def main(seconds: float) -> None:
    """Work until told to stop."""
    settings = load_settings()
    log_to_stderr(settings.log_level)
    stages = Stages(load="bench.idle:loader", load_settings=seconds, context_settings=SourcesConfig.of(settings))
    running = Worker(settings, stages)

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        running.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    running.run()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
