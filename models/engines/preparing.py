"""Slices prepared on the device: what a GPU worker puts before a network whose profile denoises.

One compiled function for grey planes and one for colour, each for canvases of two sizes, so that nothing is compiled in
the middle of a run. At start each prepares a slice that the processor prepares too; where the device fails or
differs by more than rounding, the processor does the work, and the log says so.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.engines.seam import SIDE, Outputs, Pictures, Predictor
from models.prepare.profiles import Preparation
from pipeline.prepare.packed import Packed, pack, prepared, unpack
from pipeline.prepare.room import HEAD, LONGEST

CANVASES = (LONGEST // 2, LONGEST)  # px, sides
CHANNELS = (1, 3)
TOLERANCE = 3  # grey levels: one of lightness is up to two of grey, and fitting rounds again

Kind = tuple[int, int]  # channels, side of the canvas

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PreparingPredictor:
    """A network that takes planes as they are packed."""

    squares: Callable[[list[Packed]], Pictures]
    predictor: Predictor
    batch: int

    def predict(self, packed: NDArray[np.uint8]) -> Outputs:
        """Prepare and judge planes as they are packed, in order; otherwise as `Predictor.predict`.

        `packed`: `(n, bytes)` uint8, each row beginning with what `pipeline.prepare.packed` packs; zeros: black.
        """
        parts = [packed[start : start + self.batch] for start in range(0, len(packed), self.batch)]
        return np.concatenate([self.predictor.predict(self._prepared(part)) for part in parts])

    def _prepared(self, packed: NDArray[np.uint8]) -> Pictures:
        squares = np.zeros((len(packed), SIDE, SIDE, 3), np.uint8)
        filled = np.flatnonzero(packed[:, :HEAD].any(axis=1))
        if len(filled):
            squares[filled] = self.squares([unpack(packed[row]) for row in filled])
        return squares


def preparing(profile: str, predictor: Predictor, batch: int) -> PreparingPredictor:
    """Put a profile before a network: compiled for all kinds of planes, and looked at whether the device is right."""
    device = OnDevice(profile, batch)
    squares = device.squares if _trusted(device, profile) else _by_processor(profile)
    return PreparingPredictor(squares=squares, predictor=predictor, batch=batch)


class OnDevice:
    """A profile as compiled functions of fixed shapes, by kind of planes."""

    def __init__(self, profile: str, batch: int) -> None:
        """Nothing is compiled before it is first called. XLA only where there is a GPU, whose integers it needs."""
        self._batch = batch
        steps = {channels: Preparation(profile, channels, SIDE) for channels in CHANNELS}
        jit = bool(tf.config.list_physical_devices("GPU"))
        self._functions: dict[Kind, Any] = {
            (channels, side): tf.function(steps[channels], jit_compile=jit)
            for channels in CHANNELS
            for side in CANVASES
        }

    def squares(self, planes: list[Packed]) -> Pictures:
        """Prepare up to a batch of planes: `(n, SIDE, SIDE, 3)` uint8."""
        squares = np.zeros((len(planes), SIDE, SIDE, 3), np.uint8)
        kinds = [kind_of(one) for one in planes]
        for kind in sorted(set(kinds)):
            places = [place for place, other in enumerate(kinds) if other == kind]
            squares[places] = self._of_kind(kind, [planes[place] for place in places])
        return squares

    def _of_kind(self, kind: Kind, planes: list[Packed]) -> Pictures:
        channels, side = kind
        canvases = np.zeros((self._batch, side, side, channels), np.uint8)
        sizes = np.ones((self._batch, 2), np.float32)
        boxes = np.zeros((self._batch, 2), np.float32)
        for row, one in enumerate(planes):
            height, width, _ = one.plane.shape
            canvases[row, :height, :width] = one.plane
            sizes[row], boxes[row] = (height, width), (one.rows, one.columns)
        squares = self._functions[kind](tf.constant(canvases), tf.constant(sizes), tf.constant(boxes))
        return np.asarray(squares[: len(planes)], np.uint8)


def kind_of(one: Packed) -> Kind:
    """Which function a plane goes through."""
    height, width, channels = one.plane.shape
    return channels, next(side for side in CANVASES if max(height, width) <= side)


def _by_processor(profile: str) -> Callable[[list[Packed]], Pictures]:
    def squares(planes: list[Packed]) -> Pictures:
        return np.stack([prepared(one, profile, SIDE) for one in planes])

    return squares


def _trusted(device: OnDevice, profile: str) -> bool:
    """Whether the device prepares a slice of each kind as the processor does."""
    chance = np.random.default_rng(1)
    for channels in CHANNELS:
        for side in CANVASES:
            shape = (side - 9, side, *((channels,) if channels > 1 else ()))
            rough = np.clip(
                chance.normal(100, 5, shape) + np.arange(side)[None, :, *[None] * (len(shape) - 2)] % 90, 0, 255
            )
            packed = unpack(pack(rough.astype(np.uint8), SIDE, None))
            try:
                squares = device.squares([packed])
            except tf.errors.OpError as error:
                log.warning("prepared_by_processor error=%s", type(error).__name__)
                return False
            apart = int(np.abs(squares[0].astype(int) - prepared(packed, profile, SIDE)).max())
            if apart > TOLERANCE:
                log.warning("prepared_by_processor apart=%d", apart)
                return False
    return True
