"""OpenVINO, the engine for ordinary processors. Loading a network that was converted before needs no TensorFlow."""

import hashlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.engines.processor import processor_class
from models.engines.runtime import openvino
from models.engines.seam import SIDE, Outputs, Pictures, Precision, in_batches
from neurobatch.codes import Code
from neurobatch.errors import Broken

FORM = "1"  # of what `convert` writes; a change makes all networks be converted again
HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
CONVERT_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class OpenVino:
    """Engine on this machine's processor; converted networks are kept under `cache`, by digest of their files."""

    cache: Path
    precision: Precision = "float32"
    threads: int | None = None  # None: OpenVINO's own choice
    streams: int = 1  # batches that may run at once, each on its share of the threads
    name: str = "openvino"

    @property
    def processor(self) -> str:
        """The class of processor, within which outputs are the same bytes."""
        return processor_class(self.precision)

    def load(self, network: str, weights: Path, batch: int, check: Path | None = None) -> "OpenVinoPredictor":
        """Make a network ready; it is converted first where that has not been done. See `Engine.load`."""
        graph = openvino.Core().read_model(self.converted(network, weights, check))
        graph.reshape([batch, SIDE, SIDE, 3])
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "NUM_STREAMS": self.streams,
            "ENABLE_CPU_PINNING": False,  # decoders share the cores: a bound thread would wait beside an idle core
        }
        if self.threads is not None:
            options["INFERENCE_NUM_THREADS"] = self.threads
        return OpenVinoPredictor(openvino.Core().compile_model(graph, "CPU", options), batch, self.streams)

    def converted(self, network: str, weights: Path, check: Path | None = None) -> Path:
        """The network in OpenVINO's form, made now if need be. Two processes at once do no harm.

        Raises:
            Broken: `weights_damaged`, there is no such file or it does not fit; `no_engine`, converting failed.
        """
        place, files = self.place(network, weights, check), _files(weights, check)
        if not (place / "network.xml").is_file():
            self._convert(network, files, place)
        return place / "network.xml"

    def place(self, network: str, weights: Path, check: Path | None = None) -> Path:
        """The folder of the network's form under the cache, by digest of its files. Raises `Broken` as `converted`."""
        files = _files(weights, check)
        if not all(file.is_file() for file in files):
            raise Broken(Code.WEIGHTS_DAMAGED, f"a weight file of {network} is missing")
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
        return self.cache / f"{network}-{digest}-openvino-{_version()}-{FORM}"

    def _convert(self, network: str, files: list[Path], place: Path) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache, prefix=".converting-") as work:
            fresh = Path(work) / "fresh"
            fresh.mkdir()
            _in_own_process(network, files, fresh)
            try:
                fresh.rename(place)
            except OSError:  # another process was first; its network is the same
                if not (place / "network.xml").is_file():
                    shutil.rmtree(place, ignore_errors=True)
                    fresh.rename(place)


class OpenVinoPredictor:
    """A compiled network with one device batch shape; safe for as many threads as it has streams."""

    def __init__(self, compiled: openvino.CompiledModel, batch: int, streams: int) -> None:
        self._batch = batch
        self._requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def predict(self, pictures: Pictures) -> Outputs:
        """See `Predictor.predict`."""
        return in_batches(pictures, self._batch, self._run)

    def _run(self, batch: Pictures) -> Outputs:
        request = self._requests.get()
        try:
            request.infer([batch], share_inputs=True, share_outputs=True)
            return np.array(request.get_output_tensor(0).data, np.float32)  # a copy: the request is used again
        finally:
            self._requests.put(request)


def _files(weights: Path, check: Path | None) -> list[Path]:
    return [weights] if check is None else [weights, check]


def _version() -> str:
    return str(openvino.__version__).split("-", maxsplit=1)[0]


def _in_own_process(network: str, files: list[Path], folder: Path) -> None:
    """Convert where TensorFlow's memory goes away afterwards."""
    rooms = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))))
    environment = {
        **os.environ,
        "PYTHONPATH": rooms,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }
    weights, *check = (str(file.absolute()) for file in files)
    command = [sys.executable, "-m", "models.engines.convert", network, weights, str(folder), *check]
    heard, held = os.pipe()  # the child ends when its parent is gone, also where that was killed
    try:
        done = subprocess.run(
            command,
            stdin=heard,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CONVERT_SECONDS,
            check=False,
        )
    finally:
        os.close(heard)
        os.close(held)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise Broken(Code.NO_ENGINE, f"{network} could not be converted for OpenVINO: {last[0]}")
