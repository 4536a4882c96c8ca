"""Scans of which an expert said what they are, read as the pipeline reads them: heads, and all that is none.

A folder of samples has `files.csv`: file, series, modality, and under `action` what a sensible reader should do.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurobatch.errors import ScanFailed
from neurobatch.records import ScanKind
from pipeline import run
from pipeline.limits import Limits
from pipeline.volumes import Planes

FOLDERS = {"dicom": ScanKind.DICOM, "nifti": ScanKind.NIFTI}
KINDS = {
    "read_series": "head, MR series",
    "read_2d": "head, single MR image",
    "read_multiframe": "head, MR multi-frame",
    "read_series_split_volumes": "head, MR diffusion or function",
    "skip_not_mr": "no MR",
    "skip_not_head": "MR of another part of the body",
    "review_not_brain": "no brain though the header says so, or CT as NIfTI",
}
SLICES = 9  # of a volume, evenly spread: its verdict is that of its middle slice by oddness


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A scan, or some slices of it."""

    kind: str  # what it is; begins with "head" where it should not be found odd
    planes: tuple[Planes, ...]  # (h, w) or (h, w, 3)
    pixel_mm: tuple[float, float] | None


def samples_of(data: Path) -> Iterator[Sample]:
    """The samples in the sub-folders `dicom` and `nifti`, whatever the pipeline's plan would have left out of them."""
    for folder, kind in FOLDERS.items():
        if (data / folder / "files.csv").is_file():
            for meaning, files in _scans(data / folder):
                yield from _read(kind, files, meaning)


def scans_below(folder: Path) -> Iterator[Sample]:
    """Every picture below a folder that can be read."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield from _read(ScanKind.PICTURE, [file], "")


def _scans(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Files that are one scan, and what they are."""
    scans: dict[str, list[dict[str, str]]] = {}
    with (folder / "files.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            together = row.get("series") if row["action"] == "read_series" else None
            scans.setdefault(together or row["file"], []).append(row)
    for rows in scans.values():
        if rows[0]["action"] in KINDS:
            yield KINDS[rows[0]["action"]], [folder / row["file"] for row in rows]


def _read(kind: ScanKind, files: list[Path], meaning: str) -> Iterator[Sample]:
    try:
        volume = run.decode(kind, [file.read_bytes() for file in files], Limits())
    except ScanFailed:  # no scan, so no question
        return
    shown = run.look(volume)
    if shown:
        chosen = {shown[round(at)] for at in np.linspace(0, len(shown) - 1, min(SLICES, len(shown)))}
        planes = tuple(volume.planes[index] for index in sorted(chosen))
        yield Sample(kind=meaning, planes=planes, pixel_mm=volume.geometry.pixel_mm)
