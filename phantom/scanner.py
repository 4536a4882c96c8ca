"""What a scanner makes of an ideal picture: coil shading, blur, noise, and numbers of so many bits."""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from phantom.anatomy import Section
from phantom.noise import Array, Waves
from phantom.sequences import Sequence, brightness, expose
from phantom.tissues import Tissue


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """The traits of one examination's images."""

    shading: Waves  # the coil's sensitivity
    depth: float  # share by which the shading changes brightness
    surface: float  # how much brighter the coil sees what is near the skin
    blur: float  # of the point spread, mm
    noise: float  # standard deviation of each of the two channels, as a share of the brightest fat
    white_matter: dict[Sequence, float]  # how bright the display shows white matter, 1.0 is white
    fat: dict[Sequence, float]  # share of its usual brightness that fat has

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """A scanner at random, as good as clinical ones are."""
        return cls(
            shading=Waves.draw(rng, shortest=220, longest=500, count=8),
            depth=float(rng.uniform(0.03, 0.10)),
            surface=float(rng.uniform(0.0, 0.25)),
            blur=float(rng.uniform(0.4, 0.65)),
            noise=float(rng.uniform(0.006, 0.018)),
            white_matter={sequence: float(rng.uniform(*_WHITE_MATTER[sequence])) for sequence in Sequence},
            fat={sequence: float(rng.uniform(0.55, 0.95)) for sequence in Sequence},
        )

    def acquire(self, section: Section, shape: tuple[int, int], sequence: Sequence, rng: np.random.Generator) -> Array:
        """The picture of `section` in `sequence`, of `shape` (h, w), about 0 … 1.

        `rng` gives the noise, which is Rician: the magnitude of a complex signal (Gudbjartsson & Patz 1995).
        """
        plane = section.plane
        ideal = expose(section.layers, sequence, plane.shape, self.fat[sequence])
        uneven = 1 + 0.025 * section.grain
        near = np.exp(-section.inside.clip(-15) / 25) - 0.6  # of the skin
        coil = 1 + self.depth * plane.field(self.shading) + self.surface * near
        real, imaginary = self.noise * rng.standard_normal((2, *shape))
        real[section.window] += cv2.GaussianBlur(ideal * uneven * coil.clip(0.3), (0, 0), self.blur / plane.pitch)
        magnitude = np.sqrt(real**2 + imaginary**2)
        picture: Array = magnitude * (self.white_matter[sequence] / brightness(Tissue.WHITE, sequence))
        return picture


#: As in published sets of clinical pictures: the window leaves room for fat and contrast agent.
_WHITE_MATTER: dict[Sequence, tuple[float, float]] = {
    Sequence.T1: (0.24, 0.40),
    Sequence.T1CE: (0.22, 0.32),
    Sequence.FLAIR: (0.20, 0.36),
    Sequence.T2: (0.22, 0.32),
    Sequence.PD: (0.35, 0.50),
}


def to_uint8(picture: Array) -> npt.NDArray[np.uint8]:
    """The picture as 8-bit grey: 1.0 is white."""
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def to_uint16(picture: Array, white: int) -> npt.NDArray[np.uint16]:
    """The picture as unsigned 16-bit numbers in which 1.0 is `white`."""
    return np.clip(np.rint(picture * white), 0, 65535).astype(np.uint16)
