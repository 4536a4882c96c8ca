"""Quick figures on the validation part while a network trains: which epoch was the best."""

from collections import defaultdict
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from models.data import CHANNEL_OF, Cache
from models.scores import auc

STRIDE = 2  # every second picture is enough to choose an epoch


def classifier_score(network: keras.Model, cache: Cache, side: int) -> tuple[float, dict[str, float]]:
    """Mean AUC over LGG as composite, LGG as FLAIR alone, and web pictures; and each."""
    return auc_score(
        {
            name: (truth_of(cache, rows), predicted(network, cache, rows, side, grey)[:, 0])
            for name, rows, grey in parts(cache)
        }
    )


def auc_score(judged: dict[str, tuple[NDArray[np.bool_], NDArray[Any]]]) -> tuple[float, dict[str, float]]:
    """The same of truth and logits by part."""
    figures = {f"{name}_auc": round(auc(*judged[name]), 4) for name in ("lgg", "flair", "web")}
    score = float(np.mean(list(figures.values())))
    return score, figures | {"t1ce_recall": round(float((judged["t1ce"][1] > 0).mean()), 4)}


def logits_of_features(rest: keras.Model, values: NDArray[np.float16], batch: int = 64) -> NDArray[Any]:
    """Logits (n,) of what follows a stem, for features of it."""
    chunks = (values[at : at + batch].astype(np.float32) for at in range(0, len(values), batch))
    return np.concatenate(
        [np.asarray(keras.ops.convert_to_numpy(rest.predict_on_batch(chunk)))[:, 0] for chunk in chunks]
    )


def truth_of(cache: Cache, rows: list[int]) -> NDArray[np.bool_]:
    """The labels of these rows, (n,)."""
    return np.array([cache.items[row].tumour for row in rows], bool)


def segmenter_score(network: keras.Model, cache: Cache, side: int) -> tuple[float, dict[str, float]]:
    """Mean of: Dice by LGG patient as composite and as FLAIR alone, Dice by T1ce slice; and each."""
    figures = {}
    for name, rows, grey in parts(cache):
        if name == "web":
            continue
        by_slice = name == "t1ce"
        guess = predicted(network, cache, rows, side, grey)[:, :, :, 1 if by_slice else 0] > 0.5
        truth = _small(np.stack([cache.masks[row] for row in rows]), side) > 127
        groups = [str(row) if by_slice else cache.items[row].group for row in rows]
        figures[f"{name}_dice"] = round(_dice_by_group(truth, guess, groups), 4)
    return float(np.mean(list(figures.values()))), figures


def parts(cache: Cache) -> list[tuple[str, list[int], bool]]:
    """Rows of the validation part by name, and whether FLAIR alone is to be shown of them."""
    rows: dict[str, list[int]] = defaultdict(list)
    for index, (item, view) in enumerate(zip(cache.items, cache.views, strict=True)):
        if item.split == "val":
            source = item.source if item.source in ("lgg", "t1ce") else "web"
            rows["flair" if view == "flair" else source].append(index)
    return [
        ("lgg", rows["lgg"][::STRIDE], False),
        ("flair", (rows["flair"] or rows["lgg"])[::STRIDE], True),
        ("t1ce", rows["t1ce"][::STRIDE], False),
        ("web", rows["web"], False),
    ]


def predicted(
    network: keras.Model, cache: Cache, rows: list[int], side: int, grey: bool, batch: int = 32
) -> NDArray[Any]:
    """What `network` gives for these rows, in batches; `grey`: FLAIR alone of an LGG composite."""
    given = []
    for start in range(0, len(rows), batch):
        pictures = _small(np.stack([cache.pictures[row] for row in rows[start : start + batch]]), side)
        if grey:
            pictures = np.repeat(pictures[:, :, :, CHANNEL_OF["flair"], None], 3, axis=3)
        given.append(np.asarray(keras.ops.convert_to_numpy(network.predict_on_batch(pictures.astype(np.float32)))))
    return np.concatenate(given)


def _small(pictures: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if pictures.shape[1] == side:
        return pictures
    return np.stack([cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures])


def _dice_by_group(truth: NDArray[np.bool_], guess: NDArray[np.bool_], groups: list[str]) -> float:
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(2))
    for true, guessed, group in zip(truth, guess, groups, strict=True):
        sums[group] += [2 * np.count_nonzero(true & guessed), np.count_nonzero(true) + np.count_nonzero(guessed)]
    return float(np.mean([both / total if total else 1.0 for both, total in sums.values()]))
