"""The steps of profiles on batches of planes, in grey or in colour; each gives what its twin of one plane does."""

import cv2
from keras import ops

from models.prepare.canvas import Tensor
from models.prepare.colours import Greys, Table
from models.prepare.contrast import equalised
from models.prepare.nonlocal_means import filtered
from pipeline.prepare.denoise import SEARCH, STRENGTH


class GreySteps:
    """On `(B, H, W, 1)` float32 grey levels, with heights and widths `(B, 2)` float32; the same shape."""

    def __init__(self) -> None:
        """Made outside of what is compiled: it puts tables on the device."""
        self._greys = Greys()

    def denoise(self, planes: Tensor, sizes: Tensor) -> Tensor:
        """As `pipeline.prepare.denoise` does."""
        return _cleaned(planes, sizes)

    def stretch(self, planes: Tensor, sizes: Tensor) -> Tensor:
        """As `pipeline.prepare.contrast` does."""
        grey = planes[..., 0]
        return self._greys.back(equalised(self._greys.lightness(grey), sizes), grey)[..., None]


class ColourSteps:
    """On `(B, H, W, 3)` float32 RGB, with heights and widths `(B, 2)` float32; the same shape."""

    def __init__(self) -> None:
        """Made outside of what is compiled: it puts tables on the device."""
        self._to_linear_lab, self._from_linear_lab = Table(cv2.COLOR_LRGB2LAB), Table(cv2.COLOR_LAB2LRGB)
        self._to_lab, self._from_lab = Table(cv2.COLOR_RGB2LAB), Table(cv2.COLOR_LAB2RGB)

    def denoise(self, planes: Tensor, sizes: Tensor) -> Tensor:
        """As `pipeline.prepare.denoise` does: lightness and colour apart."""
        lab = self._to_linear_lab(planes)
        clean = ops.concatenate([_cleaned(lab[..., :1], sizes), _cleaned(lab[..., 1:], sizes)], axis=-1)
        return self._from_linear_lab(clean)

    def stretch(self, planes: Tensor, sizes: Tensor) -> Tensor:
        """As `pipeline.prepare.contrast` does: lightness alone."""
        lab = self._to_lab(planes)
        lightness = equalised(lab[..., 0], sizes)
        return self._from_lab(ops.concatenate([lightness[..., None], lab[..., 1:]], axis=-1))


def _cleaned(planes: Tensor, sizes: Tensor) -> Tensor:
    clean = filtered(ops.transpose(planes, (0, 3, 1, 2)), sizes, STRENGTH, SEARCH)
    return ops.transpose(clean, (0, 2, 3, 1))
