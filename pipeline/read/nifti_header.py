"""NIfTI headers: what a file claims to hold, told without reading its voxels (nifti1.h, nifti2.h of NIMH's DFWG)."""

import math
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from neurobatch.codes import Code
from neurobatch.errors import LeftOut, ScanFailed
from pipeline.geometry import usable, volume_geometry
from pipeline.read.streams import Head

HEADER_1_BYTES = 348
HEADER_2_BYTES = 540

_SINGLE = {348: (b"n+1\x00",), 540: (b"n+2\x00\r\n\x1a\n",)}
_PAIR = {348: (b"ni1\x00",), 540: (b"ni2\x00\r\n\x1a\n",)}
_MAGIC_AT = {348: 344, 540: 4}
_MAP_INTENTS = frozenset({*range(2, 25), 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011})
_CIFTI_INTENTS = range(3000, 3100)
_GREY_TYPES = frozenset({2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280})  # (u)int8 to (u)int64, float32, float64
_COLOUR_TYPES = {128: 3, 2304: 4}  # RGB24, RGBA32: samples of one byte each
_TEXTS = ("descrip", "aux_file", "intent_name", "db_name", "data_type")  # may name a patient


@dataclass(frozen=True, kw_only=True)
class NiftiHeader:
    """What is needed of a header to read and to give back a volume."""

    raw: Any  # nibabel's Nifti1Header or Nifti2Header
    shape: tuple[int, int, int]  # voxels; flat pictures have 1 as their last
    samples: int  # 1 grey, 3 RGB, 4 RGBA
    offset: int  # bytes before the first voxel
    slope: float
    intercept: float
    known: bool  # whether the file says how it lies in the patient
    affine: Any  # (4, 4) float64, voxel -> RAS+ mm; nibabel's convention where it is not known

    @property
    def phantom(self) -> bool:
        """Whether the description says that it shows a phantom."""
        return b"phantom" in bytes(self.raw["descrip"].tobytes()).lower()

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)


def looks_so(head: bytes) -> bool:
    """Whether these are the first bytes of a NIfTI-1 or NIfTI-2 file, or of a pair's or Analyze's header."""
    return header_size(head) is not None


def header_size(head: bytes) -> tuple[int, str] | None:
    """Length of the header (348 or 540) and its byte order ("<" or ">"); None where it is no header."""
    for order, name in (("<", "little"), (">", "big")):
        size = int.from_bytes(head[:4], "little" if name == "little" else "big")
        if size in _MAGIC_AT and len(head) >= min(size, HEADER_1_BYTES):
            magic = head[_MAGIC_AT[size] :][:8]
            if magic.startswith(_SINGLE[size] + _PAIR[size]) or (size == HEADER_1_BYTES and _analyze(head, order)):
                return size, order
    return None


def slices_of(head: Head) -> int:
    """How many planes a volume will have, for the planner.

    Raises:
        LeftOut: `not_a_volume`, `pair_of_files`.
    """
    try:
        header = parsed(head.read(HEADER_2_BYTES))
    except ScanFailed:
        return 1
    return volume_geometry(header.shape, header.affine, known=header.known).shape[0]


def parsed(data: bytes) -> NiftiHeader:
    """Read a header.

    Args:
        data: the file's first 540 bytes at least, or all of it.

    Raises:
        LeftOut: `not_a_volume` (a time series, a map, labels), `pair_of_files` (voxels lie in another file).
        ScanFailed: `damaged`, `truncated`, `unsupported_type`.
    """
    found = header_size(data)
    if found is None:
        raise ScanFailed(Code.DAMAGED, "no NIfTI header")
    size, order = found
    if not data[_MAGIC_AT[size] :].startswith(_SINGLE[size]):
        raise LeftOut(Code.PAIR_OF_FILES)
    if len(data) < size:
        raise ScanFailed(Code.TRUNCATED, "the header is cut short")
    kind: Any = nibabel.Nifti1Header if size == HEADER_1_BYTES else nibabel.Nifti2Header
    raw = kind(data[:size], endianness=order, check=False)
    shape = _shape(raw)
    affine, known = _affine(raw)
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        slope, intercept = 1.0, 0.0  # the standard's word for "not scaled"
    offset = float(raw["vox_offset"])
    if not math.isfinite(offset) or not 0 <= offset < 1 << 31:
        raise ScanFailed(Code.DAMAGED, "the offset of the voxels is impossible")
    return NiftiHeader(
        raw=raw,
        shape=shape,
        samples=_samples(raw),
        offset=max(int(offset), size),
        slope=slope,
        intercept=intercept,
        known=known,
        affine=affine,
    )


def without_texts(raw: Any) -> bytes:
    """The header's bytes with its free texts blanked, since they may name a patient."""
    clean = raw.copy()
    for field in _TEXTS:
        if field in clean.keys():  # noqa: SIM118 - a header's keys are methods of nibabel, not of a dict
            clean[field] = b""
    return bytes(clean.binaryblock)


def _analyze(head: bytes, order: str) -> bool:
    """An Analyze 7.5 header has no magic: its extents field and a sane number of dimensions tell it."""
    dims = int.from_bytes(head[40:42], "little" if order == "<" else "big")
    return 1 <= dims <= 7 and head[38:39] in (b"r", b"\x00") and head[_MAGIC_AT[348] :][:4] == b"\x00" * 4


def _shape(raw: Any) -> tuple[int, int, int]:
    dims = [int(value) for value in raw["dim"]]
    count, intent = dims[0], int(raw["intent_code"])
    if intent in _MAP_INTENTS or intent in _CIFTI_INTENTS:
        raise LeftOut(Code.NOT_A_VOLUME)
    if not 1 <= count <= 7 or any(value < 1 for value in dims[1 : count + 1]):
        raise ScanFailed(Code.DAMAGED, "the dimensions are impossible")
    if any(value > 1 for value in dims[4 : count + 1]):
        raise LeftOut(Code.NOT_A_VOLUME)
    sizes = [*dims[1 : count + 1], 1, 1, 1][:3]
    return sizes[0], sizes[1], sizes[2]


def _samples(raw: Any) -> int:
    kind = int(raw["datatype"])
    if kind in _GREY_TYPES:
        return 1
    if kind in _COLOUR_TYPES:
        return _COLOUR_TYPES[kind]
    raise ScanFailed(Code.UNSUPPORTED_TYPE, f"NIfTI data type {kind}")


def _affine(raw: Any) -> tuple[Any, bool]:
    """The s-form, else the q-form, else nibabel's base affine (x to the left), which is a guess."""
    try:
        if int(raw["sform_code"]) > 0 and usable(raw.get_sform()):
            return np.asarray(raw.get_sform(), np.float64), True
        if int(raw["qform_code"]) > 0 and usable(raw.get_qform()):
            return np.asarray(raw.get_qform(), np.float64), True
        base = np.asarray(raw.get_base_affine(), np.float64)
    except (HeaderDataError, ValueError, FloatingPointError):
        base = np.diag([-1.0, 1.0, 1.0, 1.0])
    return (base if usable(base) else np.diag([-1.0, 1.0, 1.0, 1.0])), False
