"""A profile on batches of planes: its steps in order, then the fit."""

from collections.abc import Callable
from typing import Any

from keras import ops

from models.prepare.canvas import Tensor
from models.prepare.fit import placed
from models.prepare.steps import ColourSteps, GreySteps
from pipeline.prepare.contrast import stretch
from pipeline.prepare.denoise import denoise
from pipeline.prepare.profiles import PROFILES

RGB = 3


class Preparation:
    """What `pipeline.prepare.profiles.prepare` does, on a batch of canvases."""

    def __init__(self, profile: str, channels: int, side: int) -> None:
        """For a `profile`, planes of 1 (grey) or 3 channels, and a network's square of `side` px."""
        self._side = side
        steps: Any = GreySteps() if channels == 1 else ColourSteps()
        twins: dict[Callable[..., Any], Callable[[Tensor, Tensor], Tensor]] = {
            denoise: steps.denoise,
            stretch: steps.stretch,
        }
        self._steps = [twins[step] for step in PROFILES[profile].steps]

    def __call__(self, canvases: Tensor, sizes: Tensor, boxes: Tensor) -> Tensor:
        """Prepare planes.

        Args:
            canvases: `(B, H, W, channels)` uint8, a plane in the upper left corner of each.
            sizes: heights and widths of the planes, `(B, 2)` float32, px, at least 1.
            boxes: rows and columns that they fill in the square, `(B, 2)` float32, px; 0: the square stays black.

        Returns:
            `(B, side, side, 3)` uint8 RGB.
        """
        planes = ops.cast(canvases, "float32")
        for step in self._steps:
            planes = step(planes, sizes)
        squares = [placed(planes[..., channel], sizes, boxes, self._side) for channel in range(planes.shape[-1])]
        return ops.cast(ops.stack(squares * (RGB // len(squares)), axis=-1), "uint8")
