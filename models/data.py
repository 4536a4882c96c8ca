"""Labelled pictures to train and to evaluate on: what is known of each, its planes, and many of them prepared.

Which there are is read from the tables of their sets (`models.sets`).
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Refused
from pipeline.prepare.fit import Fit
from pipeline.prepare.profiles import prepare

Definition = Literal["flair", "core"]
View = Literal["colour", "pre", "flair", "post"]
CHANNEL_OF: dict[View, int] = {"pre": 0, "flair": 1, "post": 2}  # of an LGG composite, for an RGB reader


@dataclass(frozen=True, kw_only=True)
class Item:
    """One labelled picture of a set."""

    source: str  # lgg, t1ce, or for web pictures where they were found
    file: Path
    mask: Path | None  # None: no outline, which says nothing about the label
    mask2: Path | None  # a second reader's outline
    definition: Definition | None  # what the outline outlines
    tumour: bool
    group: str  # patient, or pictures that are near-duplicates: never split
    split: str  # train, val
    plane: str  # axial, coronal, sagittal; empty where it is not stated
    doubtful: bool  # somebody who looked at it doubts the label
    kind: str = ""  # what the set says of it beyond yes and no: glioma, meningioma, …
    number: int = 0  # of the slice in its volume
    row: int = 0  # in its set's table, where the header is row 1
    table: Literal["slices", "images"] = "slices"  # which of a set's two tables it stands in


def read_plane(file: Path, view: View = "colour") -> NDArray[np.uint8]:
    """Decode a picture to a plane `(h, w, 3)` RGB uint8; `(h, w)` where it is grey, or for a view of one channel.

    Raises:
        Refused: `unreadable`, it cannot be decoded.
    """
    picture = cv2.imread(os.fspath(file), cv2.IMREAD_ANYCOLOR)
    if picture is None:
        raise Refused(Code.UNREADABLE, "a picture of the set cannot be decoded")
    if picture.ndim == 2:
        return np.asarray(picture, np.uint8)
    rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
    if view == "colour":
        return rgb
    return np.ascontiguousarray(rgb[:, :, CHANNEL_OF[view]])


def read_mask(file: Path) -> NDArray[np.bool_]:
    """Decode an outline to `(h, w)` bool.

    Raises:
        Refused: `unreadable`, it cannot be decoded.
    """
    grey = cv2.imread(os.fspath(file), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise Refused(Code.UNREADABLE, "an outline of the set cannot be decoded")
    return np.asarray(grey > 127)


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Prepared pictures of a set in memory-mapped arrays, so that an epoch decodes nothing."""

    items: tuple[Item, ...]
    views: tuple[View, ...]  # one per row, beside `items`
    sources: NDArray[np.uint8]  # (n, size, size, 4): RGB, and the outline: 255 = tumour, zero where there is none

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """The pictures alone, `(n, size, size, 3)`."""
        return self.sources[..., :3]

    @property
    def masks(self) -> NDArray[np.uint8]:
        """The outlines alone, `(n, size, size)`."""
        return self.sources[..., 3]


def open_cache(rows: Sequence[tuple[Item, View]], profile: str, size: int, folder: Path) -> Cache:
    """Prepare `rows` once, and map what was prepared.

    The folder's name holds a digest over rows, profile and size, so another choice never meets old pictures.

    Raises:
        Refused: a picture or an outline cannot be decoded, or the profile is unknown.
    """
    place = folder / f"{profile}-{size}-{_digest(rows, profile, size)}"
    if not (place / "sources.npy").is_file():
        _fill(rows, profile, size, place)
    return Cache(
        items=tuple(item for item, _ in rows),
        views=tuple(view for _, view in rows),
        sources=np.load(place / "sources.npy", mmap_mode="r"),
    )


def _fill(rows: Sequence[tuple[Item, View]], profile: str, size: int, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    sources = np.lib.format.open_memmap(place / "sources.tmp", "w+", np.uint8, (len(rows), size, size, 4))

    def fill(index: int) -> None:
        item, view = rows[index]
        sources[index, ..., :3] = prepare(read_plane(item.file, view), profile, size)
        if item.mask is not None and item.tumour:
            sources[index, ..., 3] = fitted_mask(read_mask(item.mask), size)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # OpenCV lets others run while it works
        list(threads.map(fill, range(len(rows))))
    sources.flush()
    (place / "sources.tmp").rename(place / "sources.npy")


def fitted_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """An outline `(h, w)` bool in the network's square `(size, size)` uint8, 255 = tumour."""
    square = Fit.of(mask.shape[0], mask.shape[1], size).apply(mask.astype(np.uint8) * 255)
    return np.asarray((square[:, :, 0] > 127) * 255, np.uint8)


def _digest(rows: Iterable[tuple[Item, View]], profile: str, size: int) -> str:
    text = "\n".join(f"{item.source} {item.file.absolute()} {view}" for item, view in rows)
    return hashlib.sha256(f"{profile} {size}\n{text}".encode()).hexdigest()[:12]
