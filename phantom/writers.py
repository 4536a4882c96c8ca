"""Phantom scans as files: PNG (8 and 16 bit), JPEG, TIFF, a DICOM series, a NIfTI volume.

The arrays in a file depend on the scan alone. The bytes of DICOM and TIFF files do too: nothing in them
is compressed and every header field is ours. Those of PNG and `.nii.gz` also depend on the zlib, of JPEG on
the libjpeg, that Python's libraries were built with.
"""

import gzip
import hashlib
from collections.abc import Sequence
from io import BytesIO

import nibabel
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import PngImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from phantom.geometry import Plane
from phantom.noise import Array
from phantom.scan import Image, Scan
from phantom.scanner import to_uint8, to_uint16
from phantom.sequences import Sequence as Weighting

PICTURES = (".png", ".jpg", ".tif")
_WHITE = 1600  # what 1.0 is in DICOM and NIfTI; scanners use some such number of their 4,096
_WHITE_PNG16 = 52000
_NOTE = "phantom, no patient"  # what every file says of itself


def picture_bytes(image: Image, suffix: str, *, deep: bool = False) -> bytes:
    """The slice as a picture: grey or RGB, 8 bits a channel, or 16 for a grey PNG or TIFF where `deep`."""
    if deep and len(image.channels) == 1 and suffix != ".jpg":
        picture = Pillow.fromarray(to_uint16(image.channels[0], _WHITE_PNG16))
    else:
        planes = [to_uint8(channel) for channel in image.channels]
        picture = Pillow.fromarray(planes[0] if len(planes) == 1 else np.dstack(planes))
    return _encode(picture, suffix)


def mask_bytes(mask: npt.NDArray[np.uint8]) -> bytes:
    """The truth of one slice as a PNG: 0 healthy, 255 abnormal."""
    return _encode(Pillow.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8)), ".png")


def _encode(picture: Pillow.Image, suffix: str) -> bytes:
    stream = BytesIO()
    if suffix == ".jpg":
        picture.save(stream, "JPEG", quality=92, subsampling=0, comment=_NOTE)
    elif suffix == ".tif":
        picture.save(stream, "TIFF", description=_NOTE)
    else:
        text = PngImagePlugin.PngInfo()
        text.add_text("Description", _NOTE)
        picture.save(stream, "PNG", compress_level=6, pnginfo=text)
    return stream.getvalue()


# -- volumes ----------------------------------------------------------------------------------------------


def affine(planes: Sequence[Plane]) -> Array:
    """Voxel (column, row from the back, slice) to RAS millimetres, (4, 4): that of `volume`."""
    first, last = planes[0], planes[-1]
    matrix = np.eye(4)
    matrix[:3, 0] = first.across
    matrix[:3, 1] = -first.down
    matrix[:3, 2] = (last.origin - first.origin) / max(1, len(planes) - 1)
    matrix[:3, 3] = first.origin + (first.shape[0] - 1) * first.down
    return matrix


