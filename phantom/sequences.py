"""How bright each tissue is in each sequence, as a share of the brightest fat (spin echo, 1.5 T)."""

from enum import StrEnum

import numpy as np

from phantom.noise import Array
from phantom.tissues import Layer, Tissue


class Sequence(StrEnum):
    """A weighting of the picture."""

    T1 = "t1"
    T1CE = "t1ce"
    FLAIR = "flair"
    T2 = "t2"
    PD = "pd"


class Look(StrEnum):
    """What a picture shows: one sequence in grey, or T1, FLAIR and T1 after contrast as red, green, blue."""

    T1 = "t1"
    T1CE = "t1ce"
    FLAIR = "flair"
    T2 = "t2"
    PD = "pd"
    COMPOSITE = "composite"

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """The sequence of each channel."""
        if self is Look.COMPOSITE:
            return Sequence.T1, Sequence.FLAIR, Sequence.T1CE
        return (Sequence(self.value),)


#: T1, T1 after contrast, FLAIR, T2, PD
_BRIGHTNESS: dict[Tissue, tuple[float, float, float, float, float]] = {
    Tissue.AIR: (0.0, 0.0, 0.0, 0.0, 0.0),
    Tissue.SKIN: (0.55, 0.60, 0.45, 0.35, 0.50),
    Tissue.FAT: (1.00, 0.92, 0.85, 0.72, 0.80),
    Tissue.MUSCLE: (0.36, 0.42, 0.28, 0.17, 0.40),
    Tissue.BONE: (0.05, 0.06, 0.05, 0.04, 0.06),
    Tissue.MARROW: (0.62, 0.60, 0.45, 0.40, 0.50),
    Tissue.DURA: (0.25, 0.55, 0.20, 0.12, 0.25),
    Tissue.CSF: (0.14, 0.11, 0.08, 0.85, 0.60),
    Tissue.VENTRICLE: (0.14, 0.11, 0.08, 0.92, 0.60),
    Tissue.GREY: (0.375, 0.325, 0.51, 0.48, 0.74),
    Tissue.WHITE: (0.50, 0.40, 0.42, 0.34, 0.60),
    Tissue.PALLIDUM: (0.47, 0.38, 0.42, 0.29, 0.56),
    Tissue.CEREBELLUM: (0.40, 0.34, 0.465, 0.44, 0.69),
    Tissue.STEM: (0.46, 0.375, 0.43, 0.37, 0.62),
    Tissue.CHOROID: (0.38, 0.80, 0.45, 0.70, 0.70),
    Tissue.BLOOD: (0.16, 0.90, 0.12, 0.08, 0.15),
    Tissue.MUCOSA: (0.40, 0.75, 0.55, 0.75, 0.65),
    Tissue.VITREOUS: (0.15, 0.14, 0.10, 0.95, 0.60),
    Tissue.OEDEMA: (0.38, 0.30, 0.75, 0.74, 0.84),
    Tissue.GLIOMA: (0.33, 0.28, 0.84, 0.80, 0.88),
    Tissue.ENHANCING: (0.40, 0.88, 0.72, 0.60, 0.78),
    Tissue.NECROSIS: (0.26, 0.24, 0.50, 0.80, 0.75),
    Tissue.MENINGIOMA: (0.41, 0.80, 0.60, 0.52, 0.72),
}


def brightness(tissue: Tissue, sequence: Sequence) -> float:
    """The brightness of `tissue` in `sequence`, 0 … 1."""
    return _BRIGHTNESS[tissue][list(Sequence).index(sequence)]


def expose(layers: tuple[Layer, ...], sequence: Sequence, shape: tuple[int, int], fat: float = 1.0) -> Array:
    """The ideal picture of the layers, (h, w) 0 … 1: each is laid over those before it.

    `fat` dims what holds fat, as fat saturation does.
    """
    picture = np.zeros(shape)
    for layer in layers:
        bright = brightness(layer.tissue, sequence) * (fat if layer.tissue in _FATTY else 1.0)
        part = picture[layer.window]
        part += layer.share * (bright - part)
    return picture


_FATTY = frozenset({Tissue.FAT, Tissue.MARROW})
