"""What a network says of every picture of a set, before any figure is made of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data import Item, View, read_mask, read_plane
from models.engines.seam import SIDE, Predictor
from pipeline.prepare.fit import Fit
from pipeline.prepare.profiles import prepare

CHUNK = 64  # pictures in memory at once


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pictures that are reported together, seen in one way."""

    name: str
    items: tuple[Item, ...]
    view: View


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A classifier's logits for a part."""

    part: Part
    logits: NDArray[np.float32]  # (n,)

    @property
    def truth(self) -> NDArray[np.bool_]:
        """What the labels say, (n,)."""
        return np.array([item.tumour for item in self.part.items], bool)


@dataclass(frozen=True, kw_only=True)
class Outlined:
    """Pixel counts of one picture on its own grid, one row a mask channel."""

    item: Item
    drawn: int  # px of the reader's outline
    common: tuple[int, ...]  # px in both, by channel
    found: tuple[int, ...]  # px of ours, by channel
    second: tuple[int, int] | None  # second reader's: px, px in common with ours of that definition


def parts_of(items: Sequence[Item]) -> list[Part]:
    """The parts of a set: each source apart, LGG both as composite and as FLAIR alone, and the web without `brisc`."""
    by_source: dict[str, list[Item]] = {}
    for item in items:
        by_source.setdefault(item.source, []).append(item)
    parts = [Part(name=source, items=tuple(found), view="colour") for source, found in sorted(by_source.items())]
    if "lgg" in by_source:
        parts.append(Part(name="lgg-flair", items=tuple(by_source["lgg"]), view="flair"))
    return parts


def logits_of(predictor: Predictor, part: Part, profile: str) -> Judged:
    """Run a classifier over a part."""
    given = [predictor.predict(pictures)[:, 0] for pictures, _ in _prepared(part, profile)]
    return Judged(part=part, logits=np.concatenate(given))


def outlines_of(predictor: Predictor, part: Part, profile: str, threshold: float) -> list[Outlined]:
    """Run a segmenter over a part; masks are compared on each picture's own grid."""
    outlined = []
    for pictures, chunk in _prepared(part, profile):
        for (item, layout), maps in zip(chunk, predictor.predict(pictures), strict=True):
            masks = [layout.restore(maps[:, :, channel]) > threshold for channel in range(maps.shape[2])]
            outlined.append(_compared(item, masks))
    return outlined


def _prepared(part: Part, profile: str) -> Iterator[tuple[NDArray[np.uint8], list[tuple[Item, Fit]]]]:
    for start in range(0, len(part.items), CHUNK):
        chunk = part.items[start : start + CHUNK]
        planes = [read_plane(item.file, part.view) for item in chunk]
        pictures = np.stack([prepare(plane, profile, SIDE) for plane in planes])
        layouts = [Fit.of(plane.shape[0], plane.shape[1], SIDE) for plane in planes]
        yield pictures, list(zip(chunk, layouts, strict=True))


def _compared(item: Item, masks: list[NDArray[np.bool_]]) -> Outlined:
    truth = read_mask(item.mask) if item.mask is not None and item.tumour else np.zeros(masks[0].shape, bool)
    second = None
    if item.mask2 is not None:
        other = read_mask(item.mask2)
        second = (int(other.sum()), int((other & masks[-1]).sum()))
    return Outlined(
        item=item,
        drawn=int(truth.sum()),
        common=tuple(int((mask & truth).sum()) for mask in masks),
        found=tuple(int(mask.sum()) for mask in masks),
        second=second,
    )
