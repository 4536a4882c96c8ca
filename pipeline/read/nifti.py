"""NIfTI-1 and NIfTI-2 volumes, cut into planes and shown as radiologists look at them; `pipeline.geometry` says how."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import LeftOut, ScanFailed
from neurobatch.records import ScanKind
from pipeline.geometry import volume_geometry
from pipeline.limits import Limits
from pipeline.read.nifti_header import NiftiHeader, parsed, without_texts
from pipeline.read.streams import gunzipped
from pipeline.volumes import Planes, Volume, check_size, grey_if_grey, ordered, scaled_planes

LABEL_VALUES = 8  # a volume of whole numbers with no more values than this is a mask or labels, not a scan
_PROBE = 1 << 16  # voxels looked at first


def read_nifti(data: bytes, limits: Limits) -> Volume:
    """Read a volume.

    Args:
        data: the file, gzipped or not, whatever its name says.

    Returns:
        Planes along the acquisition axis if its voxels are clearly thicker, else axial; 8-bit values as they are,
        deeper ones on one grey scale. `Geometry.space` leads back to the file's own array, exactly.

    Raises:
        ScanFailed: `truncated`, `damaged`, `unsupported_type`, `not_a_volume` (labels), `too_small`, `too_many_pixels`,
            `pair_of_files`, `out_of_memory`.
    """
    plain = gunzipped(data, limits.file_bytes)
    try:
        header = parsed(plain)
    except LeftOut as error:  # the planner left such files out; one that changed since then fails
        raise ScanFailed(error.code) from error
    geometry = volume_geometry(header.shape, header.affine, known=header.known, header=without_texts(header.raw))
    slices, rows, columns = geometry.shape
    check_size(rows, columns, slices, limits)
    if geometry.space is None:
        raise ScanFailed(Code.DAMAGED)
    planes = geometry.space.layout.to_planes(_voxels(plain, header))
    return Volume(
        kind=ScanKind.NIFTI,
        planes=_scaled(planes, header),
        geometry=geometry,
        warnings=ordered({*([Code.ORIENTATION_UNKNOWN] * (not header.known)), *([Code.PHANTOM] * header.phantom)}),
    )


def _voxels(data: bytes, header: NiftiHeader) -> NDArray[Any]:
    """The array as stored: `(i, j, k)`, or `(i, j, k, samples)` of bytes for colour. First axis fastest (Fortran)."""
    kind = np.dtype(np.uint8) if header.samples > 1 else header.raw.get_data_dtype()
    needed = header.voxels * header.samples * kind.itemsize
    if len(data) - header.offset < needed:
        raise ScanFailed(Code.TRUNCATED, "there are fewer voxels than the header says")
    flat = np.frombuffer(data, kind, count=header.voxels * header.samples, offset=header.offset)
    if header.samples == 1:
        return flat.reshape(header.shape, order="F")
    return np.moveaxis(flat.reshape((header.samples, *header.shape), order="F"), 0, -1)


def _scaled(planes: NDArray[Any], header: NiftiHeader) -> Planes:
    if header.samples > 1:
        return grey_if_grey(planes[..., :3])
    native = np.ascontiguousarray(planes, planes.dtype.newbyteorder("="))
    if _are_labels(native):
        raise ScanFailed(Code.NOT_A_VOLUME, "the volume has a few values only: a mask or labels")
    if native.dtype == np.uint8 and math.isclose(abs(header.slope), 1.0) and header.intercept == 0:
        return native if header.slope > 0 else np.subtract(255, native, dtype=np.uint8)
    # One scale for the whole volume changes no percentile, so the stored values will do, but for its sign.
    return scaled_planes(native, inverted=header.slope < 0)


def _are_labels(values: NDArray[Any]) -> bool:
    """Whether whole numbers take from two to eight values; a sample mostly tells."""
    if values.dtype.kind == "f":
        return False
    flat = values.reshape(-1)
    if np.unique(flat[:: max(1, flat.size // _PROBE)]).size > LABEL_VALUES:
        return False
    return 1 < np.unique(flat).size <= LABEL_VALUES
