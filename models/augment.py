"""Change a training picture as scanners and web pages do: pose, brightness, noise, borders, letters."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """How far a picture may be changed."""

    rotation: float = 15.0  # degrees either way
    zoom: float = 0.2  # part of the size either way
    shift: float = 0.06  # part of the side either way
    upside_down: float = 0.05  # chance
    contrast: float = 0.25  # part either way
    brightness: float = 25.0  # grey levels either way
    gamma: float = 0.35  # natural logarithm either way
    noise: float = 8.0  # grey levels, greatest standard deviation
    blur: float = 1.0  # px, greatest standard deviation
    letters: float = 0.08  # chance
    border: float = 0.15  # chance of a border that is not black


def pose(rng: np.random.Generator, side_in: int, side_out: int, ranges: Ranges) -> NDArray[np.float64]:
    """A random affine map (2×3) from a square of `side_in` px onto one of `side_out` px."""
    angle = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation))
    scale = (1 + rng.uniform(-ranges.zoom, ranges.zoom)) * side_out / side_in
    stretch = 1 + rng.uniform(-ranges.zoom, ranges.zoom) / 4
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.diag([stretch, 1 / stretch])
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    if rng.random() < ranges.upside_down:
        matrix[:, 1] *= -1
    centre_in, centre_out = (side_in - 1) / 2, (side_out - 1) / 2
    shift = rng.uniform(-ranges.shift, ranges.shift, 2) * side_out
    return np.column_stack([matrix, centre_out + shift - matrix @ [centre_in, centre_in]])


def posed(picture: Picture, matrix: NDArray[np.float64], side: int, border: int = 0) -> Picture:
    """`picture` seen through an affine map, `(side, side[, 3])` uint8; `border` is the grey level outside."""
    fill = (border, border, border) if picture.ndim == 3 else border
    moved = cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    return np.asarray(moved, np.uint8)


def border_level(rng: np.random.Generator, ranges: Ranges) -> int:
    """Grey level around a moved picture: black, now and then any other."""
    return int(rng.integers(0, 256)) if rng.random() < ranges.border else 0


def toned(picture: Picture, rng: np.random.Generator, ranges: Ranges) -> Picture:
    """`picture` with other gamma, contrast and brightness, blur, noise and letters; same shape, uint8."""
    levels = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-ranges.gamma, ranges.gamma)) * 255
    levels = levels * (1 + rng.uniform(-ranges.contrast, ranges.contrast))
    levels = levels + rng.uniform(-1, 1) * ranges.brightness * (rng.random() < 0.5)
    changed = np.asarray(cv2.LUT(picture, np.clip(levels, 0, 255).astype(np.uint8)), np.uint8)
    if rng.random() < 0.25:
        changed = np.asarray(cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.2, ranges.blur)), np.uint8)
    if rng.random() < 0.3:
        changed = _noisy(changed, rng, rng.uniform(1, ranges.noise))
    if rng.random() < ranges.letters:
        changed = _lettered(changed, rng)
    return changed


def mirrored(picture: Picture, mask: Picture, *, keep_left: bool) -> tuple[Picture, Picture]:
    """Make a head of one half and its mirror image.

    A set whose every slice has a tumour teaches a network the set. With the tumour's half replaced by the other,
    such a slice becomes a negative that looks like the set; with the healthy half replaced it stays positive, so
    that perfect symmetry says nothing either. The middle is that of the head's own extent in the picture.
    """
    middle = _middle(picture)
    source = (picture, mask) if keep_left else (picture[:, ::-1], mask[:, ::-1])
    axis = middle if keep_left else picture.shape[1] - middle
    left, right = _doubled(source[0], axis), _doubled(source[1], axis)
    return left, right


def one_sided(mask: Picture, picture: Picture, margin: int = 6) -> str:
    """The half of the head, `left` or `right`, that holds the whole tumour; empty where neither does."""
    columns = np.flatnonzero(mask.any(axis=0))
    middle = _middle(picture)
    if columns.size == 0:
        return ""
    if columns[-1] < middle - margin:
        return "left"
    return "right" if columns[0] > middle + margin else ""


def _middle(picture: Picture) -> int:
    grey = picture if picture.ndim == 2 else picture.max(axis=2)
    columns = np.flatnonzero((grey > 25).mean(axis=0) > 0.04)
    return round(float(columns[0] + columns[-1] + 1) / 2) if columns.size else picture.shape[1] // 2


def _doubled(picture: Picture, axis: int) -> Picture:
    """Everything right of column `axis` becomes the mirror image of what is left of it."""
    out = picture.copy()
    width = min(axis, picture.shape[1] - axis)
    out[:, axis : axis + width] = picture[:, axis - width : axis][:, ::-1]
    out[:, axis + width :] = 0
    return out


def _noisy(picture: Picture, rng: np.random.Generator, deviation: float) -> Picture:
    """Add noise of `deviation` grey levels that is the same in all channels where the picture is grey."""
    noise = rng.normal(0, deviation, picture.shape[:2]).astype(np.float32)
    changed = picture + (noise if picture.ndim == 2 else noise[:, :, None])
    return np.asarray(np.clip(changed, 0, 255), np.uint8)


def _lettered(picture: Picture, rng: np.random.Generator) -> Picture:
    side = picture.shape[0]
    text = "".join(chr(int(rng.integers(48, 91))) for _ in range(int(rng.integers(1, 9))))
    place = (int(rng.integers(0, side * 2 // 3)), int(rng.choice([side * 0.08, side * 0.96])))
    level = int(rng.integers(150, 256))
    canvas = np.ascontiguousarray(picture)
    return np.asarray(
        cv2.putText(
            canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 0.6), (level, level, level), 1, cv2.LINE_AA
        ),
        np.uint8,
    )
