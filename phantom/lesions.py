"""Lesions: where they grow, what they are made of, and how they push the brain aside."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from phantom.geometry import cover, length
from phantom.noise import Array, Waves
from phantom.skull import radius
from phantom.subject import Subject
from phantom.tissues import Canvas, Tissue, share_of


class LesionKind(StrEnum):
    """A kind of tumour."""

    GLIOMA = "glioma"  # diffuse, of low grade: bright on FLAIR, takes up no contrast agent
    GLIOBLASTOMA = "glioblastoma"  # an enhancing ring around necrosis, in oedema
    MENINGIOMA = "meningioma"  # outside of the brain, on the dura; enhances evenly


_RADII: dict[LesionKind, tuple[float, float]] = {
    LesionKind.GLIOMA: (22, 31),
    LesionKind.GLIOBLASTOMA: (24, 33),
    LesionKind.MENINGIOMA: (17, 25),
}
_CORE = 0.62  # radius of the solid tumour / radius of tumour and oedema


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One tumour in one head."""

    kind: LesionKind
    centre: Array  # (3,), mm in the subject's head
    radius: float  # of tumour and oedema, mm
    stretch: Array  # (3,): how much longer it is along x, y, z
    outline: Waves  # unevenness of the outer edge
    lumps: Waves  # unevenness of the solid part
    push: float  # how far it shifts the brain at its edge, mm

    @classmethod
    def draw(cls, rng: np.random.Generator, subject: Subject, kind: LesionKind) -> Self:
        """A tumour of `kind` at a place at random where it has room."""
        size = float(rng.uniform(*_RADII[kind]))
        return cls(
            kind=kind,
            centre=_place(rng, subject, kind, size) * subject.size,
            radius=size,
            stretch=rng.uniform(0.85, 1.15, 3),
            outline=Waves.draw(rng, shortest=16, longest=45, count=16),
            lumps=Waves.draw(rng, shortest=9, longest=24, count=16),
            push=float(rng.uniform(0.15, 0.3)) * size,
        )

    def undo_push(self, points: Array) -> Array:
        """Where the matter at `points` (3, h, w) was before the tumour pushed it outwards."""
        away = points - self.centre[:, None, None]
        far = length(away)
        shift = self.push * np.exp(-((far / (1.7 * self.radius)) ** 2)) * far / (far + 0.4 * self.radius)
        before: Array = points - away / np.maximum(far, 1e-6) * shift
        return before

    def lay(self, canvas: Canvas, inside: Array) -> tuple[Array, Array]:
        """Lay the tumour; the shares (h, w) of all that is abnormal, and of the solid tumour."""
        plane = canvas.plane
        if abs(float((self.centre - plane.origin) @ plane.normal)) > 1.8 * self.radius:
            return np.zeros(plane.shape), np.zeros(plane.shape)
        away = length((plane.points - self.centre[:, None, None]) / self.stretch[:, None, None])
        fluid = share_of(canvas.layers, {Tissue.VENTRICLE, Tissue.CHOROID}, plane.shape)
        white = share_of(canvas.layers, {Tissue.WHITE}, plane.shape)
        if self.kind is LesionKind.MENINGIOMA:
            return self._lay_meningioma(canvas, away, inside, fluid, white)
        edge = away - self.radius * (1 + 0.16 * plane.field(self.outline))
        within = cover(1.5 - inside, 1.0) * (1 - fluid)
        sulci = share_of(canvas.layers, {Tissue.CSF}, plane.shape)
        within *= 1 - 0.8 * sulci * cover(-edge - 9, 6)  # the swollen brain has no room for sulci
        if self.kind is LesionKind.GLIOMA:
            return self._lay_glioma(canvas, edge, within)
        return self._lay_glioblastoma(canvas, away, edge, within, white)

    def _lay_glioma(self, canvas: Canvas, edge: Array, within: Array) -> tuple[Array, Array]:
        whole = cover(edge, 4.5) * within
        core = cover(edge + 0.35 * self.radius, 6) * within
        canvas.lay_share(Tissue.OEDEMA, whole)
        canvas.lay_share(Tissue.GLIOMA, core)
        lumps = canvas.plane.field(self.lumps)
        canvas.lay_share(Tissue.NECROSIS, cover(edge + 0.5 * self.radius + 6 * np.abs(lumps - 0.6), 3) * 0.4 * within)
        return whole, core

    def _lay_glioblastoma(
        self, canvas: Canvas, away: Array, edge: Array, within: Array, white: Array
    ) -> tuple[Array, Array]:
        lumps = canvas.plane.field(self.lumps)
        solid = away - self.radius * _CORE * (1 + 0.17 * lumps)
        oedema = cover(edge, 3.5) * within * (0.25 + 0.75 * white)
        core = cover(solid, 1.5) * within
        canvas.lay_share(Tissue.OEDEMA, oedema)
        canvas.lay_share(Tissue.ENHANCING, core)
        canvas.lay_share(Tissue.NECROSIS, cover(solid + 5.0 + 2.5 * np.clip(lumps, -1, 1), 2.0) * core)
        return np.maximum(oedema, core), core

    def _lay_meningioma(
        self, canvas: Canvas, away: Array, inside: Array, fluid: Array, white: Array
    ) -> tuple[Array, Array]:
        lumps = canvas.plane.field(self.lumps)
        solid = np.maximum(away - self.radius * (1 + 0.07 * lumps), 0.3 - inside)
        edge = away - self.radius * (1.35 + 0.15 * canvas.plane.field(self.outline))
        oedema = cover(edge, 3.0) * white * (1 - fluid) * cover(1.5 - inside, 1.0)
        core = cover(solid, 1.3)
        canvas.lay_share(Tissue.OEDEMA, 0.8 * oedema)
        canvas.lay_share(Tissue.CSF, cover(np.maximum(solid - 0.8, 0.3 - inside), 1.3) * 0.6)
        canvas.lay_share(Tissue.MENINGIOMA, core * np.clip(0.95 + 0.05 * lumps, 0, 1))
        return np.maximum(oedema, core), core


def _place(rng: np.random.Generator, subject: Subject, kind: LesionKind, size: float) -> Array:
    """A place in the standard head: with room around, or for a meningioma on the convexity."""
    while True:
        side = rng.choice((-1.0, 1.0))
        spot = np.array((side * rng.uniform(16, 62), rng.uniform(-66, 62), rng.uniform(6, 48)))
        room = 68 * (1 - float(radius(spot, subject.narrowing)))  # mm, roughly
        low, high = (0.3 * size, 0.52 * size) if kind is LesionKind.MENINGIOMA else (0.8 * size + 3, 45.0)
        if low < room < high:
            return spot
