"""Losses of the networks, in Keras's own operations, so that every backend can train."""

import keras
from keras import ops

SMOOTH = 1.0  # px, keeps the overlap of two empty masks defined


def outline_loss(target: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy and Dice of outlines, only where a reader drew one of that definition.

    Args:
        target: `(B, h, w, 2)`: 1 tumour, 0 none, below 0 not known.
        logits: `(B, h, w, 2)`.

    Returns:
        A scalar: the mean cross-entropy over what is known; plus, per channel, one minus the Dice of the whole batch
        (which an empty picture takes part in) and half of one minus the mean Dice of the pictures with tumour (so
        that small ones count).
    """
    known = ops.cast(target >= 0, "float32")
    truth = ops.cast(target, "float32") * known
    logits = ops.cast(logits, "float32")
    entropy = ops.maximum(logits, 0) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits)))
    entropy = ops.sum(entropy * known) / (ops.sum(known) + 1)
    guess = ops.sigmoid(logits) * known
    both, either = ops.sum(guess * truth, axis=(1, 2)), ops.sum(guess + truth, axis=(1, 2))  # (B, 2)
    whole = (2 * ops.sum(both, axis=0) + SMOOTH) / (ops.sum(either, axis=0) + SMOOTH)
    drawn = ops.cast(ops.sum(truth, axis=(1, 2)) > 0, "float32")
    single = ops.sum((2 * both + SMOOTH) / (either + SMOOTH) * drawn, axis=0)
    single = single / ops.maximum(ops.sum(drawn, axis=0), 1)
    return entropy + ops.mean(1 - whole) + 0.5 * ops.mean(1 - single)
