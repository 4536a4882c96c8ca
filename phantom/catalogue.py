"""Whole folders of phantoms: what is written for one order of scans, and the truth about it."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from phantom import writers
from phantom.lesions import LesionKind
from phantom.noise import Array
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
    thickness: float = 4.0  # mm from slice to slice of a volume


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of an order: its files, and the truth."""

    order: Order
    files: dict[str, bytes]  # path below the folder: content
    truth: tuple[npt.NDArray[np.uint8], ...]  # of each slice (h, w): 0 healthy, 1 abnormal, 2 solid tumour
    lesion: LesionKind | None
    pixel_mm2: float  # area of a pixel
    affine: Array  # of a volume's mask, as `phantom.writers.affine`

    @property
    def finding(self) -> str:
        """What a perfect reader finds."""
        return "tumour" if self.lesion else "no_tumour"

    @property
    def lesion_pixels(self) -> tuple[int, ...]:
        """Pixels of the lesion in each slice."""
        return tuple(int(np.count_nonzero(mask)) for mask in self.truth)

    def masks(self) -> dict[str, bytes]:
        """The truth as a file, by its path: a PNG of a picture, a NIfTI volume of a volume."""
        stem = self.order.name.removesuffix(".nii.gz")
        if self.order.kind is Kind.PICTURE:
            return {f"{Path(stem).with_suffix('')}_mask.png": writers.mask_bytes(self.truth[0])}
        return {f"{stem}_mask.nii.gz": writers.nifti_bytes(writers.volume(self.truth), self.affine)}


def make(order: Order) -> Made:
    """Make one scan. The same order gives the same arrays."""
    scan = Scan.draw(order.seed, look=order.look, lesion=order.lesion, size=order.size)
    picture = order.kind is Kind.PICTURE
    levels = [scan.best_level()] if picture else writers.levels_of(order.slices, order.thickness)
    images = [scan.image(level) for level in levels]
    matrix = writers.affine([scan.plane(level) for level in levels])
    return Made(
        order=order,
        files=_files(order, scan, levels, images, matrix),
        truth=tuple(image.mask for image in images),
        lesion=scan.lesion.kind if scan.lesion else None,
        pixel_mm2=scan.pitch**2,
        affine=matrix,
    )


def _files(order: Order, scan: Scan, levels: list[float], images: list[Image], matrix: Array) -> dict[str, bytes]:
    if order.kind is Kind.PICTURE:
        return {order.name: writers.picture_bytes(images[0], Path(order.name).suffix, deep=order.deep)}
    if order.kind is Kind.NIFTI:
        data = writers.volume([writers.stored(image) for image in images]).astype(np.int16)
        return {order.name: writers.nifti_bytes(data, matrix)}
    series = writers.dicom_series(scan, levels, images)
    return {f"{order.name}/{number:04d}.dcm": content for number, content in enumerate(series, start=1)}


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


TRUTH_COLUMNS = (
    "path",
    "finding",
    "lesion",
    "look",
    "kind",
    "seed",
    "lesion_pixels",
    "lesion_mm2",
    "lesion_mm3",
    "mask",
)


def truth_row(made: Made, mask: str) -> tuple[str, ...]:
    """The line of truth.csv about one scan; areas are those of the largest slice, volumes are given of volumes."""
    order, pixels = made.order, made.lesion_pixels
    area, whole = max(pixels) * made.pixel_mm2, sum(pixels) * made.pixel_mm2 * order.thickness
    return (
        order.name, made.finding, made.lesion or "", order.look, order.kind, str(order.seed), str(sum(pixels)),
        f"{area:.1f}", "" if order.kind is Kind.PICTURE else f"{whole:.1f}", mask,
    )  # fmt: skip


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> bytes:
    """A CSV file with a header (RFC 4180 but for the line ends, which are those of Unix)."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
