"""Cerebrum with its folded cortex, cerebellum and brain stem."""

from dataclasses import dataclass

import cv2
import numpy as np

from phantom.geometry import blend, capsule, ellipsoid, length, mirrored
from phantom.noise import Array
from phantom.subject import Subject
from phantom.tissues import Canvas, Tissue


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Distances (mm, negative inside) to the parts of the brain, before folding."""

    cerebrum: Array
    cerebellum: Array
    stem: Array
    nearest: Array  # to any of them
    pial: Array  # depth below the brain's own convexity, mm


def parts(subject: Subject, points: Array, inside: Array, ripple: Array) -> Parts:
    """Place the parts: cerebrum on the skull's floor and the tentorium, cerebellum below, and the stem."""
    x, y, z = points
    pial = inside - (1.0 + 2.2 * subject.atrophy + 0.4 * ripple)
    both = mirrored(points)
    tent = -20 + 17 * np.clip(1 - (x / 46) ** 2, 0, 1) * np.clip((y + 88) / 48, 0, 1)
    floor = np.where(y < -22, tent, -15 - 6 * np.clip((y - 10) / 40, -0.5, 1)) + 1.2 * ripple
    cerebrum = np.maximum(-pial, floor - z)
    if z.min() < 10:
        lobe = ellipsoid(both, (40, 3, -20), (23, 41, 25))
        lobe = blend(lobe, np.maximum(capsule(both, (25, -4, -14), (26, -52, -6), (9, 10)), tent - z), 5)
        temporal = np.maximum(lobe, -pial)
        cerebrum = blend(cerebrum, temporal, 4)
    far = np.full(x.shape, 99.0)
    cerebellum, stem = far, far
    if z.min() < 12:
        lobes = ellipsoid(both, (22, -54, -32), (31, 30, 25))
        vermis = ellipsoid(points, (0, -50, -24), (12, 24, 24))
        cerebellum = np.maximum(np.maximum(blend(lobes, vermis, 6), 2.0 - inside), z - tent + 2.0)
        stem = capsule(points, (0, -19, 4), (0, -19, -12), (13.5, 13))
        stem = blend(stem, ellipsoid(points, (0, -15, -26), (17, 14, 13)), 5)
        stem = blend(stem, capsule(points, (0, -22, -36), (0, -30, -80), (9, 6.5)), 5)
        arm = capsule(both, (8, -22, -27), (22, -42, -30), (8, 8))
        stem = blend(stem, arm, 4)
    nearest = np.minimum(np.minimum(cerebrum, cerebellum), stem)
    return Parts(cerebrum=cerebrum, cerebellum=cerebellum, stem=stem, nearest=nearest, pial=pial)


def lay(canvas: Canvas, subject: Subject, shapes: Parts, bend: Array, grain: Array) -> None:
    """Lay cerebellum, stem and the folded cerebrum."""
    _hindbrain(canvas, shapes, grain)
    points = canvas.points
    callosum = ellipsoid(points, (0, -4, 6), (40, 40, 24))
    medial = np.abs(points[0] - 0.6 * canvas.plane.field(subject.ripple))
    gap = 0.7 + 0.7 * subject.atrophy
    surface = np.where(callosum < 0, shapes.pial, np.minimum(shapes.pial, medial - gap))
    sulcus, reach, core = _sulci(canvas, subject, surface, bend)
    deepest = np.clip(19 + 6 * reach, 6, 28)
    taper = np.clip(1.2 - surface / deepest, 0.25, 1.2)
    # a sulcus gapes where it reaches the surface
    half = (0.4 + 0.8 * subject.atrophy) * taper + (1.1 + 0.9 * subject.atrophy) * np.exp(-surface.clip(0) / 4)
    cleft = np.maximum(np.maximum(sulcus - half, surface - deepest), 15 - core)
    fissure = np.maximum(medial - gap, -callosum)
    canvas.lay(Tissue.GREY, np.maximum(shapes.cerebrum, -fissure), soft=1.4)
    lining = np.minimum(np.minimum(cleft, np.maximum(medial - gap, -callosum - 2)), surface)
    lining = np.minimum(lining, -shapes.cerebrum)
    canvas.lay(Tissue.WHITE, subject.cortex - lining + 0.35 * grain, soft=2.4)
    # a slice is thicker than a sulcus is wide: it never holds fluid alone
    canvas.lay(Tissue.CSF, np.maximum(cleft, shapes.cerebrum), soft=2.0, share=0.88)
    falx = np.maximum(medial - 0.5, np.maximum(-callosum + 4, 0.5 - shapes.pial))
    canvas.lay(Tissue.DURA, falx, soft=1.5, share=0.5)


