"""The named ways to prepare a plane; each belongs to the networks that were trained with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Refused
from pipeline.prepare.contrast import stretch
from pipeline.prepare.denoise import denoise
from pipeline.prepare.fit import Fit

Plane = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is done to a plane, in order, before it is fitted."""

    name: str
    steps: tuple[Callable[[Plane], Plane], ...]

    @property
    def denoises(self) -> bool:
        """Whether it begins with denoising: that bounds a plane's size, and is what takes a processor long."""
        return self.steps[:1] == (denoise,)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="plain", steps=()),
        Profile(name="nlm-clahe", steps=(denoise, stretch)),
        Profile(name="nlm", steps=(denoise,)),  # this and the next are for ablations; no network that ships has them
        Profile(name="clahe", steps=(stretch,)),
    )
}


def prepare(plane: Plane, profile: str = "plain", size: int = 224, spacing: tuple[float, float] | None = None) -> Plane:
    """Make a network's input of one plane.

    Args:
        plane: `(h, w)` grey or `(h, w, 3)` RGB, uint8.
        profile: a name in `PROFILES`.
        size: side of the square in px.
        spacing: (row_mm, col_mm), or None where it is not known.

    Returns:
        `(size, size, 3)` uint8 RGB.

    Raises:
        Refused: `invalid_field`, there is no such profile.
    """
    try:
        steps = PROFILES[profile].steps
    except KeyError:
        raise Refused(Code.INVALID_FIELD, f"there is no profile {profile!r}") from None
    layout = Fit.of(plane.shape[0], plane.shape[1], size, spacing)
    for step in steps:
        plane = step(plane)
    return _as_laid_out(layout, plane)


def _as_laid_out(layout: Fit, plane: Plane) -> Plane:
    """A step may have shrunk the plane; its box in the square stays that of the plane as it came."""
    return replace(layout, height=plane.shape[0], width=plane.shape[1]).apply(plane)
