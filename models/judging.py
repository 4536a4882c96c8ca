"""What a network says of every picture of a set, before any figure is made of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from models import lesions
from models.data import Definition, Item, View, read_mask, read_plane
from models.engines.seam import SIDE, Predictor
from models.lesions import Lesions
from models.registry import Network
from neurobatch.codes import Code
from neurobatch.errors import Refused
from pipeline.finding import calibrated
from pipeline.prepare.fit import Fit
from pipeline.prepare.profiles import prepare

CHUNK = 64  # pictures in memory at once
CHANNEL: dict[Definition, int] = {"flair": 0, "core": 1}  # of a segmenter's maps

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pictures that are reported together, seen in one way."""

    name: str
    items: tuple[Item, ...]
    view: View
    volumes: bool = False  # slices of one group are a volume, in order
    unread: tuple[Item, ...] = ()  # that could not be decoded, so that nothing is said of them


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
class Verdicts:
    """What labels and classifiers say of each of `n` scans or pictures, at the operating point."""

    truth: NDArray[np.bool_]  # (n,)
    score: NDArray[np.float64]  # (n,) what ranks them: logits, or probabilities where no more is known
    chance: NDArray[np.float64]  # (n,) calibrated probabilities, as they are written
    positive: NDArray[np.bool_]  # (n,) from the threshold on; one to be reviewed counts by its probability
    review: NDArray[np.bool_]  # (n,) a person must look
    groups: tuple[str, ...]  # patients, or near-duplicates
    kinds: tuple[str, ...] = ()  # what the labels say beyond yes and no; empty: nothing
    planes: tuple[str, ...] = ()  # axial, coronal, sagittal; empty: not stated


@dataclass(frozen=True, kw_only=True)
class Second:
    """A second reader's outline of the same definition, px."""

    drawn: int
    with_first: int  # in common with the first reader's
    with_ours: int


@dataclass(frozen=True, kw_only=True)
class Outlined:
    """Pixel counts of one picture on its own grid, for the definition that its reader outlined."""

    item: Item
    drawn: int | None  # px of the reader's outline; None: there is a tumour, but nobody outlined it
    common: int  # px in both
    found: int  # px of ours
    largest: int  # px of ours in whichever definition has most
    second: Second | None = None


@dataclass(frozen=True, kw_only=True)
class Outlining:
    """A segmenter's outlines of a part."""

    part: Part
    rows: tuple[Outlined, ...]  # one a picture
    lesions: tuple[Lesions, ...]  # one a volume, or a picture


def parts_of(items: Sequence[Item]) -> list[Part]:
    """The parts of a set: each source apart; composites of three sequences also as FLAIR alone."""
    by_source: dict[str, list[Item]] = {}
    for item in items:
        by_source.setdefault(item.source, []).append(item)
    parts, alone = [], []
    for source, found in sorted(by_source.items()):
        volumes = all(item.definition == "flair" for item in found)
        rows = tuple(sorted(found, key=lambda item: (item.group, item.number)) if volumes else found)
        parts.append(Part(name=source, items=rows, view="colour", volumes=volumes))
        if volumes:
            alone.append(Part(name=f"{source}-flair", items=rows, view="flair", volumes=True))
    return parts + alone


def logits_of(predictor: Predictor, part: Part, profile: str) -> Judged:
    """Run a classifier over a part.

    Raises:
        Refused: `unreadable`, none of its pictures can be decoded.
    """
    given: list[NDArray[np.float32]] = []
    read: list[Item] = []
    for pictures, chunk in _prepared(part, profile):
        given.append(predictor.predict(pictures)[:, 0])
        read += [item for item, _ in chunk]
    return Judged(part=_read(part, read), logits=np.concatenate(given))


def verdicts_of(judged: Judged, network: Network) -> Verdicts:
    """A classifier's verdicts at the card's threshold, calibrated and rounded as they are for users."""
    items = judged.part.items
    chance = calibrated(judged.logits, network.temperature)
    return Verdicts(
        truth=judged.truth,
        score=judged.logits.astype(np.float64),
        chance=chance,
        positive=chance >= network.threshold,
        review=(chance >= network.review_low) & (chance <= network.review_high),
        groups=tuple(item.group for item in items),
        kinds=tuple(item.kind for item in items),
        planes=tuple(item.plane for item in items),
    )


