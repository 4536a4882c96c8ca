"""A network made ready to learn: where its weights start, which of its layers learn, what is minimised how."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import keras
import numpy as np
from keras import ops

from models.augment import NUMBERS, Changed
from models.configuring import Config, Phase
from models.losses import label_loss, outline_loss
from models.networks import Architecture
from models.registry import open_weights
from neurobatch.codes import Code
from neurobatch.errors import Refused


def accelerated() -> bool:
    """Whether Keras's backend computes on a GPU here."""
    backend = keras.backend.backend()
    if backend == "torch":
        return bool(import_module("torch").cuda.is_available())
    if backend == "jax":
        return bool(import_module("jax").default_backend() == "gpu")
    return bool(keras.distribution.list_devices("gpu"))


def begin(network: keras.Model, kind: Architecture, config: Config, side: int) -> None:
    """Give a fresh network the weights that it starts from.

    Raises:
        Refused: `invalid_field`, the shipped weights are of other sizes.
        Broken: `weights_damaged`, the shipped weights are not those that were published.
    """
    if config.start == "random":
        return
    if config.start == "shipped":
        if config.sizes:
            raise Refused(Code.INVALID_FIELD, "The shipped weights are of the shipped sizes.")
        network.load_weights(open_weights(config.network))
        return
    if config.start == "imagenet":
        donor = kind.donor(side, config.sizes, "imagenet")
    else:
        donor = kind.donor(side, config.sizes)
        donor.load_weights(config.start / config.backbone)
    for layer in donor.layers:
        if layer.weights:
            network.get_layer(layer.name).set_weights(layer.get_weights())
    if not whole(network, donor):
        kind.settle(network)


def whole(network: keras.Model, donor: keras.Model) -> bool:
    """Whether the donor reaches to the end of the network's backbone."""
    last = donor.layers[-1].name
    after = network.layers[[layer.name for layer in network.layers].index(last) + 1 :]
    return not any(layer.name.startswith("conv5") for layer in after)


def freeze(network: keras.Model, donor: keras.Model, learns: str) -> None:
    """Keep a part of the backbone as it is, and its batch norms always.

    On small batches the statistics of a batch mislead a backbone that learnt with those of ImageNet.

    Args:
        network: what is to learn.
        donor: its bare backbone, as far as ImageNet weights were at hand.
        learns: `all`, `none`, `top N` or `from LAYER`; see `Phase`.

    Raises:
        Refused: `invalid_field`, there is no such layer or no such word.
    """
    known = {layer.name for layer in donor.layers}
    backbone = [layer for layer in network.layers if layer.name in known or layer.name.startswith("conv5")]
    fixed = {layer.name for layer in backbone[: len(backbone) - _open(backbone, learns)]}
    for layer in network.layers:
        norm = isinstance(layer, keras.layers.BatchNormalization)
        if layer.name in fixed or (norm and layer.name in known):
            layer.trainable = False


def _open(backbone: list[keras.layers.Layer], learns: str) -> int:
    """How many of the backbone's last layers learn."""
    word, _, rest = learns.partition(" ")
    names = [layer.name for layer in backbone]
    if learns in ("all", "none"):
        return len(names) if learns == "all" else 0
    if word == "top" and rest.isdecimal():
        return min(int(rest), len(names))
    if word == "from" and rest in names:
        return len(names) - names.index(rest)
    raise Refused(Code.INVALID_FIELD, f"What learns is all, none, top N or from LAYER, not {learns!r}.")


