"""Other ways to run a network on a processor, for `bench engines`: measured where their packages are installed.

None is an engine of neurobatch; docs/decisions/0081 says why. `python -m bench.runtimes RUNTIME PRECISION CACHE`
converts shipped networks into CACHE, each once, and answers questions in JSON as `bench.predicting` does.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.asking import answer
from bench.predicting import noise
from models.engines.openvino import OpenVino
from models.engines.seam import SIDE
from models.registry import networks, open_weights
from phantom.scan import Scan
from phantom.scanner import to_uint8
from phantom.sequences import Look
from pipeline.prepare.profiles import prepare
from worker.cores import usable_cores

Batch = NDArray[np.float32]
Runs = Callable[[Batch], Any]
CALIBRATION = 64  # phantoms' slices by which ranges of numbers are found


def _onnxruntime(network: str, precision: str, batch: int, folder: Path) -> Runs:
    import onnxruntime

    file = folder / f"{network}-float32.onnx"
    if not file.exists():
        _model(network).export(file, format="onnx", verbose=False, input_signature=[_any_number()])
    if precision == "int8":
        plain, file = file, folder / f"{network}-int8.onnx"
        if not file.exists():
            _quantised_onnx(plain, file, network)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})


def _quantised_onnx(plain: Path, file: Path, network: str) -> None:
    import onnx
    from onnxruntime import quantization

    name = onnx.load(plain).graph.input[0].name

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # its library has no types
        left = ({name: square} for square in _squares(network))

        def get_next(self) -> Any:
            return next(self.left, None)

    quantization.quantize_static(plain, file, Reader(), per_channel=True)


def _litert(network: str, precision: str, batch: int, folder: Path) -> Runs:
    from ai_edge_litert.interpreter import Interpreter

    file = folder / f"{network}-{precision}.tflite"
    if not file.exists():
        file.write_bytes(_tflite(network, precision))
    interpreter = Interpreter(str(file), num_threads=usable_cores())
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(taken, [batch, SIDE, SIDE, 3])
    interpreter.allocate_tensors()

    def run(pictures: Batch) -> Any:
        interpreter.set_tensor(taken, pictures)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return run


def _tflite(network: str, precision: str) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = _model(network)
    shape = tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32)
    traced = tf.function(lambda pictures: model(pictures, training=False), input_signature=[shape])
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([square] for square in _squares(network))
    return bytes(converter.convert())


def _openvino_int8(network: str, precision: str, batch: int, folder: Path) -> Runs:
    from models.engines.runtime import openvino

    file = folder / f"{network}-{precision}.xml"
    if not file.exists():
        graph = openvino.Core().read_model(OpenVino(cache=folder).converted(network, open_weights(network)))
        nncf = _nncf()
        squares = [square.astype(np.uint8) for square in _squares(network)]
        graph.reshape([1, SIDE, SIDE, 3])
        small = nncf.quantize(graph, nncf.Dataset(squares), subset_size=CALIBRATION)
        openvino.save_model(small, file, compress_to_fp16=False)
    graph = openvino.Core().read_model(file)
    graph.reshape([batch, SIDE, SIDE, 3])
    options = {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(graph, "CPU", options).create_infer_request()
    return lambda pictures: request.infer([pictures.astype(np.uint8)])


def _nncf() -> Any:
    """nncf without its usage reporting: like OpenVINO's, that would send events to a server on the internet."""
    silent = ModuleType("openvino_telemetry")
    silent.__dict__["Telemetry"] = _Silent
    sys.modules["openvino_telemetry"] = silent
    import nncf

    return nncf


class _Silent:
    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


LOADERS: dict[str, Callable[[str, str, int, Path], Runs]] = {
    "onnxruntime": _onnxruntime,
    "litert": _litert,
    "openvino": _openvino_int8,
}
# What each needs beside neurobatch's own packages, by name and precision.
PACKAGES = {
    ("onnxruntime", "float32"): ("onnxruntime", "tf2onnx"),
    ("onnxruntime", "int8"): ("onnxruntime", "tf2onnx"),
    ("litert", "float32"): ("ai_edge_litert",),
    ("litert", "int8"): ("ai_edge_litert",),
    ("openvino", "int8"): ("nncf",),
}


def installed() -> tuple[tuple[str, str], ...]:
    """Runtimes with their precisions whose packages are here."""
    return tuple(one for one, needed in PACKAGES.items() if all(importlib.util.find_spec(name) for name in needed))


def running(runtime: str, precision: str, folder: str) -> Any:
    """What answers: seconds of CPU that a network takes for some pictures, in device batches of one size."""
    place = Path(folder) / "bench"
    place.mkdir(parents=True, exist_ok=True)

    @cache
    def loaded(network: str, batch: int) -> Runs:
        run = LOADERS[runtime](network, precision, batch, place)
        run(noise(batch).astype(np.float32))
        return run

    def answering(network: str, batch: int, pictures: int) -> float:
        run, given = loaded(network, batch), noise(pictures)
        begun = time.process_time()
        for start in range(0, pictures - batch + 1, batch):
            run(given[start : start + batch].astype(np.float32))
        return time.process_time() - begun

    return answering


def _model(network: str) -> Any:
    from models.networks import load

    return load(network, open_weights(network))


def _any_number() -> Any:
    import keras

    return keras.InputSpec(dtype="float32", shape=(None, SIDE, SIDE, 3))


def _squares(network: str) -> Iterator[Batch]:
    """Squares `(1, SIDE, SIDE, 3)` float32 of phantoms, prepared as the network wants them."""
    looks = list(Look)
    for seed in range(CALIBRATION):
        scan = Scan.draw(seed, look=looks[seed % len(looks)], lesion=seed % 2 == 0, size=SIDE)
        channels = [to_uint8(channel) for channel in scan.image(scan.best_level()).channels]
        plane = channels[0] if len(channels) == 1 else np.ascontiguousarray(np.dstack(channels))
        yield prepare(plane, networks()[network].profile, SIDE).astype(np.float32)[None]


if __name__ == "__main__":
    answer(lambda: running(*sys.argv[1:]))
