"""U-Net (Ronneberger et al., MICCAI 2015) with a MobileNetV2 encoder (Sandler et al., CVPR 2018)."""

from dataclasses import dataclass

import keras

from models.blocks import conv_norm_relu, scaled

SKIPS = ("block_13_expand_relu", "block_6_expand_relu", "block_3_expand_relu", "block_1_expand_relu")  # 1/16 … 1/2


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the network."""

    side: int = 224  # px
    bridge: int = 128  # channels at 1/32
    decoder: tuple[int, ...] = (96, 64, 48, 24)  # channels at 1/16, 1/8, 1/4, 1/2
    skip: tuple[int, ...] = (64, 48, 32, 16)  # channels of the encoder's features, squeezed
    last: int = 12  # channels at full size
    outputs: int = 2  # FLAIR abnormality, tumour core


def build(sizes: Sizes = Sizes()) -> keras.Model:
    """`(B, side, side, 3)` grey levels 0…255 to probabilities `(B, side, side, outputs)` float32; random weights."""
    inputs = keras.Input((sizes.side, sizes.side, 3), name="picture")
    picture = scaled(inputs)
    encoder = keras.applications.MobileNetV2(input_tensor=picture, include_top=False, weights=None, name="backbone")
    x = conv_norm_relu(encoder.get_layer("out_relu").output, sizes.bridge, 1, "bridge")
    for level, (name, width, squeezed) in enumerate(zip(SKIPS, sizes.decoder, sizes.skip, strict=True)):
        skip = conv_norm_relu(encoder.get_layer(name).output, squeezed, 1, f"skip{level}")
        x = _raised(x, skip, width, f"up{level}")
    x = _raised(x, picture, sizes.last, "up4")
    x = keras.layers.Conv2D(sizes.outputs, 1, dtype="float32", name="logits")(x)
    probabilities = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, probabilities, name="unet")


def _raised(x: keras.KerasTensor, skip: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Twice the size, joined with the encoder's features of that size."""
    x = keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_size")(x)
    x = keras.layers.Concatenate(name=f"{name}_join")([x, skip])
    return conv_norm_relu(x, width, 3, name)


def donor(sizes: Sizes = Sizes(), weights: str | None = None) -> keras.Model:
    """The bare encoder, for ImageNet weights or with them (`imagenet`); layers are named as in `build`."""
    return keras.applications.MobileNetV2(input_shape=(sizes.side, sizes.side, 3), include_top=False, weights=weights)
