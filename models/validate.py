"""Quick figures on prepared pictures: which epoch was the best, and what a run gave. `models.evaluate` is the judge."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from models.data import CHANNEL_OF, Cache
from models.scores import auc

STRIDE = 2  # every second picture is enough to choose an epoch
BATCH = 64  # pictures at once, always: other shapes would be compiled anew
SMALLEST = (0, 50, 100)  # px: components below are removed, as one of the choices at test time

Figures = dict[str, float | int]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pictures of one split that are looked at together."""

    name: str
    rows: list[int]
    grey: bool = False  # FLAIR alone is shown of an LGG composite


def parts(cache: Cache, split: str, stride: int = 1) -> list[Part]:
    """LGG as composite and as FLAIR alone, T1ce and web pictures, as far as there are any."""
    rows: dict[str, list[int]] = defaultdict(list)
    for index, (item, view) in enumerate(zip(cache.items, cache.views, strict=True)):
        if item.split == split:
            source = item.source if item.source in ("lgg", "t1ce") else "web"
            rows["flair" if view == "flair" else source].append(index)
    found = [
        Part(name="lgg", rows=rows["lgg"][::stride]),
        Part(name="flair", rows=(rows["flair"] or rows["lgg"])[::stride], grey=True),
        Part(name="t1ce", rows=rows["t1ce"][::stride]),
        Part(name="web", rows=rows["web"]),
    ]
    return [part for part in found if part.rows]


def classifier_score(network: keras.Model, cache: Cache, side: int) -> tuple[float, Figures]:
    """Mean AUC over the validation parts that show both, and the figure of each part."""
    figures: Figures = {}
    for part in parts(cache, "val", STRIDE):
        logits, truth = predicted(network, cache, part, side)[:, 0], _truth(cache, part)
        figures |= {f"{part.name}_auc": round(auc(truth, logits), 4)} if 0 < truth.sum() < len(truth) else {}
        figures |= {f"{part.name}_recall": round(float((logits[truth] > 0).mean()), 4)} if truth.all() else {}
    both = [value for name, value in figures.items() if name.endswith("_auc")]
    return float(np.mean(both)) if both else 0.0, figures


def segmenter_score(network: keras.Model, cache: Cache, side: int) -> tuple[float, Figures]:
    """Mean of: Dice by LGG patient as composite and as FLAIR alone, Dice by T1ce slice; and each."""
    figures: Figures = {}
    for part in parts(cache, "val", STRIDE):
        if part.name != "web":
            masks = _outlined(network, cache, part, side)
            figures[f"{part.name}_dice"] = _mean_dice(_overlaps(cache, part, masks, side))
    return float(np.mean(list(figures.values()))) if figures else 0.0, figures


def classifier_figures(network: keras.Model, cache: Cache, side: int, split: str) -> dict[str, Figures]:
    """By part: AUC, and at the probability of one half accuracy, recall, specificity and the four counts."""
    found = {}
    for part in parts(cache, split):
        logits, truth = predicted(network, cache, part, side)[:, 0], _truth(cache, part)
        said = logits > 0
        right = {"tp": truth & said, "fn": truth & ~said, "fp": ~truth & said, "tn": ~truth & ~said}
        figures: Figures = {name: int(flags.sum()) for name, flags in right.items()}
        figures |= {
            "pictures": len(truth),
            "auc": round(auc(truth, logits), 4),
            "accuracy": round(float((said == truth).mean()), 4),
            "recall": round(float(said[truth].mean()), 4) if truth.any() else float("nan"),
            "specificity": round(float((~said[~truth]).mean()), 4) if not truth.all() else float("nan"),
        }
        found[part.name] = figures
    return found


def segmenter_figures(network: keras.Model, cache: Cache, side: int, split: str) -> dict[str, Figures]:
    """By part and choice at test time: Dice by patient (LGG) or slice, and the part of pixels that is right.

    The choices: as it is, the mean with the mirrored picture, and each without components below some size.
    """
    found = {}
    for part in parts(cache, split):
        if part.name == "web":
            continue
        for mirrored in (False, True):
            masks = _outlined(network, cache, part, side, mirrored)
            for smallest in SMALLEST:
                kept = _without_small(masks, smallest)
                sums = _overlaps(cache, part, kept, side)
                name = f"{part.name}{', mirrored' if mirrored else ''}{f', from {smallest} px' if smallest else ''}"
                wrong = sum(total - 2 * both for both, total in sums.values())
                dice = [_dice(*pair) for pair in sums.values()]
                found[name] = {
                    "dice_mean": _mean_dice(sums),
                    "dice_median": round(float(np.median(dice)), 4),
                    "pixel_accuracy": round(1 - float(wrong) / kept.size, 4),
                }
    return found


def predicted(network: keras.Model, cache: Cache, part: Part, side: int, mirrored: bool = False) -> NDArray[Any]:
    """What `network` gives for a part `(n, …)`; `mirrored`: for the pictures left for right."""
    given = []
    for count, pictures in _batches(cache, part, side):
        shown = pictures[:, :, ::-1] if mirrored else pictures
        outputs = np.asarray(keras.ops.convert_to_numpy(network.predict_on_batch(shown.astype(np.float32))))
        given.append(outputs[:count])
    return np.concatenate(given)


def _batches(cache: Cache, part: Part, side: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for start in range(0, len(part.rows), BATCH):
        rows = part.rows[start : start + BATCH]
        full = np.zeros((BATCH, side, side, 3), np.uint8)
        full[: len(rows)] = _small(np.stack([cache.pictures[row] for row in rows]), side)
        if part.grey:
            full = np.repeat(full[:, :, :, CHANNEL_OF["flair"], None], 3, axis=3)
        yield len(rows), full


def _outlined(network: keras.Model, cache: Cache, part: Part, side: int, mirrored: bool = False) -> NDArray[np.bool_]:
    channel = 1 if part.name == "t1ce" else 0
    maps = predicted(network, cache, part, side)[..., channel]
    if mirrored:
        maps = (maps + predicted(network, cache, part, side, True)[:, :, ::-1, channel]) / 2
    return np.asarray(maps > 0.5)


def _without_small(masks: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    if not smallest:
        return masks
    kept = np.zeros_like(masks)
    for place, mask in enumerate(masks):
        _, labels, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        large = figures[:, cv2.CC_STAT_AREA] >= smallest
        large[0] = False
        kept[place] = large[labels]
    return kept


def _overlaps(cache: Cache, part: Part, masks: NDArray[np.bool_], side: int) -> dict[str, tuple[int, int]]:
    """Pixels in both and sum of both, by patient; by slice for single slices."""
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row, mask in zip(part.rows, masks, strict=True):
        truth = _small(np.asarray(cache.masks[row])[None], side)[0] > 127
        key = str(row) if part.name == "t1ce" else cache.items[row].group
        both, total = sums[key]
        both += int(np.count_nonzero(truth & mask))
        sums[key] = both, total + int(np.count_nonzero(truth)) + int(np.count_nonzero(mask))
    return sums


def _truth(cache: Cache, part: Part) -> NDArray[np.bool_]:
    return np.array([cache.items[row].tumour for row in part.rows], bool)


def _dice(both: int, total: int) -> float:
    return 2 * both / total if total else 1.0


def _mean_dice(sums: dict[str, tuple[int, int]]) -> float:
    return round(float(np.mean([_dice(*pair) for pair in sums.values()])), 4)


def _small(pictures: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if pictures.shape[1] == side:
        return pictures
    return np.stack([cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures])
