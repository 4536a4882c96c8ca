"""Little scans by number: pictures, DICOM instances and series, NIfTI volumes, archives; no patient's."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROOT = "1.2.826.0.1.3680043.10.1"  # pydicom's test root, for made-up instances


def ramp(rows: int = 24, columns: int = 32, number: int = 0) -> NDArray[np.uint16]:
    """A 12-bit plane in which every pixel tells its place."""
    return (np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns) * 2 + 10 * number + 1) % 4096


def picture(array: NDArray[Any], form: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """An array as a picture file."""
    out = io.BytesIO()
    Image.fromarray(array, mode).save(out, form, **options)
    return out.getvalue()


def dicom(
    series: int = 1,
    number: int = 1,
    position: Sequence[float] | None = (0.0, 0.0, 0.0),
    pixels: NDArray[Any] | None = None,
    orientation: Sequence[float] | None = AXIAL,
    **fields: Any,
) -> bytes:
    """One MR instance as a file. `fields` set or (with None) take away elements by keyword."""
    values = ramp(number=number) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(MR_IMAGE)
    meta.MediaStorageSOPInstanceUID = UID(f"{ROOT}.{series}.{number}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    chosen: dict[str, Any] = {
        "SOPClassUID": MR_IMAGE,
        "SOPInstanceUID": f"{ROOT}.{series}.{number}",
        "StudyInstanceUID": f"{ROOT}.9",
        "SeriesInstanceUID": f"{ROOT}.{series}",
        "Modality": "MR",
        "BodyPartExamined": "HEAD",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "InstanceNumber": number,
        "PixelSpacing": [0.5, 0.75],
        "SliceThickness": 2.0,
        "Rows": values.shape[-2],
        "Columns": values.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": values.dtype.itemsize * 8,
        "BitsStored": values.dtype.itemsize * 8,
        "HighBit": values.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "ImagePositionPatient": None if position is None else list(position),
        "ImageOrientationPatient": None if orientation is None else list(orientation),
        "PixelData": values.tobytes(),
        **fields,
    }
    for keyword, value in chosen.items():
        if value is not None:
            setattr(data, keyword, value)
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def dicom_series(count: int, series: int = 1, gap_mm: float = 3.0, **fields: Any) -> list[bytes]:
    """Axial slices from low to high; instance numbers run the other way, so that they mislead."""
    return [dicom(series, count - k, (-10.0, -20.0, gap_mm * k), ramp(number=k), **fields) for k in range(count)]


def nifti(
    array: NDArray[Any],
    affine: NDArray[Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    *,
    packed: bool = False,
    second: bool = False,
) -> bytes:
    """A volume as a NIfTI-1 (or -2) file. `fields` are set in its header's bytes."""
    kind: Any = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = kind(array, np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine)
    data: bytes = image.to_bytes()
    size = int.from_bytes(data[:4], "little")
    header = type(image.header)(data[:size], check=False)
    for name, value in (fields or {}).items():
        header[name] = value
    data = header.binaryblock + data[size:]
    return gzip.compress(data, mtime=0) if packed else data


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar archive, gzipped for mode `w:gz`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]  # the mode is a variable
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
