"""What lies deep in the brain: insula, basal ganglia, thalami, ventricles, plexus; and the large vessels."""

from itertools import pairwise

import numpy as np

from phantom.geometry import blend, capsule, ellipsoid, mirrored
from phantom.noise import Array
from phantom.subject import Subject
from phantom.tissues import Canvas, Tissue, Window


def lay(canvas: Canvas, subject: Subject, bent: Array, inside: Array, grain: Array) -> None:
    """Lay the deep structures at `bent`, the canvas's points after the subject's bend, (3, h, w)."""
    for side in (-1, 1):
        window = canvas.near((side * 48, 5, 1), 32)
        if window is not None:
            _sylvian(canvas, subject, _turned(bent, window, side), inside[window], grain[window], window)
        window = canvas.near((side * 18, 0, 8), 34)
        if window is not None:
            _ganglia(canvas, _turned(bent, window, side), window)
        window = canvas.near((side * 20, -14, 4), 52)
        if window is not None:
            _ventricle(canvas, subject, _turned(bent, window, side), grain[window], window)
    window = canvas.near((0, -4, 0), 18)
    if window is not None:
        third = ellipsoid(bent[:, window[0], window[1]], (0, -4, 0), (1.4 + 1.6 * subject.atrophy, 14, 10))
        canvas.lay(Tissue.VENTRICLE, third, soft=1.4, window=window)
    _vessels(canvas, inside)


def _turned(points: Array, window: Window, side: int) -> Array:
    """The points of a window with x counted outwards on `side`."""
    return mirrored(points[:, window[0], window[1]], side)


def _sylvian(canvas: Canvas, subject: Subject, points: Array, inside: Array, grain: Array, window: Window) -> None:
    """The cleft between temporal and frontal lobe, and the insula at its floor."""
    x, y, z = points
    vaulted = np.stack([x + 0.012 * (y - 3) ** 2 + 0.01 * (z - 3) ** 2, y, z])
    floor = ellipsoid(vaulted, (40, 3, 3), (1.1, 18, 15))
    cleft = blend(ellipsoid(points, (53, 12, -1), (15, 1.5, 10)), floor, 3) - 0.8 * subject.atrophy + 0.5 * grain
    cleft = np.maximum(
        np.maximum(cleft, subject.cortex + 2.0 - inside), np.maximum(np.abs(z - 3) - 15, np.abs(y - 4) - 21)
    )
    canvas.lay(Tissue.GREY, cleft - subject.cortex, soft=1.6, window=window)
    canvas.lay(Tissue.CSF, cleft, soft=2.0, share=0.75, window=window)


def _ganglia(canvas: Canvas, points: Array, window: Window) -> None:
    putamen = ellipsoid(points, (26, 6, 3), (5.5, 16, 11))
    pallidum = ellipsoid(points, (19, 2, 1), (4.5, 9, 7))
    thalamus = ellipsoid(points, (10, -14, 6), (9, 15, 10))
    caudate = capsule(points, (12.5, 22, 4), (15.5, 6, 16), (6, 4))
    caudate = blend(caudate, capsule(points, (15.5, 6, 16), (19, -20, 20), (4, 2.5)), 3)
    canvas.lay(Tissue.GREY, putamen, soft=2.2, share=0.9, window=window)
    canvas.lay(Tissue.PALLIDUM, pallidum, soft=2.2, share=0.85, window=window)
    canvas.lay(Tissue.GREY, thalamus, soft=3, share=0.75, window=window)
    canvas.lay(Tissue.GREY, caudate, soft=2, window=window)


#: Centres (mm) and radii along the axis of a lateral ventricle: frontal horn, body, trigone.
_HORNS = (
    ((11, 33, 6), 2.6),
    ((7, 18, 14), 3.4),
    ((8, 0, 19), 3.4),
    ((15, -24, 17), 3.9),
    ((24, -38, 6), 4.2),
)


def _ventricle(canvas: Canvas, subject: Subject, points: Array, grain: Array, window: Window) -> None:
    """One lateral ventricle with its frontal, occipital and temporal horn; choroid plexus in the trigone."""
    wide = 1 + 0.9 * subject.atrophy
    cave = capsule(points, (24, -38, 6), (19, -60, 6), (3.0 * wide, 1.2))
    cave = blend(cave, capsule(points, (24, -38, 6), (33, -14, -16), (3.0 * wide, 1.2)), 2)
    for (start, first), (end, second) in pairwise(_HORNS):
        cave = blend(cave, capsule(points, start, end, (first * wide, second * wide)), 2)
    cave = np.maximum(cave, 0.5 - points[0])
    canvas.lay(Tissue.VENTRICLE, cave, soft=1.5, window=window)
    plexus = capsule(points, (14, -24, 13), (23, -37, 5), (1.0, 2.2)) + 0.8 * grain
    canvas.lay(Tissue.CHOROID, np.maximum(plexus, cave), soft=1.5, share=0.8, window=window)


def _vessels(canvas: Canvas, inside: Array) -> None:
    """The sagittal sinus along the midline under the skull, the transverse sinuses, the large arteries."""
    x, y, z = canvas.points
    ridge = np.sqrt(x**2 + (inside - 1.5) ** 2) - np.clip(1.7 - 0.012 * y, 1.0, 2.6)
    canvas.lay(Tissue.BLOOD, np.maximum(ridge, -8 - z), soft=1.5)
    for side in (-1, 1):
        for start, end, radii in _ARTERIES:
            centre = tuple(side * s if i == 0 else s for i, s in enumerate(start))
            window = canvas.near((centre[0], centre[1], centre[2]), 26)
            if window is not None:
                points = mirrored(canvas.points_in(window), side)
                canvas.lay(Tissue.BLOOD, capsule(points, start, end, radii), soft=1.3, window=window)


_ARTERIES = (
    ((9, 8, -34), (11, 8, -20), (2.4, 2.2)),
    ((11, 8, -18), (30, 8, -10), (1.7, 1.4)),
    ((30, 8, -10), (39, 2, 4), (1.4, 0.9)),
    ((3, 12, -14), (2, 34, 4), (1.3, 1.1)),
    ((0, -2, -20), (1, -1, -34), (2.0, 2.0)),
    ((48, -52, -16), (10, -82, -10), (3.0, 3.0)),
)
