"""Batches to train on: so many of each kind, so that the source of a picture says little about its label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from models.augment import Picture, Ranges, border_level, mirrored, one_sided, pose, posed, toned
from models.data import CHANNEL_OF, Cache, Item, View

UNKNOWN = -1  # in a target: no reader drew an outline of this definition on this picture
CHANNEL_OF_DEFINITION = {"flair": 0, "core": 1}
POST_VISIBLE = 400  # px at 224: a smaller FLAIR abnormality is hardly seen on a contrast picture alone

TUMOUR_VIEWS: tuple[tuple[View, float], ...] = (("colour", 0.4), ("flair", 0.5), ("post", 0.1))
HEALTHY_VIEWS: tuple[tuple[View, float], ...] = (("colour", 0.35), ("flair", 0.4), ("post", 0.15), ("pre", 0.1))

KINDS: dict[str, Callable[[Item], bool]] = {
    "lgg_tumour": lambda item: item.source == "lgg" and item.tumour,
    "lgg_healthy": lambda item: item.source == "lgg" and not item.tumour,
    "t1ce_tumour": lambda item: item.source == "t1ce",
    "t1ce_mirrored": lambda item: item.source == "t1ce" and item.plane in ("axial", "coronal"),
    "web_tumour": lambda item: item.source in ("navoneel", "sartaj") and item.tumour,
    "web_outlined": lambda item: item.source in ("navoneel", "sartaj") and item.mask is not None,
    "web_healthy": lambda item: item.source in ("navoneel", "sartaj") and not item.tumour,
    "brisc_healthy": lambda item: item.source == "brisc",
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One augmented example."""

    picture: Picture  # (side, side, 3)
    target: NDArray[np.int8]  # (side, side, 2): 1, 0 or UNKNOWN
    tumour: bool


class Sampler:
    """Draws examples of a kind from a cache of training pictures."""

    def __init__(self, cache: Cache, kinds: Mapping[str, int], ranges: Ranges) -> None:
        self.cache = cache
        self.ranges = ranges
        self.kinds = dict(kinds)
        self.apart = any(view != "colour" for view in cache.views)  # single sequences have rows of their own
        usable = [index for index, item in enumerate(cache.items) if item.split == "train" and not item.doubtful]
        self.pools = {kind: [index for index in usable if KINDS[kind](cache.items[index])] for kind in kinds}
        if "t1ce_mirrored" in self.pools:
            self.sides = {
                index: one_sided(cache.masks[index], cache.pictures[index]) for index in self.pools["t1ce_mirrored"]
            }
            self.pools["t1ce_mirrored"] = [index for index, side in self.sides.items() if side]
        else:
            self.sides = {}

    def draw(self, kind: str, rng: np.random.Generator, side: int) -> Drawn:
        """One example of `kind` at `side` px."""
        index = self.pools[kind][int(rng.integers(len(self.pools[kind])))]
        item = self.cache.items[index]
        picture, mask = np.array(self.cache.pictures[index]), np.array(self.cache.masks[index])
        tumour, view = item.tumour, self.cache.views[index]
        if item.source == "lgg" and not self.apart:
            view = _chosen(rng, mask, tumour)
            picture = _seen(picture, view)
        if kind == "t1ce_mirrored":
            picture, mask = mirrored(picture, mask, keep_left=self.sides[index] == "right")
            tumour = False
        elif self.sides.get(index) and rng.random() < 0.3:
            picture, mask = mirrored(picture, mask, keep_left=self.sides[index] == "left")
        matrix = pose(rng, picture.shape[0], side, self.ranges)
        moved = posed(picture, matrix, side, border_level(rng, self.ranges))
        outline = posed(mask, matrix, side) > 127
        return Drawn(
            picture=_three(toned(moved, rng, self.ranges)), tumour=tumour, target=_target(item, view, tumour, outline)
        )

    def batch(self, rng: np.random.Generator, side: int) -> list[Drawn]:
        """One example for each that `kinds` asks for, in a mixed order."""
        drawn = [self.draw(kind, rng, side) for kind, count in self.kinds.items() for _ in range(count)]
        return [drawn[int(place)] for place in rng.permutation(len(drawn))]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras is not typed
    """An epoch of batches. Each follows from seed and number alone, so a resumed run draws what it would have."""

    def __init__(self, sampler: Sampler, *, seed: int, epoch: int, steps: int, side: int, outlines: bool) -> None:
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=6)
        self.sampler, self.side, self.outlines = sampler, side, outlines
        self.seed, self.epoch, self.steps = seed, epoch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng([self.seed, self.side, self.epoch, index])
        drawn = self.sampler.batch(rng, self.side)
        pictures = np.stack([one.picture for one in drawn]).astype(np.float32)
        if self.outlines:
            return pictures, np.stack([one.target for one in drawn]).astype(np.float32)
        return pictures, np.array([[one.tumour] for one in drawn], np.float32)


def _chosen(rng: np.random.Generator, mask: Picture, tumour: bool) -> View:
    views = TUMOUR_VIEWS if tumour else HEALTHY_VIEWS
    view = views[int(rng.choice(len(views), p=[chance for _, chance in views]))][0]
    if tumour and view == "post" and np.count_nonzero(mask) < POST_VISIBLE:
        return "flair"
    return view


def _seen(picture: Picture, view: View) -> Picture:
    return picture if view == "colour" else np.ascontiguousarray(picture[:, :, CHANNEL_OF[view]])


def _three(picture: Picture) -> Picture:
    return picture if picture.ndim == 3 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)


def _target(item: Item, view: View, tumour: bool, outline: NDArray[np.bool_]) -> NDArray[np.int8]:
    """What a segmenter should say: nothing on a healthy picture, else what a reader outlined and what follows from it.

    A tumour's core lies within the abnormality around it, so where the abnormality was outlined there is no core beyond
    it. On pictures whose core was outlined (after contrast) the core is all of the abnormality that can be seen.
    """
    if not tumour:
        return np.zeros((*outline.shape, 2), np.int8)
    target = np.full((*outline.shape, 2), UNKNOWN, np.int8)
    if item.definition is None or view not in ("colour", "flair"):
        return target
    if item.definition == "core":
        target[:] = outline[:, :, None]
    else:
        target[:, :, CHANNEL_OF_DEFINITION["flair"]] = outline
        target[~outline, CHANNEL_OF_DEFINITION["core"]] = 0
    return target
