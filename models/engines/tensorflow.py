"""TensorFlow: on any machine, and the engine for NVIDIA GPUs. The network runs straight from its weight file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.engines.processor import processor_class
from models.engines.seam import SIDE, Outputs, Pictures, Precision, in_batches
from models.networks import load
from neurobatch.codes import Code
from neurobatch.errors import Broken


@dataclass(frozen=True, kw_only=True)
class TensorFlow:
    """Engine on the first GPU that TensorFlow sees, else on the processor."""

    precision: Precision = "float32"
    threads: int | None = None  # None: TensorFlow's own choice
    name: str = "tensorflow"
    streams: int = 1

    @property
    def processor(self) -> str:
        """The GPU's model, or the class of processor, within which outputs are the same bytes."""
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return processor_class(self.precision)
        details = tf.config.experimental.get_device_details(gpus[0])
        return str(details.get("device_name", "gpu")).lower().replace(" ", "-")

    def load(self, network: str, weights: Path, batch: int, check: Path | None = None) -> "TensorFlowPredictor":
        """Build the network and load its weights. See `Engine.load`."""
        if keras.backend.backend() != "tensorflow":
            raise Broken(Code.NO_ENGINE, "Keras runs on another backend here; set KERAS_BACKEND=tensorflow")
        self._steady()
        policy = "mixed_bfloat16" if self.precision == "bfloat16" else "float32"
        return TensorFlowPredictor(load(network, weights, policy, check), batch)

    def _steady(self) -> None:
        """Same input, same bytes: no TF32 and no kernel whose sums depend on timing."""
        tf.config.experimental.enable_tensor_float_32_execution(False)
        tf.config.experimental.enable_op_determinism()
        if self.threads is not None:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(self.threads)
            except RuntimeError:  # TensorFlow is already running in this process; its threads stay as they are
                return


class TensorFlowPredictor:
    """A traced network with one device batch shape."""

    def __init__(self, model: keras.Model, batch: int) -> None:
        shape = tf.TensorSpec((batch, SIDE, SIDE, 3), tf.uint8)
        self._batch = batch
        self._function: Any = tf.function(
            lambda pictures: model(tf.cast(pictures, tf.float32), training=False), input_signature=[shape]
        )

    def predict(self, pictures: Pictures) -> Outputs:
        """See `Predictor.predict`."""
        return in_batches(pictures, self._batch, self._run)

    def _run(self, batch: Pictures) -> Outputs:
        return np.array(self._function(tf.constant(batch)), np.float32)