def _sulci(canvas: Canvas, subject: Subject, surface: Array, bend: Array) -> tuple[Array, Array, Array]:
    """Distances to the middle of the nearest sulcus, down to its floor, and to the hemisphere's core.

    A sulcus is a sheet that stands on the cortex: the folding pattern lives on the surface of a rod in each
    hemisphere, and a sample has the value of the point of the rod from which it is seen outwards. It is
    smooth, so every second sample is enough.
    """
    plane = canvas.plane
    sparse = canvas.points[:, ::2, ::2]
    curl = plane.thinned(2).fields(subject.curl)
    bent = sparse + 3.2 * bend[:, ::2, ::2] + 1.3 * curl
    axis = np.stack([np.where(sparse[0] > 0, 28.0, -28.0), np.clip(bent[1], -46, 36), np.full(sparse.shape[1:], 4.0)])
    outward = bent - axis
    core = length(outward)
    seen = axis + outward * (40 / np.maximum(core, 1))
    pattern, reach = np.zeros(core.shape), np.zeros(core.shape)
    near = (surface[::2, ::2] > -5) & (surface[::2, ::2] < 32)
    pattern[near] = subject.folds.at(seen[:, near])
    reach[near] = subject.depths.at(seen[:, near])
    pattern, reach, core = (_refine(each, plane.shape) for each in (pattern, reach, core))
    down, across = np.gradient(pattern, canvas.plane.pitch)
    sulcus: Array = np.abs(pattern) / np.sqrt(down**2 + across**2 + 0.05**2)
    return sulcus, reach, core


def _refine(sparse: Array, shape: tuple[int, int]) -> Array:
    """Bring a smooth function from every second sample to all (h, w)."""
    rows, columns = np.arange(shape[0], dtype=np.float32) / 2, np.arange(shape[1], dtype=np.float32) / 2
    x, y = np.meshgrid(columns, rows)
    fine = cv2.remap(sparse, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return fine.astype(np.float64, copy=False)


def _hindbrain(canvas: Canvas, shapes: Parts, grain: Array) -> None:
    """Cerebellum with folia (parallel sheets) and its white core; stem."""
    if canvas.points[2].min() > 10:
        return
    window = canvas.near((0, -45, -30), 52)
    if window is None:
        return
    points, lobe = canvas.points_in(window), shapes.cerebellum[window]
    canvas.lay(Tissue.CEREBELLUM, lobe, soft=1.3, window=window)
    around = np.sqrt(points[0] ** 2 * 0.5 + (points[1] + 20) ** 2 + (points[2] + 26) ** 2)
    folium = np.cos(around * (2 * np.pi / 4.6) + 1.4 * grain[window])
    canvas.lay(Tissue.CSF, lobe + 0.6, soft=2, share=0.30 * np.clip(folium - 0.35, 0, 1), window=window)
    for side in (-1, 1):
        white = ellipsoid(points, (side * 20, -46, -31), (17, 13, 10)) + 2.2 * grain[window]
        canvas.lay(Tissue.WHITE, np.maximum(white, lobe + 3), soft=4, share=0.8, window=window)
    canvas.lay(Tissue.STEM, shapes.stem[window], soft=1.5, window=window)
    fourth = ellipsoid(points, (0, -35, -28), (6, 4.5, 10))
    canvas.lay(Tissue.VENTRICLE, fourth, soft=1.5, window=window)
