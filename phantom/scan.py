"""A phantom scan: one subject, perhaps with a lesion, in one scanner, as a picture or a stack of slices."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from phantom import anatomy
from phantom.geometry import Plane
from phantom.lesions import Lesion, LesionKind
from phantom.noise import Array
from phantom.scanner import Scanner
from phantom.sequences import Look
from phantom.subject import Subject

#: Kinds of tumour that show in each look, so that a phantom with a lesion has something to be found.
SHOWN: dict[Look, tuple[LesionKind, ...]] = {
    Look.T1: (LesionKind.GLIOBLASTOMA,),
    Look.T1CE: (LesionKind.GLIOBLASTOMA, LesionKind.MENINGIOMA),
    Look.FLAIR: (LesionKind.GLIOMA, LesionKind.GLIOBLASTOMA),
    Look.T2: (LesionKind.GLIOMA,),
    Look.PD: (LesionKind.GLIOMA, LesionKind.GLIOBLASTOMA),
    Look.COMPOSITE: (LesionKind.GLIOMA, LesionKind.GLIOBLASTOMA),
}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One slice of a phantom."""

    channels: tuple[Array, ...]  # one for grey, three (red, green, blue) for colour; (h, w), 1.0 is white
    mask: npt.NDArray[np.uint8]  # (h, w): 0 healthy, 1 abnormal, 2 solid tumour


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One phantom scan. The same seed and arguments give the same scan."""

    seed: int
    look: Look
    subject: Subject
    scanner: Scanner
    lesion: Lesion | None
    size: int  # rows and columns
    pitch: float  # mm between samples

    @classmethod
    def draw(cls, seed: int, *, look: Look, lesion: bool | LesionKind, size: int = 256) -> Self:
        """Draw the scan number `seed`; `lesion` True takes a kind that shows in `look`."""
        head, disease, machine = (np.random.default_rng([seed, part]) for part in (1, 2, 3))
        subject = Subject.draw(head)
        tumour = None
        if lesion:
            kinds = SHOWN[look]
            kind = lesion if isinstance(lesion, LesionKind) else kinds[int(disease.integers(len(kinds)))]
            tumour = Lesion.draw(disease, subject, kind)
        pitch = round(float(machine.uniform(215, 250)) / size, 4)
        scanner = Scanner.draw(machine)
        return cls(seed=seed, look=look, subject=subject, scanner=scanner, lesion=tumour, size=size, pitch=pitch)

    def plane(self, level: float) -> Plane:
        """The axial plane at `level` mm in head coordinates: rows run to the back, columns to the left."""
        half = self.pitch * (self.size - 1) / 2
        turn = self.subject.pose
        return Plane(
            origin=turn @ np.array([half, half - _ISOCENTRE, level]),
            across=turn @ np.array([-self.pitch, 0.0, 0.0]),
            down=turn @ np.array([0.0, -self.pitch, 0.0]),
            shape=(self.size, self.size),
        )

    def image(self, level: float) -> Image:
        """The slice at `level` mm in the scanner's axes."""
        plane = self.plane(level)
        section = anatomy.cut(self.subject, plane, self.lesion)
        # the level in the seed, so that each slice has noise of its own whatever was drawn before it
        rng = np.random.default_rng([self.seed, 4, round((level + 500) * 1000)])
        acquire = self.scanner.acquire
        channels = tuple(acquire(section, plane.shape, sequence, rng) for sequence in self.look.sequences)
        mask = np.zeros(plane.shape, np.uint8)
        mask[section.window][section.lesion > 0.5] = 1
        mask[section.window][section.core > 0.5] = 2
        return Image(channels=channels, mask=mask)

    def best_level(self) -> float:
        """The level (mm) for a single picture: through the lesion's middle, or at random."""
        rng = np.random.default_rng([self.seed, 5])
        if self.lesion is None:
            return float(rng.uniform(*_SINGLE))
        height = float((self.subject.pose.T @ self.lesion.centre)[2])
        return height + float(rng.uniform(-0.2, 0.2)) * self.lesion.radius


_ISOCENTRE = 7.0  # mm by which the middle of the picture lies behind the middle of the brain's coordinates
_SINGLE = (11.0, 21.0)  # mm: levels of single pictures of healthy heads
