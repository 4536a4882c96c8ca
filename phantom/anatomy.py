"""The order in which a head is built on a plane, once: skin to brain, then what lies in the brain.

Sizes and places are those of an adult head as atlases give them (Talairach & Tournoux 1988), rounded; nothing
is taken from a scan.
"""

from dataclasses import dataclass

import numpy as np

from phantom import brain, deep, skull
from phantom.geometry import Plane
from phantom.lesions import Lesion
from phantom.noise import Array
from phantom.subject import Subject
from phantom.tissues import Canvas, Layer, Window


@dataclass(frozen=True, kw_only=True)
class Section:
    """A cut through a head: what lies where, on the part of the plane that holds the head."""

    window: Window  # rows and columns of the plane that this part has
    plane: Plane  # this part's samples
    layers: tuple[Layer, ...]  # from the skin inwards
    inside: Array  # (h, w): depth below the inner table of the skull, mm
    grain: Array  # (h, w): unevenness within tissues, standard deviation 1
    lesion: Array  # (h, w): share of what is abnormal, oedema with it
    core: Array  # (h, w): share of the solid tumour


def cut(subject: Subject, plane: Plane, lesion: Lesion | None = None) -> Section:
    """Cut `subject`, with its `lesion` if there is one, along `plane`."""
    window = skull.around(plane, subject.size, subject.narrowing)
    plane = plane.part(*window)
    real = plane.points if lesion is None else lesion.undo_push(plane.points)
    standard = real / subject.size[:, None, None] + 1.2 * plane.fields(subject.drift)
    canvas = Canvas(plane=plane, points=standard, size=subject.size)
    ripple, grain = plane.field(subject.ripple), plane.field(subject.grain)
    bend = plane.fields(subject.bend)
    inside = skull.depth(canvas.points, plane, subject.narrowing)
    parts = brain.parts(subject, canvas.points, inside, ripple)
    skull.lay_head(canvas, subject, inside, ripple, grain)
    skull.lay_base(canvas, inside, parts.nearest, grain)
    skull.lay_face(canvas, grain)
    brain.lay(canvas, subject, parts, bend, grain)
    deep.lay(canvas, subject, canvas.points + 0.5 * bend, inside, grain)
    whole = core = np.zeros(plane.shape)
    if lesion is not None:
        whole, core = lesion.lay(canvas, inside)
    return Section(
        window=window,
        plane=plane,
        layers=tuple(canvas.layers),
        inside=inside,
        grain=0.7 * ripple + 0.7 * grain,
        lesion=whole,
        core=core,
    )
