"""From a segmenter's maps to masks on a scan's own grid, their extents, and the files that hold them.

A mask is where the map, brought back onto the plane's grid, reaches the threshold. For pictures it is a PNG of 0 and
255 on the displayed grid; for volumes a NIfTI file in the geometry of the original, voxel for voxel.
"""

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Extent
from pipeline.geometry import Geometry, Space
from pipeline.png import png
from pipeline.prepare.fit import Fit

MASK_THRESHOLD = 0.5
ANY = "any"  # the region that any of a segmenter's definitions holds: what is drawn and saved
LENGTH_DIGITS = 2  # of mm, mm² and mm³ that are written
LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL
PACKING = 6  # zlib's level, fixed so that equal masks are equal bytes

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """What was segmented in one scan."""

    channels: Mask  # (c, n, h, w): one for each definition
    names: tuple[str, ...]  # what each channel means, as the network's card says

    @property
    def joined(self) -> Mask:
        """`(n, h, w)`: where any definition holds."""
        return np.asarray(self.channels.any(axis=0))


def restored(
    maps: Iterable[tuple[int, NDArray[np.float32]]],
    geometry: Geometry,
    names: Sequence[str],
    *,
    threshold: float = MASK_THRESHOLD,
    least_pixels: int = 0,
) -> Masks:
    """Bring a segmenter's maps back onto the scan's grid and cut them at the threshold.

    Args:
        maps: slice's index and map `(size, size, c)` float32, for the slices that were segmented, in any order.
        geometry: of the scan; its spacing tells how planes were fitted into the network's square.
        names: the meaning of each of the `c` channels.
        threshold: probability from which a pixel belongs to the mask.
        least_pixels: regions of fewer px (voxels of a volume) are taken away; 0 keeps all.

    Raises:
        Broken: `internal`, a map has another number of channels than there are names.
    """
    slices, rows, columns = geometry.shape
    channels = np.zeros((len(names), slices, rows, columns), np.bool_)
    for index, probabilities in maps:
        if probabilities.ndim != 3 or probabilities.shape[2] != len(names):
            raise Broken(Code.INTERNAL, f"a map of {probabilities.shape} for {len(names)} channels")
        fit = Fit.of(rows, columns, probabilities.shape[0], geometry.pixel_mm)
        for channel in range(len(names)):
            plane = np.ascontiguousarray(probabilities[..., channel], np.float32)
            channels[channel, index] = fit.restore(plane) >= threshold
    if least_pixels > 1:
        channels = np.stack([without_specks(channel, least_pixels) for channel in channels])
    return Masks(channels=channels, names=tuple(names))


def components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Label the connected regions of `(n, h, w)`: 8-connected within a slice, by shared pixels between slices.

    Returns:
        Labels `(n, h, w)`, 0 outside and 1..count inside, numbered by first slice; and the count.
    """
    if len(mask) == 1:
        count, plane = cv2.connectedComponents(mask[0].astype(np.uint8), connectivity=8)
        return np.asarray(plane, np.int32)[None], count - 1
    labels = np.zeros(mask.shape, np.int32)
    parents = [0]
    for index, plane in enumerate(mask):
        if not plane.any():
            continue
        count, found = cv2.connectedComponents(plane.astype(np.uint8), connectivity=8)
        labels[index] = np.where(found > 0, found + len(parents) - 1, 0)
        parents.extend(range(len(parents), len(parents) + count - 1))
        if index:
            _join(labels[index - 1], labels[index], parents)
    roots = np.array([_root(parents, label) for label in range(len(parents))])
    used, numbers = np.unique(roots, return_inverse=True)
    return numbers[labels].astype(np.int32), len(used) - 1


def without_specks(mask: Mask, least: int) -> Mask:
    """Keep the regions of `(n, h, w)` that have at least `least` px."""
    labels, count = components(mask)
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
    keep = sizes >= least
    keep[0] = False
    return np.asarray(keep[labels])


def extents(masks: Masks, geometry: Geometry) -> tuple[Extent, ...]:
    """How large each definition's region is, that of any definition first where there are several."""
    named = [*zip(masks.names, masks.channels, strict=True)]
    if len(named) > 1:
        named.insert(0, (ANY, masks.joined))
    return tuple(extent(name, mask, geometry) for name, mask in named)


