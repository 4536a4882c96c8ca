"""Batches to train on: so many of each kind, so that the source of a picture says little about its label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from models import augment
from models.augment import Ranges, letter, one_sided
from models.data import CHANNEL_OF, Cache, Item, View

POST_VISIBLE = 400  # px at 224: a smaller FLAIR abnormality is hardly seen on a contrast picture alone
NEAR = 3  # slices: a healthy slice so near to one with tumour is a hard one
MIRRORED = 0.3  # part of one-sided tumours that is shown on both sides, so that symmetry says nothing

TUMOUR_VIEWS: tuple[tuple[View, float], ...] = (("colour", 0.4), ("flair", 0.5), ("post", 0.1))
HEALTHY_VIEWS: tuple[tuple[View, float], ...] = (("colour", 0.35), ("flair", 0.4), ("post", 0.15), ("pre", 0.1))

KINDS: dict[str, Callable[[Item], bool]] = {
    "lgg_tumour": lambda item: item.source == "lgg" and item.tumour,
    "lgg_healthy": lambda item: item.source == "lgg" and not item.tumour,
    "lgg_near": lambda item: item.source == "lgg" and not item.tumour,  # `NEAR` to a tumour
    "t1ce_tumour": lambda item: item.source == "t1ce",
    "t1ce_mirrored": lambda item: item.source == "t1ce" and item.plane in ("axial", "coronal"),
    "web_tumour": lambda item: item.source in ("navoneel", "sartaj") and item.tumour,
    "web_outlined": lambda item: item.source in ("navoneel", "sartaj") and item.mask is not None,
    "web_healthy": lambda item: item.source in ("navoneel", "sartaj") and not item.tumour,
    "brisc_healthy": lambda item: item.source == "brisc",
}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures as they are, and what shall become of them."""

    sources: NDArray[np.uint8]  # (B, side, side, 4): RGB and outline
    changes: NDArray[np.float32]  # (B, NUMBERS)
    tumour: NDArray[np.bool_]  # (B,): what the changed picture shows


class Sampler:
    """Draws batches from a cache of training pictures."""

    def __init__(self, cache: Cache, kinds: Mapping[str, int], ranges: Ranges, *, alike: bool = True) -> None:
        self.cache, self.ranges = cache, ranges
        self.kinds = [kind for kind, count in kinds.items() for _ in range(count)]
        self.apart = any(view != "colour" for view in cache.views)  # single sequences have rows of their own
        usable = [index for index, item in enumerate(cache.items) if item.split == "train" and not item.doubtful]
        self.pools = {kind: [index for index in usable if KINDS[kind](cache.items[index])] for kind in kinds}
        if "lgg_near" in self.pools:
            near = _near_tumour(cache.items)
            self.pools["lgg_near"] = [index for index in self.pools["lgg_near"] if index in near]
        self.sides: dict[int, tuple[int, int]] = {}
        if "t1ce_mirrored" in self.pools:
            for index in self.pools["t1ce_mirrored"]:
                self.sides[index] = one_sided(cache.masks[index], cache.pictures[index])
            self.pools["t1ce_mirrored"] = [index for index, (_, side) in self.sides.items() if side]
        self.groups = {kind: _by_group(cache.items, pool) if alike else [pool] for kind, pool in self.pools.items()}

    def batch(self, rng: np.random.Generator, side: int) -> Batch:
        """One picture for each that `kinds` asks for, in a mixed order, to become squares of `side` px."""
        kinds = [self.kinds[int(place)] for place in rng.permutation(len(self.kinds))]
        rows = [self.row(kind, rng) for kind in kinds]
        size = self.cache.pictures.shape[1]
        sources = np.empty((len(rows), size, size, 4), np.uint8)
        changes = augment.drawn(rng, len(rows), size, side, self.ranges)
        tumour = np.zeros(len(rows), bool)
        for place, (kind, row) in enumerate(zip(kinds, rows, strict=True)):
            sources[place] = self.cache.sources[row]
            if rng.random() < self.ranges.letters:
                self._letter(sources[place], rng)
            tumour[place] = self._shown(kind, row, rng, changes[place])
        return Batch(sources=sources, changes=changes, tumour=tumour)

    def row(self, kind: str, rng: np.random.Generator) -> int:
        """The row of a picture of a kind; by patients alike, however many slices they have, or by pictures."""
        group = self.groups[kind][int(rng.integers(len(self.groups[kind])))]
        return group[int(rng.integers(len(group)))]

    def _shown(self, kind: str, row: int, rng: np.random.Generator, numbers: NDArray[np.float32]) -> bool:
        """Choose sequence and mirror of a picture; gives whether a tumour is left on it."""
        item, view, tumour = self.cache.items[row], self.cache.views[row], self.cache.items[row].tumour
        if item.source == "lgg" and not self.apart:
            view = _chosen(rng, self.cache.masks[row], tumour)
            numbers[augment.SEEN] = (_matrix(view) if view != "colour" else _mixed(rng, self.ranges)).ravel()
        middle, half = self.sides.get(row, (0, 0))
        if kind == "t1ce_mirrored":  # the healthy half replaces the other
            numbers[augment.MIRROR], tumour = (middle, half), False
        elif half and rng.random() < MIRRORED:
            numbers[augment.MIRROR] = (middle, -half)
        numbers[augment.SAYS] = _says(item, view, tumour)
        return tumour

    @staticmethod
    def _letter(source: NDArray[np.uint8], rng: np.random.Generator) -> None:
        picture = np.ascontiguousarray(source[:, :, :3])
        letter(picture, rng)
        source[:, :, :3] = picture


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras is not typed
    """An epoch of batches. Each follows from seed and number alone, so a resumed run draws what it would have."""

    def __init__(self, sampler: Sampler, *, seed: Sequence[int], steps: int, side: int, workers: int = 2) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=4 * workers)
        self.sampler, self.seed, self.steps, self.side = sampler, list(seed), steps, side

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[dict[str, NDArray[np.uint8 | np.float32]], NDArray[np.float32]]:
        batch = self.sampler.batch(np.random.default_rng([*self.seed, self.side, index]), self.side)
        return {"source": batch.sources, "changes": batch.changes}, batch.tumour[:, None].astype(np.float32)


