"""The architectures by name: what to build, and where its backbone comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from models import mobilenet, resnet50v2, unet
from models.blocks import Distance
from models.engines.seam import SIDE
from models.gaussian import Gaussian, read
from models.weightfile import check as check_file
from models.weightfile import digest
from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How a network is built."""

    sizes: Callable[..., Any]  # the record of its sizes
    make: Callable[[Any], keras.Model]  # from its sizes
    bare: Callable[[Any, str | None], keras.Model]  # the backbone alone, from sizes and where its weights come from
    output: str  # layer of the logits
    segments: bool = False  # gives masks, not a logit
    settle: Callable[[keras.Model], None] = lambda network: None  # what is better than random where nothing was loaded
    looks: tuple[str, ...] = ()  # layers whose means over the grid tell how odd a picture is

    def build(self, side: int, sizes: Mapping[str, Any] | None = None) -> keras.Model:
        """The network for squares of `side` px, of other sizes than the shipped one where they are named.

        Raises:
            Refused: `invalid_field`, it has no such size.
        """
        return self.make(self._sized(side, sizes))

    def donor(self, side: int, sizes: Mapping[str, Any] | None = None, weights: str | None = None) -> keras.Model:
        """The bare backbone; layers are named as in `build`. `weights="imagenet"` downloads what it learnt there.

        Raises:
            Refused: `invalid_field`, it has no such size.
        """
        return self.bare(self._sized(side, sizes), weights)

    def _sized(self, side: int, sizes: Mapping[str, Any] | None) -> Any:
        named = {name: tuple(value) if isinstance(value, list) else value for name, value in (sizes or {}).items()}
        try:
            return self.sizes(side=side, **named)
        except TypeError:
            raise Refused(Code.INVALID_FIELD, f"A network has none of the sizes {sorted(named)}.") from None


NETWORKS = {
    "mobilenet": Architecture(
        sizes=mobilenet.Sizes, make=mobilenet.build, bare=mobilenet.donor, output="logit", looks=mobilenet.LOOKS
    ),
    "resnet50v2": Architecture(
        sizes=resnet50v2.Sizes,
        make=resnet50v2.build,
        bare=resnet50v2.donor,
        output="logit",
        settle=resnet50v2.settle,
        looks=resnet50v2.LOOKS,
    ),
    "unet": Architecture(sizes=unet.Sizes, make=unet.build, bare=unet.donor, output="logits", segments=True),
}


def load(name: str, weights: Path, policy: str = "float32", check: Path | None = None) -> keras.Model:
    """Build a network for its full size and load a weight file into it.

    Args:
        name: architecture.
        weights: `.weights.h5`; only arrays are read from it, and only arrays may be in it.
        policy: Keras's dtype policy, `float32` or `mixed_bfloat16`.
        check: file of its check of odd pictures, whose distance then stands beside the logit: `(B, 2)`.

    Raises:
        Broken: `no_engine`, there is no such architecture; `weights_damaged`, a file does not fit it.
    """
    if name not in NETWORKS:
        raise Broken(Code.NO_ENGINE, f"there is no architecture {name!r}")
    check_file(weights)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        network = NETWORKS[name].build(SIDE)
        network.load_weights(weights)
    except (ValueError, KeyError) as error:
        raise Broken(Code.WEIGHTS_DAMAGED, f"the weight file does not fit the architecture {name}") from error
    finally:
        keras.config.set_dtype_policy(before)
    return network if check is None else _with_distance(network, read(check, digest(weights)), NETWORKS[name].looks)


def look(network: keras.Model, layers: tuple[str, ...]) -> keras.KerasTensor:
    """The means over the grid of some layers of a network, `(B, d)` float32."""
    means = [
        keras.layers.GlobalAveragePooling2D(name=f"look_{layer}", dtype="float32")(network.get_layer(layer).output)
        for layer in layers
    ]
    return keras.layers.Concatenate(name="look", dtype="float32")(means) if len(means) > 1 else means[0]


def _with_distance(network: keras.Model, gaussian: Gaussian, layers: tuple[str, ...]) -> keras.Model:
    """The network with `Gaussian.distance` of what it looks at beside its logit."""
    distance = Distance(gaussian, name="oddness")(look(network, layers))
    both = keras.layers.Concatenate(name="numbers", dtype="float32")([network.output, distance])
    return keras.Model(network.inputs, both, name=network.name)