def extent(definition: str, mask: Mask, geometry: Geometry) -> Extent:
    """Measure one region `(n, h, w)`. Lengths are between centres of pixels."""
    per_slice = np.count_nonzero(mask, axis=(1, 2))
    pixels = int(per_slice.sum())
    largest = int(np.argmax(per_slice)) if pixels else None
    area, volume = geometry.pixel_area_mm2, geometry.voxel_volume_mm3
    return Extent(
        definition=definition,
        pixels=pixels,
        area_mm2=None if area is None else round(float(per_slice.max()) * area, LENGTH_DIGITS),
        volume_mm3=None if volume is None or len(mask) == 1 else round(pixels * volume, LENGTH_DIGITS),
        diameter_mm=None if geometry.pixel_mm is None else _diameter(_cropped(mask), geometry.pixel_mm),
        components=components(_cropped(mask))[1],
        slices=int(np.count_nonzero(per_slice)),
        largest_slice=largest,
    )


def shares(masks: Masks) -> NDArray[np.float64]:
    """Share of its plane that the mask of each slice covers, by any definition: `(n,)`."""
    joined = masks.joined
    return np.asarray(np.count_nonzero(joined, axis=(1, 2)) / joined[0].size, np.float64)


def as_picture(mask: Mask) -> bytes:
    """A mask `(h, w)` as a PNG of 0 and 255, one channel; equal masks give equal bytes."""
    return png(mask.astype(np.uint8) * np.uint8(255))


def as_nifti(mask: Mask, geometry: Geometry) -> bytes:
    """A mask `(n, h, w)` as .nii.gz of 0 and 1 in the scan's original shape, affine and orientation (RAS+).

    A NIfTI scan's own header goes with it, without its texts. Equal masks give equal bytes.

    Raises:
        Broken: `internal`, the scan has no space of its own (a picture).
    """
    if geometry.space is None:
        raise Broken(Code.INTERNAL, "a picture's mask is a picture")
    header = _header(geometry.space, geometry)
    array = geometry.space.layout.to_array(mask).astype(np.uint8)
    size = int(header["sizeof_hdr"])
    header["vox_offset"] = size + 4
    body = bytes(header.binaryblock) + b"\0" * 4 + array.tobytes(order="F")
    return gzip.compress(body, compresslevel=PACKING, mtime=0)


def _header(space: Space, geometry: Geometry) -> Any:
    """A little-endian header for bytes of labels."""
    if space.header is not None:
        kind: Any = nibabel.Nifti1Header if len(space.header) == 348 else nibabel.Nifti2Header
        order = "<" if int.from_bytes(space.header[:4], "little") == len(space.header) else ">"
        header = kind(space.header, endianness=order, check=False).as_byteswapped("<")
    else:
        header = _fresh_header(space, geometry)
    header["datatype"], header["bitpix"] = 2, 8
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["cal_min"], header["cal_max"] = 0.0, 1.0
    header["intent_code"] = LABEL_INTENT
    header["descrip"] = b"neurobatch mask"
    return header


def _fresh_header(space: Space, geometry: Geometry) -> Any:
    kind: Any = nibabel.Nifti1Header
    header = kind(endianness="<")
    header.set_data_shape(space.shape)
    row_mm, column_mm = geometry.pixel_mm or (1.0, 1.0)
    header.set_zooms((column_mm, row_mm, geometry.slice_mm or 1.0))
    header.set_xyzt_units("mm")
    header["magic"] = b"n+1"
    if space.affine is not None:
        affine = np.array(space.affine)
        header.set_qform(affine, code=1)
        header.set_sform(affine, code=1)
    return header


def _cropped(mask: Mask) -> Mask:
    """The smallest box `(n, h, w)` that holds the mask: what is outside costs time and counts for nothing."""
    if not mask.any():
        return mask[:0]
    spans = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return mask[tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)]


def _join(above: NDArray[np.int32], below: NDArray[np.int32], parents: list[int]) -> None:
    both = (above > 0) & (below > 0)
    pairs = np.unique(above[both].astype(np.int64) << 32 | below[both])
    for pair in pairs.tolist():
        one, other = _root(parents, pair >> 32), _root(parents, pair & 0xFFFFFFFF)
        parents[max(one, other)] = min(one, other)


def _root(parents: list[int], label: int) -> int:
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


def _diameter(mask: Mask, pixel_mm: tuple[float, float]) -> float:
    """The longest distance in mm between two pixels of one region in one slice."""
    longest = 0.0
    for plane in mask:
        if plane.any():
            contours, _ = cv2.findContours(plane.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            longest = max(longest, *(_width(contour, pixel_mm) for contour in contours))
    return round(longest, LENGTH_DIGITS)


def _width(contour: NDArray[Any], pixel_mm: tuple[float, float]) -> float:
    """The largest distance between points of a convex hull: its Feret diameter, mm."""
    hull = cv2.convexHull(contour).reshape(-1, 2).astype(np.float64) * (pixel_mm[1], pixel_mm[0])
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2).max()))
