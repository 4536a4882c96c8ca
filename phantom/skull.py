"""Skull, scalp, skull base and face."""

import numpy as np

from phantom.geometry import Plane, blend, capsule, ellipsoid, mirrored
from phantom.noise import Array
from phantom.subject import Subject
from phantom.tissues import Canvas, Tissue


def radius(points: Array, narrowing: float) -> Array:
    """How far out a point lies in the cranial cavity: 1 on the inner table (a squared ellipsoid)."""
    x, y, z = points
    a = (x / (66 * (1 - narrowing * (y / 86)))) ** 2
    b = ((y + 4) / 87) ** 2
    c = (z / np.where(z > 0, 76, 64)) ** 2
    radius: Array = np.sqrt(np.maximum(a + b + c - 0.25 * a * b - 0.15 * (a + b) * c, 1e-6))
    return radius


def depth(points: Array, plane: Plane, narrowing: float) -> Array:
    """The depth below the inner table in mm, (h, w); negative outside."""
    here = radius(points, narrowing)
    beyond = radius(points + plane.normal[:, None, None], narrowing)
    down, across = np.gradient(here, plane.pitch)
    slope = np.sqrt(down**2 + across**2 + (beyond - here) ** 2)
    below: Array = (1 - here) / np.maximum(slope, 1e-4)
    return below


