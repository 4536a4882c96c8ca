"""One subject: everything by which one head differs from another, drawn once from a seed."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from phantom.noise import Array, Waves


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The traits of one head. Two planes through the same subject belong together."""

    size: Array  # (3,): this head / the standard head, along x, y, z
    pose: Array  # (3, 3): rotation from the scanner's axes to the head's
    atrophy: float  # 0 (young) … 1 (old): width of sulci and ventricles
    narrowing: float  # how much narrower the forehead is than the back of the head
    skull: float  # thickness of the skull, mm
    scalp: float  # thickness of the scalp, mm
    cortex: float  # thickness of the cortex, mm
    folds: Waves  # its zero set, seen from the middle of a hemisphere, is where sulci lie
    depths: Waves  # how deep each sulcus is
    drift: tuple[Waves, Waves, Waves]  # slow bend of the whole head: no head is symmetric
    bend: tuple[Waves, Waves, Waves]  # bend of deep structures and sulci
    curl: tuple[Waves, Waves, Waves]  # quick bend of sulci
    ripple: Waves  # unevenness of surfaces
    grain: Waves  # unevenness within a tissue

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """A head at random."""

        def three(shortest: float, longest: float, count: int) -> tuple[Waves, Waves, Waves]:
            first, second, third = (Waves.draw(rng, shortest=shortest, longest=longest, count=count) for _ in range(3))
            return first, second, third

        return cls(
            size=rng.uniform(0.95, 1.03) * rng.uniform(0.97, 1.03, 3) * np.array([0.98, 1.01, 1.0]),
            pose=rotation(np.radians(rng.normal(0, (2.0, 0.7, 2.0), 3))),
            atrophy=float(0.75 * rng.beta(1.4, 3.2)),
            narrowing=float(rng.uniform(0.06, 0.15)),
            skull=float(rng.uniform(4.6, 6.8)),
            scalp=float(rng.uniform(3.0, 6.0)),
            cortex=float(rng.uniform(2.9, 3.7)),
            folds=Waves.draw(rng, shortest=14.5, longest=21.5, count=28),
            depths=Waves.draw(rng, shortest=25, longest=50, count=12),
            drift=three(70, 160, 10),
            bend=three(28, 60, 12),
            curl=three(9, 16, 16),
            ripple=Waves.draw(rng, shortest=10, longest=22, count=16),
            grain=Waves.draw(rng, shortest=3, longest=9, count=32),
        )


def rotation(angles: Array) -> Array:
    """The rotation by `angles` (pitch about x, roll about y, yaw about z; radians), (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    roll = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    yaw = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: Array = yaw @ roll @ pitch
    return turned
