"""Turn a weight file into OpenVINO's form, in a process of its own: it alone needs TensorFlow.

`python -m models.engines.convert NETWORK WEIGHTS FOLDER [CHECK]` writes `FOLDER/network.xml`, `.bin`. OpenVINO's reader
is called directly on a TensorFlow SavedModel; its converter tool, which reports its use over the network, is not.
"""

import os
import sys
import tempfile
import threading
from pathlib import Path

import keras

from models.engines.runtime import openvino
from models.engines.seam import SIDE
from models.networks import load


def convert(network: str, weights: Path, folder: Path, check: Path | None = None) -> Path:
    """Write the network as `network.xml` into `folder`: input uint8 `(?, 224, 224, 3)`, arithmetic float32.

    Raises:
        Broken: `weights_damaged`, a file does not fit the architecture.
    """
    model = load(network, weights, check=check)
    shape = keras.InputSpec(dtype="float32", shape=(None, SIDE, SIDE, 3))
    with tempfile.TemporaryDirectory() as place:
        model.export(place, format="tf_saved_model", verbose=False, input_signature=[shape])
        graph = openvino.Core().read_model(place)
    steps = openvino.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(openvino.Type.u8)
    target = folder / "network.xml"
    openvino.save_model(steps.build(), target, compress_to_fp16=False)
    return target


def main(arguments: list[str]) -> None:
    """Convert as the command line says, as long as whoever asked for it holds the other end of the standard input."""
    threading.Thread(target=_end_with_asker, daemon=True).start()
    network, weights, folder, *check = arguments
    convert(network, Path(weights), Path(folder), *map(Path, check))


def _end_with_asker() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns when the other end is closed
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
