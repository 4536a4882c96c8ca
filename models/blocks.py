"""Pieces that the networks share."""

import keras


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
