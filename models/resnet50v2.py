"""ResNet50V2 classifier (He et al., ECCV 2016): tumour on this slice, or not; the head of the second idea."""

from dataclasses import dataclass

import keras

from models.blocks import scaled

STEM_END = "conv5_block1_preact_relu"  # conv1 to conv4 end here: (B, 7, 7, 1024)
LOOKS = ("conv4_block6_out",)  # (B, 7, 7, 1024): what kind of picture it is, before it comes to tumours
LAST_BLOCKS = ("block1", "block2", "block3")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the network."""

    side: int = 224  # px
    dense: int = 256
    dropout: float = 0.5


def build(sizes: Sizes = Sizes()) -> keras.Model:
    """`(B, side, side, 3)` grey levels 0…255 to one logit `(B, 1)` float32; weights are random."""
    inputs = keras.Input((sizes.side, sizes.side, 3), name="picture")
    backbone = keras.applications.ResNet50V2(
        input_tensor=scaled(inputs), include_top=False, weights=None, name="backbone"
    )
    x = keras.layers.GlobalAveragePooling2D(name="mean")(backbone.output)
    x = keras.layers.Dense(sizes.dense, activation="relu", name="dense")(x)
    x = keras.layers.BatchNormalization(name="dense_norm")(x)
    x = keras.layers.Dropout(sizes.dropout, name="dropout")(x)
    logit = keras.layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(inputs, logit, name="resnet50v2")


def donor(sizes: Sizes = Sizes(), weights: str | None = None) -> keras.Model:
    """The bare backbone for ImageNet weights: to the end of conv4, or whole with what is downloaded (`imagenet`).

    Layers are named as in `build`.
    """
    shape = (sizes.side, sizes.side, 3)
    whole = keras.applications.ResNet50V2(input_shape=shape, include_top=False, weights=weights)
    return whole if weights else keras.Model(whole.input, whole.get_layer(STEM_END).output)


def settle(network: keras.Model) -> None:
    """Let the blocks of conv5 start as their shortcuts alone (Goyal et al., arXiv 1706.02677, 5.1).

    No ImageNet weights of conv5 are at hand; so it begins as a projection of what conv4 knows, not as noise on it.
    """
    for block in LAST_BLOCKS:
        layer = network.get_layer(f"conv5_{block}_3_conv")
        layer.set_weights([0 * weight for weight in layer.get_weights()])
