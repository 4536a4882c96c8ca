"""CIE LAB as OpenCV has it, looked up: each of the 2²⁴ colours has its own in a table that OpenCV filled.

So not one grey level differs. A table takes 64 MiB of the device: a colour is one float32, which holds 24 bits exactly.
"""

import cv2
import numpy as np
from keras import ops
from numpy.typing import NDArray

from models.prepare.canvas import Tensor, constant, looked_up

BASE = 256
ROWS = 4096  # of the picture that holds all colours


class Table:
    """Turns colours into others."""

    def __init__(self, code: int) -> None:
        """`code`: OpenCV's, such as `cv2.COLOR_RGB2LAB`."""
        self._packed = constant(_packed(code))

    def __call__(self, colours: Tensor) -> Tensor:
        """`(…, 3)` float32, grey levels; the same shape."""
        packed = looked_up(self._packed, (colours[..., 0] * BASE + colours[..., 1]) * BASE + colours[..., 2])
        first = ops.floor(packed * (1 / BASE**2))
        second = ops.floor(packed * (1 / BASE)) - first * BASE
        third = packed - (first * BASE + second) * BASE
        return ops.stack([first, second, third], axis=-1)


class Greys:
    """Lightness of a grey, and the grey that another lightness makes of it."""

    def __init__(self) -> None:
        """Made by OpenCV as `pipeline.prepare.contrast` does it: as of a picture in colour."""
        grey = np.arange(BASE, dtype=np.uint8)
        lab = cv2.cvtColor(np.repeat(grey[None, :, None], 3, axis=2), cv2.COLOR_RGB2LAB)
        changed = np.broadcast_to(lab, (BASE, BASE, 3)).copy()  # by lightness and by the grey that it was
        changed[..., 0] = grey[:, None]
        back = cv2.cvtColor(changed, cv2.COLOR_LAB2RGB)[..., 1]
        self._lightness, self._back = constant(lab[0, :, 0]), constant(back.ravel())

    def lightness(self, planes: Tensor) -> Tensor:
        """Of grey levels `(…)` float32."""
        return looked_up(self._lightness, planes)

    def back(self, lightness: Tensor, planes: Tensor) -> Tensor:
        """The grey levels that `planes` have with another lightness."""
        return looked_up(self._back, lightness * BASE + planes)


def _packed(code: int) -> NDArray[np.float32]:
    every = np.arange(BASE**3, dtype="<u4").view(np.uint8).reshape(ROWS, -1, 4)  # blue, green, red, nothing
    found = cv2.cvtColor(cv2.cvtColor(every, cv2.COLOR_BGRA2RGB), code)
    packed = np.ascontiguousarray(cv2.cvtColor(found, cv2.COLOR_RGB2BGRA)).view("<u4").ravel()
    return (packed % BASE**3).astype(np.float32)  # without what stands for opacity