def outlines_of(predictor: Predictor, part: Part, profile: str, threshold: float) -> Outlining:
    """Run a segmenter over a part; masks are compared on each picture's own grid.

    Raises:
        Refused: `unreadable`, none of its pictures can be decoded.
    """
    rows: list[Outlined] = []
    regions: list[Lesions] = []
    for _, slices in groupby(_masks(predictor, part, profile, threshold), key=lambda one: _scan(one[0], part)):
        pairs: list[tuple[Mask, Mask]] = []
        for item, masks in slices:
            try:
                row, drawn = _compared(item, masks)
            except Refused:  # an outline that cannot be decoded, or is of another picture
                continue
            rows.append(row)
            if drawn is not None:
                pairs.append((drawn, masks[CHANNEL[item.definition or "core"]]))
        if pairs:
            regions.append(_regions(rows[-1].item.group, pairs))
    return Outlining(part=_read(part, [row.item for row in rows]), rows=tuple(rows), lesions=tuple(regions))


def masks_of(predictor: Predictor, item: Item, view: View, profile: str, threshold: float) -> NDArray[np.bool_]:
    """A segmenter's masks of one picture on its own grid, `(c, h, w)`."""
    part = Part(name="", items=(item,), view=view)
    return next(masks for _, masks in _masks(predictor, part, profile, threshold))


def _masks(
    predictor: Predictor, part: Part, profile: str, threshold: float
) -> Iterator[tuple[Item, NDArray[np.bool_]]]:
    for pictures, chunk in _prepared(part, profile):
        for (item, layout), maps in zip(chunk, predictor.predict(pictures), strict=True):
            planes = (np.ascontiguousarray(maps[:, :, channel]) for channel in range(maps.shape[2]))
            yield item, np.stack([layout.restore(plane) >= threshold for plane in planes])


def _prepared(part: Part, profile: str) -> Iterator[tuple[NDArray[np.uint8], list[tuple[Item, Fit]]]]:
    for start in range(0, len(part.items), CHUNK):
        planes = [
            (item, plane)
            for item in part.items[start : start + CHUNK]
            if (plane := _plane(item, part.view)) is not None
        ]
        if planes:
            pictures = np.stack([prepare(plane, profile, SIDE) for _, plane in planes])
            yield pictures, [(item, Fit.of(plane.shape[0], plane.shape[1], SIDE)) for item, plane in planes]


def _plane(item: Item, view: View) -> NDArray[np.uint8] | None:
    """A picture's plane; None where it cannot be decoded: one bad picture does not end an evaluation."""
    try:
        return read_plane(item.file, view)
    except Refused:
        return None


def _read(part: Part, read: Sequence[Item]) -> Part:
    """The part with what could be read; the rest is kept aside, so that it is told."""
    if not read:
        raise Refused(Code.UNREADABLE, f"No picture of {part.name} can be decoded.")
    files = {item.file for item in read}
    return replace(part, items=tuple(read), unread=tuple(item for item in part.items if item.file not in files))


def _scan(item: Item, part: Part) -> tuple[str, int, str]:
    """What tells scans apart: a volume's slices are one scan, everything else is by itself."""
    return (item.group, 0, "") if part.volumes else (item.group, item.row, item.file.name)


def _compared(item: Item, masks: NDArray[np.bool_]) -> tuple[Outlined, Mask | None]:
    """Counts, and the reader's outline where it is known, all empty where there is no tumour.

    Raises:
        Refused: `unreadable`, an outline cannot be decoded or is not of the picture's size.
    """
    drawn: Mask | None = None
    if not item.tumour:
        drawn = np.zeros(masks.shape[1:], bool)
    elif item.mask is not None:
        drawn = _outline(read_mask(item.mask), masks)
    ours = masks[CHANNEL[item.definition or "core"]]
    second = None
    if item.mask2 is not None and drawn is not None and drawn.any():
        other = _outline(read_mask(item.mask2), masks)
        second = Second(
            drawn=int(other.sum()), with_first=int((other & drawn).sum()), with_ours=int((other & ours).sum())
        )
    row = Outlined(
        item=item,
        drawn=None if drawn is None else int(drawn.sum()),
        common=0 if drawn is None else int((ours & drawn).sum()),
        found=int(ours.sum()),
        largest=max(int(mask.sum()) for mask in masks),
        second=second,
    )
    return row, drawn


def _outline(outline: Mask, masks: NDArray[np.bool_]) -> Mask:
    if outline.shape != masks.shape[1:]:
        raise Refused(Code.UNREADABLE, "an outline is not of its picture's size")
    return outline


def _regions(group: str, pairs: Sequence[tuple[Mask, Mask]]) -> Lesions:
    if len({drawn.shape for drawn, _ in pairs}) > 1:  # slices of several sizes form no volume
        each = [lesions.compared(group, drawn[None], ours[None]) for drawn, ours in pairs]
        return Lesions(
            group=group,
            drawn=sum(one.drawn for one in each),
            met=sum(one.met for one in each),
            ours=sum(one.ours for one in each),
            false=sum(one.false for one in each),
        )
    return lesions.compared(group, np.stack([drawn for drawn, _ in pairs]), np.stack([ours for _, ours in pairs]))