def _chosen(rng: np.random.Generator, mask: NDArray[np.uint8], tumour: bool) -> View:
    views = TUMOUR_VIEWS if tumour else HEALTHY_VIEWS
    view = views[int(rng.choice(len(views), p=[chance for _, chance in views]))][0]
    if tumour and view == "post" and np.count_nonzero(mask) < POST_VISIBLE:
        return "flair"
    return view


def _matrix(view: View) -> NDArray[np.float32]:
    """One sequence of a composite in all channels."""
    matrix = np.zeros((3, 3), np.float32)
    matrix[CHANNEL_OF[view]] = 1
    return matrix


def _mixed(rng: np.random.Generator, ranges: Ranges) -> NDArray[np.float32]:
    """A composite whose sequences differ in brightness from what they were, and may be missing.

    Where one is missing FLAIR stands in its place, as the LGG set has it.
    """
    matrix = np.eye(3, dtype=np.float32)
    for view in ("pre", "post"):
        if rng.random() < ranges.missing:
            matrix[:, CHANNEL_OF[view]] = matrix[:, CHANNEL_OF["flair"]]
    return matrix * rng.uniform(1 - ranges.uneven, 1 + ranges.uneven, 3).astype(np.float32)


def _says(item: Item, view: View, tumour: bool) -> int:
    if not tumour:
        return augment.NOTHING
    if item.definition is None or view not in ("colour", "flair"):
        return augment.UNKNOWN_OUTLINE
    return augment.OF_CORE if item.definition == "core" else augment.OF_FLAIR


def _by_group(items: Sequence[Item], pool: Sequence[int]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for index in pool:
        groups.setdefault(items[index].group, []).append(index)
    return list(groups.values())


def _near_tumour(items: Sequence[Item]) -> set[int]:
    """Healthy slices of a volume that lie within `NEAR` slices of one with tumour."""
    positive = {(item.group, item.number) for item in items if item.tumour}
    return {
        index
        for index, item in enumerate(items)
        if not item.tumour
        and any((item.group, item.number + step) in positive for step in range(-NEAR, NEAR + 1) if step)
    }
