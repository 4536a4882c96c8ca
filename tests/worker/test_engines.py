"""Engines in the network process: how many batches at once, and of what size."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.engines.timed import TimedPredictor
from neurobatch.settings import Settings
from worker.cores import usable_cores
from worker.engines import BATCH, GPU_BATCH, EngineConfig, device_batch, loader, streams
from worker.messages import Network

NETWORK = Network(
    name="mobilenet",
    sha256="a" * 64,
    size=224,
    segments=False,
    weights=Path("none"),
    engine="timed",
    precision="float32",
)


def test_processors_run_a_batch_a_core_and_other_engines_one() -> None:
    assert streams("openvino") == min(usable_cores(), 8)
    assert streams("tensorflow") == streams("timed") == 1
    config = EngineConfig.of(Settings(home=Path("home"), engine="openvino"))
    assert (config.threads, config.streams) == (usable_cores(), streams("openvino"))


def test_the_size_of_a_batch_is_what_suits_the_engine_unless_the_site_says_another() -> None:
    assert device_batch(Settings(home=Path("home"), engine="openvino")) == BATCH
    assert device_batch(Settings(home=Path("home"), engine="tensorflow")) == GPU_BATCH
    assert device_batch(Settings(home=Path("home"), engine="openvino", device_batch=7)) == 7


def test_an_engine_with_one_stream_is_asked_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = threading.Semaphore()
    together = []

    def predict(_: TimedPredictor, pictures: NDArray[np.uint8]) -> Any:
        together.append(not inside.acquire(blocking=False))
        threading.Event().wait(0.01)  # time for another to come in, if it could
        inside.release()
        return pictures

    monkeypatch.setattr(TimedPredictor, "predict", predict)
    run, _ = loader(EngineConfig(cache=Path("none"), streams=4))(NETWORK, 2)
    callers = [threading.Thread(target=run, args=(np.zeros((2, 224, 224, 3), np.uint8),)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert together == [False] * 8