def learner(network: keras.Model, kind: Architecture, config: Config, phase: Phase) -> keras.Model:
    """The network behind the layer that changes pictures, compiled; it shares its weights with `network`.

    It takes `{"source": (B, size, size, 4) uint8, "changes": (B, NUMBERS)}`. A layer that a configuration `locates`
    tumours in learns from outlines too; what reads it is of the training alone and of no weight file.

    Raises:
        Refused: `invalid_field`, the network has no such layer or is itself one that draws.
    """
    batch = sum(config.batch.values())
    wanted = [kind.output, config.locates] if config.locates else [kind.output]
    if config.locates and (kind.segments or config.locates not in {layer.name for layer in network.layers}):
        raise Refused(Code.INVALID_FIELD, f"{config.network} cannot locate tumours in {config.locates!r}.")
    source = keras.Input((config.size, config.size, 4), batch, dtype="uint8", name="source")
    changes = keras.Input((NUMBERS,), batch, dtype="float32", name="changes")
    shown, target = Changed(config.size, phase.side, name="changed")([source, changes])
    core = keras.Model(network.inputs, [network.get_layer(name).output for name in wanted], name="core")
    logits, *grids = core(shown)
    if kind.segments:
        logits = keras.layers.Concatenate(dtype="float32", name="beside")([logits, target])
    elif grids:
        logits = keras.layers.Concatenate(dtype="float32", name="beside")([logits, _located(grids[0], target)])
    model = keras.Model({"source": source, "changes": changes}, logits)
    model.compile(_optimiser(config, phase), _loss(kind, config), jit_compile=keras.backend.backend() == "jax")
    model.optimizer.build(model.trainable_variables)  # else a checkpoint's optimiser state finds no place
    return model


def _located(grid: keras.KerasTensor, target: keras.KerasTensor) -> keras.KerasTensor:
    """What a layer says of where the tumour lies and what it should say, `(B, h · w · 4)`.

    A cell of the layer's grid should say how much of it is tumour. Of each definition no picture holds pixels of which
    nothing is known beside ones with tumour (`models.augment`), so a mean below 0 means that some are not known.
    """
    places = keras.layers.Conv2D(2, 1, dtype="float32", name="places")(grid)
    shares = keras.layers.AveragePooling2D(target.shape[1] // grid.shape[1], dtype="float32", name="shares")(target)
    both = keras.layers.Concatenate(dtype="float32", name="places_and_shares")([places, shares])
    return keras.layers.Flatten(dtype="float32", name="located")(both)


def _loss(kind: Architecture, config: Config) -> Any:
    outlines, labels = outline_loss(config.loss), label_loss(config.loss)

    def loss(truth: keras.KerasTensor, told: keras.KerasTensor) -> keras.KerasTensor:
        places = ops.reshape(told[:, 1:], (-1, (told.shape[1] - 1) // 4, 1, 4))
        where = outlines(places[..., 2:], places[..., :2])
        return labels(truth, told[:, :1]) + config.loss.located * where

    if kind.segments:
        return lambda _, both: outlines(both[..., 2:], both[..., :2])
    return loss if config.locates else labels


def _optimiser(config: Config, phase: Phase) -> keras.Optimizer:
    total = phase.epochs * phase.steps
    warm = min(200, total // 10)
    rate = (
        phase.rate
        if phase.schedule == "constant"
        else keras.optimizers.schedules.CosineDecay(
            phase.rate / 20, total - warm, alpha=0.01, warmup_target=phase.rate, warmup_steps=warm
        )
    )
    averaging: Mapping[str, Any] = {"use_ema": True, "ema_momentum": config.average} if config.average else {}
    return keras.optimizers.AdamW(rate, weight_decay=config.decay, global_clipnorm=1.0, **averaging)


def settle_norms(model: keras.Model, batches: Iterable[Any]) -> None:
    """Give the batch norms that learn the statistics of the weights as they are now.

    Averaged weights see other values than those that they were averaged from, whose statistics the norms have kept.
    At a high rate that alone costs a segmenter a tenth of Dice (Izmailov et al., UAI 2018, section 3.2).

    Args:
        model: what `learner` gave.
        batches: what it takes; each weighs the same.
    """
    norms = [layer for layer in model.get_layer("core").layers if isinstance(layer, keras.layers.BatchNormalization)]
    norms = [norm for norm in norms if norm.trainable]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    seen = []
    for batch in batches:
        model(batch, training=True)
        seen.append([np.stack(norm.get_weights()[-2:]) for norm in norms])
    for norm, momentum, statistics in zip(norms, kept, zip(*seen, strict=True), strict=True):
        norm.momentum = momentum
        norm.set_weights([*norm.get_weights()[:-2], *np.mean(statistics, axis=0)])


def part_from_average(model: keras.Model) -> None:
    """Give the weights arrays of their own after an epoch.

    At the end of `fit` Keras puts the moving average, where there is one, in the weights' place, so an epoch ends, and
    the next begins, with averaged weights. On JAX both are one array then, which the next compiled step gives away.
    """
    for variable in model.trainable_variables:
        variable.assign(variable + 0)