def around(plane: Plane, size: Array, narrowing: float) -> tuple[slice, slice]:
    """Rows and columns that hold all of the head that `plane` cuts: nothing else need be computed."""
    step = 8
    points = plane.thinned(step).points / size[:, None, None]
    near = (radius(points, narrowing) - 1) * _SHORTEST < _THICKEST
    if points[2].min() < 25:
        near |= blend(*_face(points), 10) < _THICKEST - 12
    spans = []
    for axis, length in ((1, plane.shape[0]), (0, plane.shape[1])):
        hits = np.flatnonzero(near.any(axis=axis)) * step
        low, high = (hits[0], hits[-1]) if hits.size else (length // 2, length // 2)
        spans.append(slice(max(0, int(low) - step), min(length, int(high) + step + 1)))
    return spans[0], spans[1]


_SHORTEST = 60.0  # mm: a radius grows by 1 over this length or more
_THICKEST = 26.0  # mm: skull and scalp, with what drift and a tumour's push may add


def _face(points: Array) -> tuple[Array, Array]:
    return ellipsoid(points, (0, 22, -62), (63, 76, 80)), capsule(points, (0, 90, -30), (0, 110, -58), (7, 13))


def lay_head(canvas: Canvas, subject: Subject, inside: Array, ripple: Array, grain: Array) -> None:
    """Skin, fat, muscles, the three layers of the skull, and the fluid within."""
    points = canvas.points
    _, y, z = points
    thick = subject.skull + subject.scalp * (1 + 0.3 * np.clip(-y / 80, 0, 1))
    head = np.minimum(-(inside + thick + 0.3 * ripple), 40.0)
    if z.min() < 25:
        head = blend(head, blend(*_face(points), 10), 12)
    canvas.lay(Tissue.SKIN, head)
    # strands and vessels run through the fat; it thins out towards the temples
    uneven = np.clip(0.82 + 0.10 * ripple + 0.10 * grain - 0.25 * np.clip(1 - np.abs(y - 15) / 30, 0, 1), 0.3, 1)
    canvas.lay(Tissue.FAT, head + 1.7, soft=1.4, share=uneven)
    for side in (-1, 1):
        _muscles(canvas, side, head, grain)
    bone = subject.skull + 0.4 * ripple
    canvas.lay(Tissue.BONE, -(inside + bone), soft=1.1)
    marrow = np.abs(inside + 0.52 * bone) - 0.2 * bone - 0.3 * grain
    canvas.lay(Tissue.MARROW, marrow, soft=1.8, share=np.clip(0.7 + 0.25 * ripple, 0, 1))
    canvas.lay(Tissue.DURA, -(inside + 0.9))
    canvas.lay(Tissue.CSF, 0.2 - inside)


def _muscles(canvas: Canvas, side: int, head: Array, grain: Array) -> None:
    for centre, radii in _MUSCLES:
        place = (side * centre[0], centre[1], centre[2])
        window = canvas.near(place, max(radii))
        if window is not None:
            shape = ellipsoid(canvas.points_in(window), place, radii) + 0.8 * grain[window]
            shape = np.maximum(shape, head[window] + 3.5)
            canvas.lay(Tissue.MUSCLE, shape, soft=1.6, window=window)


#: Centres and radii in mm: temporalis, the neck's, masseter.
_MUSCLES = (
    ((66.0, 18.0, -20.0), (9.0, 35.0, 36.0)),
    ((26.0, -76.0, -66.0), (30.0, 20.0, 30.0)),
    ((62.0, 30.0, -48.0), (12.0, 22.0, 26.0)),
)


def lay_base(canvas: Canvas, inside: Array, brain: Array, grain: Array) -> None:
    """The floor of the cavity: bone with marrow and air cells wherever there is neither brain nor cistern."""
    z = canvas.points[2]
    if z.min() > -12:
        return
    floor = np.maximum(np.maximum(1.0 - inside, z + 17), 3.2 - brain)
    canvas.lay(Tissue.BONE, floor, soft=1.5)
    canvas.lay(Tissue.MARROW, floor + 3.0 + 1.6 * grain, soft=3.0, share=0.45)
    window = canvas.near((0, 2, -38), 26)
    if window is not None:
        clivus = capsule(canvas.points_in(window), (0, 6, -30), (0, -6, -60), (7, 9))
        canvas.lay(Tissue.MARROW, clivus, soft=2.5, share=0.9, window=window)
    for side in (-1, 1):
        window = canvas.near((side * 54, -30, -46), 24)
        if window is not None:
            mastoid = ellipsoid(canvas.points_in(window), (side * 56, -32, -48), (10, 15, 18))
            canvas.lay(Tissue.AIR, np.maximum(mastoid, -grain[window]), soft=2, window=window)
            ear = ellipsoid(canvas.points_in(window), (side * 60, -14, -44), (16, 3, 3))
            canvas.lay(Tissue.AIR, ear, window=window)


def lay_face(canvas: Canvas, grain: Array) -> None:
    """Orbits with globes, nerves and muscles; sinuses and the nose; ears."""
    if canvas.points[2].min() > 4:
        return
    for side in (-1, 1):
        _orbit(canvas, side)
        _air(canvas, (side * 13, 82, -8), (13, 5, 9), grain, 0.0)
        _air(canvas, (side * 8, 18, -36), (7, 11, 9), grain, 0.0)
        _air(canvas, (side * 30, 58, -62), (13, 16, 15), grain, 0.0)
        window = canvas.near((side * 74, -14, -40), 22)
        if window is not None:
            ear = ellipsoid(canvas.points_in(window), (side * 77, -18, -40), (3.5, 10, 18))
            canvas.lay(Tissue.SKIN, ear + 1.5 * grain[window], soft=1.5, window=window)
    _air(canvas, (0, 55, -38), (12, 27, 17), grain, 2.2)


def _air(
    canvas: Canvas,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    grain: Array,
    walls: float,
) -> None:
    window = canvas.near(centre, max(radii))
    if window is None:
        return
    cave = ellipsoid(canvas.points_in(window), centre, radii)
    canvas.lay(Tissue.MUCOSA, cave - 1.6, soft=1.5, window=window)
    canvas.lay(Tissue.AIR, cave + walls * np.abs(grain[window]), soft=1.5, window=window)


def _orbit(canvas: Canvas, side: int) -> None:
    window = canvas.near((side * 31, 48, -31), 34)
    if window is None:
        return
    points = mirrored(canvas.points_in(window), side)
    for tissue, start, end, radii in _ORBIT:
        canvas.lay(tissue, capsule(points, start, end, radii), soft=1.4, window=window)
    globe = ellipsoid(points, (33.5, 66, -31), (12.2, 12.4, 12.2))
    canvas.lay(Tissue.MUSCLE, globe - 1.2, soft=1.2, window=window)
    canvas.lay(Tissue.VITREOUS, globe, soft=1.2, window=window)
    lens = ellipsoid(points, (33.5, 74.5, -31), (4.6, 2.2, 4.6))
    canvas.lay(Tissue.MUSCLE, lens, soft=1.2, window=window)


#: From front to back: the bony cone, the fat in it, the inner and outer muscle, the optic nerve.
_ORBIT = (
    (Tissue.BONE, (34.0, 62.0, -31.0), (12.0, 20.0, -27.0), (21.0, 5.0)),
    (Tissue.FAT, (34.0, 66.0, -31.0), (12.0, 22.0, -27.0), (19.0, 3.0)),
    (Tissue.MUSCLE, (20.5, 62.0, -31.0), (12.0, 28.0, -28.0), (2.2, 1.8)),
    (Tissue.MUSCLE, (46.0, 60.0, -31.0), (16.0, 26.0, -28.0), (2.4, 1.8)),
    (Tissue.WHITE, (31.0, 54.0, -30.0), (8.0, 16.0, -26.0), (2.3, 2.0)),
)