def volume(planes: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    """Slices (h, w), feet first, as a NIfTI array (w, h, n) whose rows run from back to front."""
    return np.stack([plane[::-1].T for plane in planes], axis=-1)


def nifti_bytes(data: npt.NDArray[np.generic], matrix: Array) -> bytes:
    """A compressed NIfTI-1 file (.nii.gz) without a time stamp."""
    image = nibabel.Nifti1Image(data, matrix)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm", "sec")  # type: ignore[no-untyped-call]
    image.set_sform(matrix, code=1)  # type: ignore[no-untyped-call]
    image.set_qform(matrix, code=1)  # type: ignore[no-untyped-call]
    image.header["descrip"] = _NOTE.encode()
    return gzip.compress(image.to_bytes(), compresslevel=9, mtime=0)


def levels_of(slices: int, thickness: float) -> list[float]:
    """The levels (mm) of a stack from just below the vertex downwards, feet first."""
    return [_TOP - thickness * (slices - 1 - index) for index in range(slices)]


_TOP = 66.0  # mm


def stored(image: Image) -> npt.NDArray[np.uint16]:
    """The grey slice (h, w) as a volume's file stores it, 12 bits."""
    return to_uint16(image.channels[0], _WHITE).clip(max=4095)


def dicom_series(scan: Scan, levels: Sequence[float], images: Sequence[Image]) -> list[bytes]:
    """The slices as a DICOM series of MR images (PS3.3 A.4), feet first; uncompressed, 12 of 16 bits."""
    planes = [scan.plane(level) for level in levels]
    return [_instance(scan, planes, number, stored(image)) for number, image in enumerate(images, start=1)]


def _uid(*parts: object) -> UID:
    """A UID below 2.25, which needs no registration (PS3.5 B.2): a UUID made from `parts`."""
    digest = bytearray(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80  # RFC 9562, version 8
    return UID(f"2.25.{int.from_bytes(digest, 'big')}")


def _instance(scan: Scan, planes: Sequence[Plane], number: int, pixels: npt.NDArray[np.uint16]) -> bytes:
    key = (scan.seed, scan.look.value, scan.size, len(planes))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = _uid("instance", *key, number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # our own, since pydicom's default names its version and would change the bytes with it
    meta.ImplementationClassUID = _uid("implementation")
    meta.ImplementationVersionName = "NEUROBATCH"
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid("study", *key), _uid("series", *key)
    data.FrameOfReferenceUID = _uid("frame", *key)
    for describe in (_describe_patient, _describe_scanner):
        describe(data, scan)
    _describe_place(data, planes, number)
    _describe_pixels(data, pixels)
    stream = BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _describe_patient(data: Dataset, scan: Scan) -> None:
    data.SpecificCharacterSet = "ISO_IR 100"
    data.PatientName, data.PatientID = f"Phantom^Number {scan.seed}", f"PHANTOM-{scan.seed}"
    data.PatientBirthDate, data.PatientSex, data.PatientComments = "", "O", "A phantom; no patient"
    data.StudyDate = data.SeriesDate = data.ContentDate = "20000101"
    data.StudyTime = data.SeriesTime = data.ContentTime = "120000"
    data.AccessionNumber, data.ReferringPhysicianName, data.StudyID = "", "", "1"
    data.StudyDescription, data.SeriesDescription = "Head phantom", f"AXIAL {scan.look.value.upper()}"
    data.QualityControlImage = "YES"  # (0028,0300): "quality control or phantom image"
    data.BurnedInAnnotation = "NO"


#: Scanning sequence, sequence variant, and TR, TE, TI in ms (PS3.3 C.8.3.1) as clinics use them.
_TIMES: dict[Weighting, tuple[str, str, str, float, float, float | None]] = {
    Weighting.T1: ("SE", "NONE", "", 500, 12, None),
    Weighting.T1CE: ("SE", "NONE", "", 500, 12, None),
    Weighting.FLAIR: ("IR", "SK", "", 9000, 120, 2500),
    Weighting.T2: ("SE", "SK", "", 4500, 100, None),
    Weighting.PD: ("SE", "SK", "", 2500, 20, None),
}


def _describe_scanner(data: Dataset, scan: Scan) -> None:
    weighting = scan.look.sequences[0]
    sequence, variant, options, repetition, echo, inversion = _TIMES[weighting]
    data.Modality, data.Manufacturer, data.ManufacturerModelName = "MR", "neurobatch", "phantom generator"
    data.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    data.BodyPartExamined, data.PatientPosition, data.PositionReferenceIndicator = "HEAD", "HFS", ""
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions = sequence, variant, options
    data.MRAcquisitionType, data.MagneticFieldStrength = "2D", "1.5"
    data.RepetitionTime, data.EchoTime, data.EchoTrainLength = repetition, echo, "1"
    if inversion is not None:
        data.InversionTime = inversion
    if weighting is Weighting.T1CE:
        data.ContrastBolusAgent = "simulated gadolinium"


def _describe_place(data: Dataset, planes: Sequence[Plane], number: int) -> None:
    plane = planes[number - 1]
    spacing = float((planes[-1].origin - planes[0].origin) @ plane.normal) / max(1, len(planes) - 1)
    to_lps = np.array([-1.0, -1.0, 1.0])  # the head's RAS to DICOM's LPS (PS3.3 C.7.6.2.1.1)
    data.SeriesNumber, data.AcquisitionNumber, data.InstanceNumber = 1, 1, number
    data.ImagePositionPatient = _decimals(plane.origin * to_lps)
    directions = np.concatenate([plane.across, plane.down]) / plane.pitch
    data.ImageOrientationPatient = _decimals(directions * np.tile(to_lps, 2))
    data.PixelSpacing = _decimals(np.array([plane.pitch, plane.pitch]))
    data.SliceThickness = data.SpacingBetweenSlices = _decimals(np.array([abs(spacing)]))[0]
    data.SliceLocation = _decimals(np.array([plane.origin @ plane.normal]))[0]


def _decimals(values: Array) -> list[str]:
    """Decimal strings (VR DS: at most 16 characters)."""
    return [f"{value:.9f}"[:16] for value in values + 0.0]


def _describe_pixels(data: Dataset, pixels: npt.NDArray[np.uint16]) -> None:
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.WindowCenter, data.WindowWidth = "700", "1400"
    data.PixelData = pixels.astype("<u2").tobytes()
