"""Pieces that the networks share."""

from typing import Any

import keras

from models.gaussian import Gaussian


def scaled(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Grey levels 0…255 `(B, h, w, 3)` float to -1…1, as the ImageNet weights expect."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scaled")(inputs)


def conv_norm_relu(x: keras.KerasTensor, filters: int, kernel: int, name: str) -> keras.KerasTensor:
    """Convolution (same size), batch norm, ReLU: `(B, h, w, c)` to `(B, h, w, filters)`."""
    x = keras.layers.Conv2D(filters, kernel, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(momentum=0.97, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def pooled(features: keras.KerasTensor) -> keras.KerasTensor:
    """Mean and maximum over the grid, `(B, h, w, c)` to `(B, 2c)`: a small lesion hardly moves a mean."""
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(features)
    most = keras.layers.GlobalMaxPooling2D(name="most")(features)
    return keras.layers.Concatenate(name="pooled")([mean, most])


class Distance(keras.layers.Layer):  # type: ignore[misc]  # keras is not typed
    """`Gaussian.distance` as a layer: `(B, d)` to `(B, 1)`, in float32 whatever the network's own numbers are."""

    def __init__(self, gaussian: Gaussian, **kwargs: Any) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.gaussian = gaussian

    def call(self, vectors: keras.KerasTensor) -> keras.KerasTensor:
        """See `Gaussian.distance`."""
        seen = self.gaussian
        shown = (vectors - seen.mean) / seen.scale
        along = keras.ops.matmul(shown, seen.directions)
        residual = shown - keras.ops.matmul(along, seen.directions.T)
        squares = keras.ops.sum(along**2 / seen.variances, axis=1, keepdims=True)
        squares = squares + keras.ops.sum(residual**2, axis=1, keepdims=True) / seen.rest
        return keras.ops.sqrt(squares / len(seen.mean))
