"""MobileNet classifier (Howard et al., arXiv 1704.04861): tumour on this slice, or not."""

from dataclasses import dataclass

import keras

from models.blocks import pooled, scaled

LOOKS = ("conv_pw_9_relu",)  # (B, 14, 14, 512): what kind of picture it is, before it comes to tumours


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the network."""

    side: int = 224  # px
    alpha: float = 1.0  # width of the backbone
    dropout: float = 0.3
    dense: tuple[int, ...] = ()  # widths of hidden layers between the pooled features and the logit


def build(sizes: Sizes = Sizes()) -> keras.Model:
    """`(B, side, side, 3)` grey levels 0…255 to one logit `(B, 1)` float32; weights are random."""
    inputs = keras.Input((sizes.side, sizes.side, 3), name="picture")
    backbone = keras.applications.MobileNet(
        input_tensor=scaled(inputs), alpha=sizes.alpha, include_top=False, weights=None, name="backbone"
    )
    x = pooled(backbone.output)
    for number, width in enumerate(sizes.dense):
        x = keras.layers.Dense(width, activation="relu", name=f"dense{number}")(x)
    x = keras.layers.Dropout(sizes.dropout, name="dropout")(x)
    logit = keras.layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(inputs, logit, name="mobilenet")


def donor(sizes: Sizes = Sizes(), weights: str | None = None) -> keras.Model:
    """The bare backbone, for ImageNet weights or with them (`imagenet`); layers are named as in `build`."""
    return keras.applications.MobileNet(
        input_shape=(sizes.side, sizes.side, 3), alpha=sizes.alpha, include_top=False, weights=weights
    )
