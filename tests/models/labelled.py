"""Labelled sets that a test draws: heads with a bright spot, their outlines and tables."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data import Item

SIDE = 96  # px


def head(side: int = SIDE) -> NDArray[np.uint8]:
    """An oval on black, `(side, side)`."""
    y, x = np.mgrid[:side, :side] - side / 2
    return np.where((y / 1.2) ** 2 + x**2 < (side * 0.35) ** 2, 90, 0).astype(np.uint8)


def spot(row: int, column: int, radius: int, side: int = SIDE) -> NDArray[np.uint8]:
    """A round outline, 255 inside."""
    y, x = np.mgrid[:side, :side]
    inside = (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return np.where(inside, 255, 0).astype(np.uint8)


def write_picture(file: Path, picture: NDArray[np.uint8]) -> str:
    """Write a picture; gives its name in its set."""
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), picture)
    return file.name


def write_table(file: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write a table under a header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def patients(folder: Path, split: str) -> Path:
    """A set of two patients: composites of two slices each, one of them with a lesion and its outline."""
    rows = []
    for patient in ("Smith", "Jones"):
        for number in (1, 2):
            lesion = spot(40, 36, 9) if number == 2 else spot(0, 0, 1) * 0
            grey, name = head() + lesion // 2, f"{patient}_{number}.png"
            write_picture(folder / name, np.dstack([grey, grey, head()]))
            write_picture(folder / f"mask_{name}", lesion)
            rows.append({"patient": patient, "slice": number, "file": name, "mask": f"mask_{name}", "split": split})
    write_table(folder / "slices.csv", rows)
    return folder


def item(group: str, *, tumour: bool) -> Item:
    """A slice of an LGG patient, without a file."""
    return Item(
        source="lgg",
        file=Path("x"),
        mask=None,
        mask2=None,
        definition="flair",
        tumour=tumour,
        group=group,
        split="val",
        plane="axial",
        doubtful=False,
    )
