"""Losses of the networks, in Keras's own operations, so that every backend can train."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops

SMOOTH = 1.0  # px, keeps the overlap of two empty masks defined

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a loss is made of."""

    smoothing: float = 0.02  # of labels (Szegedy et al., CVPR 2016)
    focal: float = 0.0  # exponent of the focal loss (Lin et al., ICCV 2017); 0: plain cross-entropy
    entropy: float = 1.0  # weight of the cross-entropy of outlines
    whole: float = 1.0  # weight of the overlap over the whole batch
    single: float = 0.5  # weight of the mean overlap by picture
    missed: float = 0.5  # what a missed pixel costs in the overlap, a false one costs the rest (Tversky; 0.5: Dice)
    located: float = 0.5  # weight of outlines beside labels, where a classifier's layer locates tumours


def label_loss(terms: Terms) -> Loss:
    """Cross-entropy of labels `(B, 1)` and logits `(B, 1)`: a scalar."""

    def loss(target: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        truth = ops.cast(target, "float32") * (1 - terms.smoothing) + terms.smoothing / 2
        return ops.mean(_entropy(truth, ops.cast(logits, "float32"), terms.focal))

    return loss


def outline_loss(terms: Terms) -> Loss:
    """Cross-entropy and overlap of outlines, only where a reader drew one of that definition.

    The loss takes a target `(B, h, w, 2)`: 1 tumour, 0 none, below 0 not known; and logits `(B, h, w, 2)`. It gives
    a scalar: the mean cross-entropy over what is known; plus, per channel, one minus the overlap of the whole batch
    (which an empty picture takes part in) and one minus the mean overlap of the pictures with tumour (so that small
    ones count). The overlap is Dice, or where misses weigh otherwise Tversky's index (Salehi et al., MLMI 2017).
    """

    def loss(target: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        known = ops.cast(target >= 0, "float32")
        truth = ops.cast(target, "float32") * known
        logits = ops.cast(logits, "float32")
        entropy = ops.sum(_entropy(truth, logits, terms.focal) * known) / (ops.sum(known) + 1)
        guess = ops.sigmoid(logits) * known
        both = ops.sum(guess * truth, axis=(1, 2))  # (B, 2)
        wrong = ops.sum(guess, axis=(1, 2)) - both
        missed = ops.sum(truth, axis=(1, 2)) - both
        whole = _overlap(ops.sum(both, axis=0), ops.sum(wrong, axis=0), ops.sum(missed, axis=0), terms.missed)
        drawn = ops.cast(ops.sum(truth, axis=(1, 2)) > 0, "float32")
        single = ops.sum(_overlap(both, wrong, missed, terms.missed) * drawn, axis=0)
        single = single / ops.maximum(ops.sum(drawn, axis=0), 1)
        return terms.entropy * entropy + terms.whole * ops.mean(1 - whole) + terms.single * ops.mean(1 - single)

    return loss


def _entropy(truth: keras.KerasTensor, logits: keras.KerasTensor, focal: float) -> keras.KerasTensor:
    entropy = ops.maximum(logits, 0) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits)))
    if focal:
        entropy = entropy * ops.power(ops.abs(truth - ops.sigmoid(logits)) + 1e-6, focal)
    return entropy


def _overlap(
    both: keras.KerasTensor, wrong: keras.KerasTensor, missed: keras.KerasTensor, weight: float
) -> keras.KerasTensor:
    return (2 * both + SMOOTH) / (2 * both + 2 * (1 - weight) * wrong + 2 * weight * missed + SMOOTH)
