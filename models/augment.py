"""Change training pictures as scanners and web pages do: pose, sequence, brightness, blur, noise, borders, letters.

What shall change is drawn here, on the host, as a few numbers a picture; the change itself is a layer in front of the
network that trains, in Keras's own operations. So the device does it whatever the backend, in one compiled step with
fixed shapes, and the host only copies pictures as they are.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

# Where each change stands in the numbers of a picture.
PLACE = slice(0, 6)  # from a pixel of the result to one of the source: x = a·x' + b·y' + c, y = d·x' + e·y' + f
MIRROR = slice(6, 8)  # column of the mirror, px; the side that becomes the mirror image: -1 left, 1 right, 0 neither
SEEN = slice(8, 17)  # which channels are seen: a matrix 3×3, result = source · matrix
TONE = slice(17, 20)  # exponent, factor and offset (grey levels) of the grey levels
BORDER = 20  # grey level beyond the source
BLUR = 21  # px, standard deviation
NOISE = 22  # grey levels, standard deviation
GRAIN = slice(23, 25)  # px, where in the tile of noise this picture's noise starts
SAYS = 25  # what its outline says; see `NOTHING` …
NUMBERS = 26

NOTHING, UNKNOWN_OUTLINE, OF_CORE, OF_FLAIR = range(4)  # healthy; no outline that holds; outline of a definition
UNKNOWN = -1  # in a target: no reader drew an outline of this definition on this picture
TILE = 512  # px, side of the tile of noise
REACH = 2  # px, of the blur either way


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """How far a picture may be changed."""

    rotation: float = 15.0  # degrees either way
    zoom: float = 0.2  # part of the size either way
    shift: float = 0.06  # part of the side either way
    flip: float = 0.5  # chance of left for right
    upside_down: float = 0.05  # chance
    contrast: float = 0.25  # part either way
    brightness: float = 25.0  # grey levels either way
    gamma: float = 0.35  # natural logarithm either way
    noise: float = 8.0  # grey levels, greatest standard deviation
    blur: float = 1.0  # px, greatest standard deviation
    letters: float = 0.08  # chance
    border: float = 0.15  # chance of a border that is not black
    missing: float = 0.1  # chance that FLAIR stands for a composite's sequence before contrast; the same for that after
    uneven: float = 0.3  # part either way by which each sequence of a composite is brighter or darker


def unchanged(count: int) -> NDArray[np.float32]:
    """The numbers `(count, NUMBERS)` of pictures that stay as they are."""
    numbers = np.zeros((count, NUMBERS), np.float32)
    numbers[:, PLACE] = (1, 0, 0, 0, 1, 0)
    numbers[:, SEEN] = np.eye(3).ravel()
    numbers[:, TONE] = (1, 1, 0)
    return numbers


def drawn(rng: np.random.Generator, count: int, side_in: int, side_out: int, ranges: Ranges) -> NDArray[np.float32]:
    """Random changes `(count, NUMBERS)` of squares of `side_in` px into ones of `side_out` px."""
    numbers = unchanged(count)
    numbers[:, PLACE] = _poses(rng, count, side_in, side_out, ranges)
    exponent = np.exp(rng.uniform(-ranges.gamma, ranges.gamma, count))
    factor = 1 + rng.uniform(-ranges.contrast, ranges.contrast, count)
    offset = rng.uniform(-1, 1, count) * ranges.brightness * (rng.random(count) < 0.5)
    numbers[:, TONE] = np.stack([exponent, factor, offset], axis=1)
    numbers[:, BORDER] = rng.integers(0, 256, count) * (rng.random(count) < ranges.border)
    numbers[:, BLUR] = rng.uniform(0.2, 1, count) * ranges.blur * (rng.random(count) < 0.25)
    numbers[:, NOISE] = rng.uniform(0.1, 1, count) * ranges.noise * (rng.random(count) < 0.3)
    numbers[:, GRAIN] = rng.integers(0, TILE, (count, 2))
    return numbers


def _poses(rng: np.random.Generator, count: int, side_in: int, side_out: int, ranges: Ranges) -> NDArray[np.float64]:
    """Random affine maps `(count, 6)` from the result back to the source."""
    angle = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation, count))
    scale = (1 + rng.uniform(-ranges.zoom, ranges.zoom, count)) * side_out / side_in
    stretch = 1 + rng.uniform(-ranges.zoom, ranges.zoom, count) / 4
    across = np.where(rng.random(count) < ranges.flip, -1, 1)
    down = np.where(rng.random(count) < ranges.upside_down, -1, 1)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(count, 2, 2)
    forth = turn * (scale[:, None] * np.stack([stretch * across, down / stretch], axis=1))[:, None, :]
    back = np.linalg.inv(forth)
    shift = rng.uniform(-ranges.shift, ranges.shift, (count, 2)) * side_out
    centre = (side_in - 1) / 2 - np.einsum("nij,nj->ni", back, (side_out - 1) / 2 + shift)
    return np.concatenate([back, centre[:, :, None]], axis=2).reshape(count, 6)


class Changed(keras.layers.Layer):  # type: ignore[misc]  # keras is not typed
    """`[(B, in, in, 4) uint8: RGB and outline, (B, NUMBERS)]` to `[(B, out, out, 3), target (B, out, out, 2)]` float32.

    The picture is in grey levels 0…255; the target is 1, 0 or `UNKNOWN` for each definition (FLAIR abnormality, core).
    """

    def __init__(self, side_in: int, side_out: int, **options: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **options)
        self.side_in, self.side_out = side_in, side_out
        self.tile = np.random.default_rng(0).normal(size=TILE * TILE).astype(np.float32)

    def call(self, given: list[keras.KerasTensor]) -> list[keras.KerasTensor]:
        """See the class."""
        source, numbers = given
        moved, fill = self._moved(source, numbers)
        picture = moved[..., :3] + fill * numbers[:, BORDER, None, None, None]
        seen = ops.reshape(numbers[:, SEEN], (-1, 3, 3))
        picture = ops.einsum("bhwi,bij->bhwj", picture, seen)
        picture = self._noisy(_blurred(_toned(picture, numbers), numbers[:, BLUR]), numbers)
        return [picture, _target(ops.cast(moved[..., 3] > 127, "float32"), numbers[:, SAYS])]

    def compute_output_spec(self, given: list[keras.KerasTensor]) -> list[keras.KerasTensor]:
        """The shapes, told rather than traced."""
        batch, side = given[0].shape[0], self.side_out
        return [keras.KerasTensor((batch, side, side, channels), "float32") for channels in (3, 2)]

    def _moved(
        self, source: keras.KerasTensor, numbers: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The source seen through the map, bilinear; and how much of each pixel lies beyond it `(B, out, out, 1)`."""
        side, out = self.side_in, self.side_out
        x, y = self._places(numbers)
        left, top = ops.floor(x), ops.floor(y)
        rows = ops.reshape(source, (-1, 4))
        first = ops.expand_dims(ops.arange(ops.shape(source)[0], dtype="int32") * (side * side), 1)
        total, beyond = 0.0, 1.0
        for down in (0, 1):
            for across in (0, 1):
                column, row = left + across, top + down
                weight = (1 - ops.abs(x - column)) * (1 - ops.abs(y - row))
                inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
                weight = weight * ops.cast(inside, "float32")
                place = ops.clip(row, 0, side - 1) * side + ops.clip(column, 0, side - 1)
                values = ops.take(rows, ops.reshape(ops.cast(place, "int32") + first, (-1,)), axis=0)
                values = ops.reshape(ops.cast(values, "float32"), (-1, out * out, 4))
                total = total + values * ops.expand_dims(weight, 2)
                beyond = beyond - weight
        return ops.reshape(total, (-1, out, out, 4)), ops.reshape(beyond, (-1, out, out, 1))

    def _grid(self, dtype: str) -> keras.KerasTensor:
        """Row and column of each pixel of the result, `(2, 1, out · out)`."""
        return ops.convert_to_tensor(np.mgrid[: self.side_out, : self.side_out].reshape(2, 1, -1), dtype)

    def _places(self, numbers: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Column and row in the source of each pixel of the result, `(B, out · out)` px."""
        grid = self._grid("float32")
        a, b, c, d, e, f = (numbers[:, index, None] for index in range(6))
        x, y = a * grid[1] + b * grid[0] + c, d * grid[1] + e * grid[0] + f
        mirror, side = numbers[:, MIRROR.start, None], numbers[:, MIRROR.start + 1, None]
        return ops.where(side * (x - mirror + 0.5) > 0, 2 * mirror - 1 - x, x), y

    def _noisy(self, picture: keras.KerasTensor, numbers: keras.KerasTensor) -> keras.KerasTensor:
        """Noise that is the same in all channels, so that grey stays grey."""
        grid = self._grid("int32")
        start = ops.cast(numbers[:, GRAIN], "int32")
        row, column = (grid[0] + start[:, :1]) % TILE, (grid[1] + start[:, 1:]) % TILE
        noise = ops.take(ops.convert_to_tensor(self.tile), row * TILE + column)
        noise = ops.reshape(noise, (-1, self.side_out, self.side_out, 1)) * numbers[:, NOISE, None, None, None]
        return ops.clip(picture + noise, 0, 255)


def _toned(picture: keras.KerasTensor, numbers: keras.KerasTensor) -> keras.KerasTensor:
    exponent, factor, offset = (numbers[:, index, None, None, None] for index in range(TONE.start, TONE.stop))
    levels = ops.power(ops.clip(picture / 255, 1e-6, 1), exponent) * 255
    return ops.clip(levels * factor + offset, 0, 255)


def _blurred(picture: keras.KerasTensor, deviation: keras.KerasTensor) -> keras.KerasTensor:
    """A Gaussian of each picture's own width, rows first, then columns."""
    steps = ops.arange(-REACH, REACH + 1, dtype="float32")
    weights = ops.exp(-(steps**2) / (2 * ops.expand_dims(deviation, 1) ** 2 + 1e-4))
    weights = weights / ops.sum(weights, axis=1, keepdims=True)  # (B, 5)
    height, width = picture.shape[1:3]
    wide = ops.pad(picture, ((0, 0), (REACH, REACH), (0, 0), (0, 0)), mode="reflect")
    picture = sum(wide[:, at : at + height] * weights[:, at, None, None, None] for at in range(2 * REACH + 1))
    wide = ops.pad(picture, ((0, 0), (0, 0), (REACH, REACH), (0, 0)), mode="reflect")
    return sum(wide[:, :, at : at + width] * weights[:, at, None, None, None] for at in range(2 * REACH + 1))


def _target(outline: keras.KerasTensor, says: keras.KerasTensor) -> keras.KerasTensor:
    """What a segmenter should say: nothing on a healthy picture, else what a reader outlined and what follows from it.

    A tumour's core lies within the abnormality around it, so where the abnormality was outlined there is no core beyond
    it. On pictures whose core was outlined (after contrast) the core is all of the abnormality that can be seen.
    """
    says = says[:, None, None]
    known = ops.where(says == NOTHING, 0.0, ops.where(says == UNKNOWN_OUTLINE, float(UNKNOWN), outline))
    core = ops.where(says == OF_FLAIR, outline * UNKNOWN, known)
    return ops.stack([known, core], axis=-1)


def one_sided(mask: Picture, picture: Picture, margin: int = 6) -> tuple[int, int]:
    """Column of the middle of the head, px, and which half holds the whole tumour: -1 left, 1 right, 0 neither.

    The middle is that of the head's own extent in the picture.
    """
    columns, middle = np.flatnonzero(mask.any(axis=0)), _middle(picture)
    if columns.size and columns[-1] < middle - margin:
        return middle, -1
    return middle, 1 if columns.size and columns[0] > middle + margin else 0


def _middle(picture: Picture) -> int:
    grey = picture if picture.ndim == 2 else picture.max(axis=2)
    columns = np.flatnonzero((grey > 25).mean(axis=0) > 0.04)
    return round(float(columns[0] + columns[-1] + 1) / 2) if columns.size else picture.shape[1] // 2


def letter(picture: Picture, rng: np.random.Generator) -> None:
    """Write a few letters into the upper or lower edge of a picture `(side, side, 3)`, in place."""
    side = picture.shape[0]
    text = "".join(chr(int(rng.integers(48, 91))) for _ in range(int(rng.integers(1, 9))))
    place = (int(rng.integers(0, side * 2 // 3)), int(rng.choice([side * 0.08, side * 0.96])))
    level = int(rng.integers(150, 256))
    size = rng.uniform(0.3, 0.6)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (level, level, level), 1, cv2.LINE_AA)
