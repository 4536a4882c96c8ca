"""What a phantom is made of, and the shares of it in each sample of a plane."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from phantom.geometry import Plane, cover
from phantom.noise import Array


class Tissue(StrEnum):
    """One kind of matter; `phantom.sequences` says how bright each is."""

    AIR = "air"
    SKIN = "skin"
    FAT = "fat"
    MUSCLE = "muscle"
    BONE = "bone"
    MARROW = "marrow"
    DURA = "dura"
    CSF = "csf"  # around the brain
    VENTRICLE = "ventricle"  # the same fluid within
    GREY = "grey"
    WHITE = "white"
    PALLIDUM = "pallidum"
    CEREBELLUM = "cerebellum"
    STEM = "stem"
    CHOROID = "choroid"
    BLOOD = "blood"
    MUCOSA = "mucosa"
    VITREOUS = "vitreous"
    OEDEMA = "oedema"
    GLIOMA = "glioma"
    ENHANCING = "enhancing"
    NECROSIS = "necrosis"
    MENINGIOMA = "meningioma"


Window = tuple[slice, slice]  # rows, columns
WHOLE: Window = (slice(None), slice(None))


@dataclass(frozen=True, slots=True)
class Layer:
    """A tissue laid over all that was laid before it."""

    tissue: Tissue
    window: Window  # the part of the plane that `share` covers
    share: Array  # (h, w) of the window, 0 … 1


@dataclass(kw_only=True)
class Canvas:
    """A plane on which tissues are laid, one over the other, from the skin inwards."""

    plane: Plane
    points: Array  # (3, h, w): the plane's samples in the coordinates of the standard head, mm
    size: Array  # (3,): the subject's head / the standard head
    layers: list[Layer] = field(default_factory=list)

    def lay(
        self,
        tissue: Tissue,
        distance: Array,
        *,
        soft: float = 1.0,
        share: float | Array = 1.0,
        window: Window = WHOLE,
    ) -> None:
        """Lay `tissue` where `distance` (mm) is negative, with an edge of `soft` samples."""
        self.layers.append(Layer(tissue, window, cover(distance, soft * self.plane.pitch) * share))

    def lay_share(self, tissue: Tissue, share: Array) -> None:
        """Lay `tissue` over the whole plane by its share (h, w) of each sample."""
        self.layers.append(Layer(tissue, WHOLE, share))

    def points_in(self, window: Window) -> Array:
        """The points of a window, (3, h, w)."""
        return self.points[:, window[0], window[1]]

    def near(self, centre: tuple[float, float, float], reach: float) -> Window | None:
        """The samples within about `reach` mm of `centre` (standard head), or None where the plane passes by.

        The bends of the subject and the push of a lesion move things by up to `_SLACK`.
        """
        gap = np.array(centre) * self.size - self.plane.origin
        if abs(float(gap @ self.plane.normal)) > reach + _SLACK:
            return None
        pitch = self.plane.pitch
        row = float(gap @ self.plane.down) / pitch**2
        column = float(gap @ self.plane.across) / pitch**2
        half = (reach + _SLACK) / pitch
        height, width = self.plane.shape
        top, bottom = max(0, int(row - half)), min(height, int(row + half) + 2)
        left, right = max(0, int(column - half)), min(width, int(column + half) + 2)
        if top >= bottom or left >= right:
            return None
        return slice(top, bottom), slice(left, right)


_SLACK = 9.0  # mm


def share_of(layers: Iterable[Layer], tissues: Collection[Tissue], shape: tuple[int, int]) -> Array:
    """The share (h, w) of each sample that is of one of `tissues` after all `layers` were laid."""
    total = np.zeros(shape)
    for layer in layers:
        part = total[layer.window]
        part += layer.share * (float(layer.tissue in tissues) - part)
    return total
