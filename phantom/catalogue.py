"""Whole folders of phantoms: what is written for one order of scans, and the truth about it."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from pathlib import Path

import numpy as np

from phantom import writers
from phantom.lesions import LesionKind
from phantom.scan import Image, Scan
from phantom.sequences import Look


class Kind(StrEnum):
    """What a scan is written as."""

    PICTURE = "picture"
    DICOM = "dicom"
    NIFTI = "nifti"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One scan to be made."""

    name: str  # path below the folder: of the file, or of the series' folder
    seed: int
    kind: Kind
    look: Look
    lesion: bool | LesionKind
    size: int  # rows and columns
    deep: bool = False  # 16 bits a sample (grey PNG or TIFF)
    slices: int = 20  # of a volume
    thickness: float = 5.0  # mm from slice to slice of a volume


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of an order: its files, the masks of the truth, and the truth in figures."""

    order: Order
    files: dict[str, bytes]  # path below the folder: content
    masks: dict[str, bytes]
    lesion: LesionKind | None
    lesion_voxels: int
    lesion_mm3: float  # of a picture: mm², as if the slice were 1 mm thick

    @property
    def finding(self) -> str:
        """What a perfect reader finds."""
        return "tumour" if self.lesion else "no_tumour"


def make(order: Order) -> Made:
    """Make one scan. The same order gives the same arrays."""
    scan = Scan.draw(order.seed, look=order.look, lesion=order.lesion, size=order.size)
    if order.kind is Kind.PICTURE:
        image = scan.image(scan.best_level())
        suffix = Path(order.name).suffix
        files = {order.name: writers.picture_bytes(image, suffix, deep=order.deep)}
        masks = {_mask_name(order.name): writers.mask_bytes(image.mask)}
        return _made(order, scan, [image], 1.0, files, masks)
    levels = writers.levels_of(order.slices, order.thickness)
    images = [scan.image(level) for level in levels]
    matrix = writers.affine([scan.plane(level) for level in levels])
    truth = writers.nifti_bytes(writers.volume([image.mask for image in images]), matrix)
    masks = {_mask_name(order.name, ".nii.gz"): truth}
    if order.kind is Kind.NIFTI:
        data = writers.volume([writers.stored(image) for image in images]).astype(np.int16)
        files = {order.name: writers.nifti_bytes(data, matrix)}
    else:
        series = writers.dicom_series(scan, levels, images)
        files = {f"{order.name}/{number:04d}.dcm": content for number, content in enumerate(series, start=1)}
    return _made(order, scan, images, order.thickness, files, masks)


def _made(
    order: Order,
    scan: Scan,
    images: list[Image],
    thickness: float,
    files: dict[str, bytes],
    masks: dict[str, bytes],
) -> Made:
    voxels = sum(int(np.count_nonzero(image.mask)) for image in images)
    return Made(
        order=order,
        files=files,
        masks=masks,
        lesion=scan.lesion.kind if scan.lesion else None,
        lesion_voxels=voxels,
        lesion_mm3=round(voxels * scan.pitch**2 * thickness, 1),
    )


def _mask_name(name: str, suffix: str = ".png") -> str:
    stem = name.removesuffix(".nii.gz") if name.endswith(".nii.gz") else str(Path(name).with_suffix(""))
    return f"{stem}_mask{suffix}"


_SUFFIXES = (".png", ".jpg", ".tif", ".png")  # the last one with 16 bits


def orders(
    *, count: int, seed: int, kind: Kind | None, lesions: float, look: Look | None, size: int, slices: int
) -> Iterator[Order]:
    """`count` orders; the share `lesions` of them, evenly spread, with a lesion. None: some of each."""
    for index in range(count):
        number = seed * 1_000_003 + index  # so that neighbouring seeds share no scan
        each = kind or _MIX[index % len(_MIX)]
        weighting = look or _LOOKS[index % len(_LOOKS)]
        if each is not Kind.PICTURE and weighting is Look.COMPOSITE:
            weighting = Look.FLAIR  # a volume has one sequence
        suffix = {Kind.DICOM: "", Kind.NIFTI: ".nii.gz"}.get(each, _SUFFIXES[index % 4])
        yield Order(
            name=f"phantom_{index:06d}{suffix}",
            seed=number,
            kind=each,
            look=weighting,
            lesion=int((index + 1) * lesions + 1e-9) > int(index * lesions + 1e-9),
            size=size,
            deep=index % 4 == 3,
            slices=slices,
        )


_MIX = (Kind.PICTURE, Kind.PICTURE, Kind.DICOM, Kind.PICTURE, Kind.PICTURE, Kind.NIFTI)
_LOOKS = (Look.FLAIR, Look.FLAIR, Look.COMPOSITE, Look.COMPOSITE, Look.T1CE, Look.T2, Look.T2)


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write files below `folder`; paths that exist are written over."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


TRUTH_COLUMNS = ("path", "finding", "lesion", "look", "kind", "seed", "lesion_voxels", "lesion_mm3", "mask")


def truth_row(made: Made, masks: bool) -> tuple[str, ...]:
    """The line of truth.csv about one scan."""
    order = made.order
    mask = next(iter(made.masks)) if masks else ""
    return (
        order.name, made.finding, made.lesion or "", order.look, order.kind, str(order.seed),
        str(made.lesion_voxels), str(made.lesion_mm3), mask,
    )  # fmt: skip


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> bytes:
    """A CSV file with a header (RFC 4180 but for the line ends, which are those of Unix)."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
