"""Series whose truth is known: LGG patients as composite and as FLAIR alone, and heads in DICOM and NIfTI files."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data import Item, View, read_plane
from models.sets import read_sets
from neurobatch.errors import LeftOut
from neurobatch.records import ScanKind
from pipeline.geometry import Geometry
from pipeline.limits import Limits
from pipeline.read.dicom_header import DicomHeader
from pipeline.read.grouping import group
from pipeline.read.sort import HEAD_BYTES, describe, sniff
from pipeline.run import decode
from pipeline.volumes import Volume

HEADS = Path(__file__).parent / "configs" / "heads.csv"
VIEWS: tuple[View, ...] = ("colour", "flair")
TRAINING_STRIDE = 6  # of the patients whom the networks have seen, every sixth will do


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series, and what is known of it."""

    name: str
    group: str  # the patient
    part: str  # lgg, lgg-flair or heads
    split: str  # train: the networks have seen the patient; val; empty where they know nothing of it
    tumour: bool
    slices: NDArray[np.bool_] | None  # which slices have a tumour, (n,); None where it is not known
    read: Callable[[], Volume]
    about: str = ""


def lgg_series(folder: Path) -> Iterator[Series]:
    """Every validation patient and every sixth training patient of LGG, as composite and as FLAIR alone.

    Raises:
        Refused: the folder holds no set.
    """
    by_patient: dict[str, list[Item]] = defaultdict(list)
    for item in read_sets(folder):
        by_patient[item.group].append(item)
    patients = sorted(by_patient.items())
    seen = [patient for patient in patients if patient[1][0].split != "val"]
    unseen = [patient for patient in patients if patient[1][0].split == "val"]
    for view in VIEWS:
        for name, items in [*unseen, *seen[::TRAINING_STRIDE]]:
            ordered = sorted(items, key=lambda item: item.number)
            yield Series(
                name=f"{name} {view}",
                group=name,
                part="lgg" if view == "colour" else "lgg-flair",
                split=ordered[0].split,
                tumour=any(item.tumour for item in ordered),
                slices=np.array([item.tumour for item in ordered], bool),
                read=_pictures(ordered, view),
            )


def head_series(data: Path, table: Path = HEADS) -> Iterator[Series]:
    """The volumes that a table (pattern of paths below `data`, finding, about) names; what is not there is missing."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        for name, read in _volumes(data, row["path"]):
            yield Series(
                name=f"{row['path']} {name}".strip(),
                group=row["path"],
                part="heads",
                split="train" if "training patient" in row["about"] else "",
                tumour=row["finding"] == "tumour",
                slices=None,
                read=read,
                about=row["about"],
            )


def _pictures(items: list[Item], view: View) -> Callable[[], Volume]:
    def read() -> Volume:
        planes = [read_plane(item.file, view) for item in items]
        if view == "colour":
            planes = [plane if plane.ndim == 3 else np.repeat(plane[:, :, None], 3, axis=2) for plane in planes]
        stack = np.stack(planes)
        rows, columns = stack.shape[1:3]
        return Volume(kind=ScanKind.PICTURE, planes=stack, geometry=Geometry(shape=(len(stack), rows, columns)))

    return read


def _volumes(data: Path, pattern: str) -> Iterator[tuple[str, Callable[[], Volume]]]:
    """NIfTI volumes and grouped DICOM series at or below paths, read as the pipeline reads them."""
    limits = Limits()
    places = [path for place in sorted(data.glob(pattern)) for path in (place, *place.rglob("*"))]
    files = sorted(path for path in places if path.is_file())
    headers: list[DicomHeader] = []
    contents: list[bytes] = []
    for file in files:
        content = file.read_bytes()
        try:
            told = describe(sniff(content[:HEAD_BYTES], file.name), file.name, io.BytesIO(content), limits)
        except LeftOut:
            continue
        if told.header is not None:
            headers.append(told.header)
            contents.append(content)
        elif told.kind is ScanKind.NIFTI:
            yield "" if file == data / pattern else file.name, _decoder(ScanKind.NIFTI, [content], limits)
    for number, plan in enumerate(group(headers, limits)):
        yield str(number), _decoder(ScanKind.DICOM, [contents[index] for index in plan.members], limits)


def _decoder(kind: ScanKind, files: list[bytes], limits: Limits) -> Callable[[], Volume]:
    return lambda: decode(kind, files, limits)
