"""Separate regions of a scan: which of those that a reader outlined were met, and which of ours nobody outlined."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.masks import components

OVERLAP = 0.1  # share of a region's px that the other mask must hold, for the region to count as met
LEAST_PX = 10  # px (voxels of a volume): smaller regions are specks of drawing and are not counted

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """Connected regions of one scan: of a volume in three dimensions, of a picture in two."""

    group: str
    drawn: int  # outlined by a reader
    met: int  # of these, those that ours covers by `OVERLAP` at least
    ours: int
    false: int  # of ours, those that lie in the reader's by less than `OVERLAP`


def compared(group: str, drawn: Mask, ours: Mask) -> Lesions:
    """Compare two masks `(n, h, w)` of one scan region by region."""
    shares, others = _covered(drawn, ours), _covered(ours, drawn)
    return Lesions(
        group=group,
        drawn=len(shares),
        met=int((shares >= OVERLAP).sum()),
        ours=len(others),
        false=int((others < OVERLAP).sum()),
    )


def _covered(mask: Mask, by: Mask) -> NDArray[np.float64]:
    """For each region of `mask` that is no speck, the share of it that `by` holds too."""
    if not mask.any():
        return np.zeros(0)
    labels, count = components(mask)
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
    common = np.bincount(labels[by], minlength=count + 1)[1:]
    kept = sizes >= LEAST_PX
    return np.asarray(common[kept] / sizes[kept])
