"""Batches of planes are prepared in Keras's operations as one plane is on a processor, to the grey level."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from keras import ops
from numpy.typing import NDArray

from models.prepare.canvas import mirrored
from models.prepare.fit import placed
from models.prepare.nonlocal_means import filtered
from models.prepare.steps import ColourSteps, GreySteps
from pipeline.prepare.contrast import stretch
from pipeline.prepare.denoise import SEARCH, STRENGTH, denoise, opencv
from pipeline.prepare.fit import Fit

ROOT = Path(__file__).parents[3]
CANVAS = 72  # px
SIZES = [(72, 72), (64, 48), (50, 71), (7, 9), (1, 30), (72, 3), (1, 1), (9, 8)]
Plane = NDArray[np.uint8]


def planes(channels: int, kind: str) -> list[Plane]:
    """One of each size, `(h, w, channels)`."""
    chance = np.random.default_rng(len(kind))
    drawn = []
    for height, width in SIZES:
        y, x = np.mgrid[:height, :width]
        looks = {
            "noise": chance.integers(0, 256, (height, width, channels)),
            "noisy disc": np.where(np.hypot(y - 20, x - 20) < 12, 140, 60)[..., None]
            + chance.normal(0, 5, (height, width, channels)),
            "ramp": np.broadcast_to((3 * x + y)[..., None], (height, width, channels)) % 256,
            "flat": np.full((height, width, channels), 17),
            "two levels": chance.choice([0, 255], (height, width, channels)),
        }
        drawn.append(np.clip(looks[kind], 0, 255).astype(np.uint8))
    return drawn


def on_canvases(shown: list[Plane]) -> tuple[Any, Any]:
    """Canvases `(B, CANVAS, CANVAS, channels)` and sizes `(B, 2)`; beyond a plane lies what must not matter."""
    canvases = np.random.default_rng(9).integers(0, 256, (len(shown), CANVAS, CANVAS, shown[0].shape[2]))
    for canvas, plane in zip(canvases, shown, strict=True):
        canvas[: plane.shape[0], : plane.shape[1]] = plane
    sizes = [plane.shape[:2] for plane in shown]
    return ops.convert_to_tensor(canvases.astype(np.float32)), ops.convert_to_tensor(np.array(sizes, np.float32))


def apart(step: Callable[[Any, Any], Any], twin: Callable[[Plane], Plane], shown: list[Plane]) -> int:
    """The largest difference between a step and its twin, in grey levels."""
    found = np.asarray(ops.convert_to_numpy(step(*on_canvases(shown))), int)
    largest = 0
    for plane, canvas in zip(shown, found, strict=True):
        height, width, channels = plane.shape
        expected = twin(plane if channels == 3 else np.ascontiguousarray(plane[..., 0])).reshape(plane.shape)
        largest = max(largest, int(np.abs(canvas[:height, :width] - expected).max()))
    return largest


@pytest.fixture(scope="module")
def grey() -> GreySteps:
    return GreySteps()


@pytest.fixture(scope="module")
def colour() -> ColourSteps:
    return ColourSteps()


@pytest.mark.parametrize("kind", ["noise", "noisy disc", "ramp", "flat", "two levels"])
def test_grey_planes_are_prepared_as_on_a_processor(kind: str, grey: GreySteps) -> None:
    shown = planes(1, kind)
    assert apart(grey.denoise, denoise, shown) == 0
    assert apart(grey.stretch, stretch, shown) == 0


@pytest.mark.parametrize("kind", ["noise", "noisy disc", "two levels"])
def test_coloured_planes_are_prepared_as_on_a_processor(kind: str, colour: ColourSteps) -> None:
    shown = planes(3, kind)
    assert apart(colour.denoise, denoise, shown) == 0
    assert apart(colour.stretch, stretch, shown) == 0


@pytest.mark.parametrize(("strength", "search"), [(0.0, 5), (30.0, 7), (STRENGTH, SEARCH)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_any_strength_window_and_number_of_channels_gives_what_opencv_gives(
    channels: int, strength: float, search: int
) -> None:
    given = np.stack(planes(channels, "noise")[:1] * 2).transpose(0, 3, 1, 2)
    sizes = ops.convert_to_tensor(np.array([SIZES[0]] * 2, np.float32))
    found = ops.convert_to_numpy(filtered(ops.convert_to_tensor(given.astype(np.float32)), sizes, strength, search))
    assert np.array_equal(opencv(np.ascontiguousarray(given[1]), strength, search), found[1].astype(np.uint8))


def test_places_beyond_a_side_are_mirrored_as_opencv_does_it() -> None:
    for length in (1, 2, 5, 30):
        places = np.arange(-20, 50)
        found = mirrored(
            ops.convert_to_tensor(places[None].astype(np.float32)), ops.convert_to_tensor([[float(length)]])
        )
        expected = [cv2.borderInterpolate(int(place), length, cv2.BORDER_REFLECT_101) for place in places]
        assert expected == ops.convert_to_numpy(found)[0].astype(int).tolist()


@pytest.mark.parametrize("side", [24, 48, 100])
def test_planes_fill_the_box_that_they_fill_on_a_processor(side: int) -> None:
    shown = planes(1, "noisy disc")
    canvases, sizes = on_canvases(shown)
    for spacing in (None, (2.0, 1.0)):
        fits = [Fit.of(plane.shape[0], plane.shape[1], side, spacing) for plane in shown]
        boxes = ops.convert_to_tensor(np.array([(fit.rows, fit.columns) for fit in fits], np.float32))
        found = ops.convert_to_numpy(placed(canvases[..., 0], sizes, boxes, side)).astype(int)
        for fit, plane, square in zip(fits, shown, found, strict=True):
            assert np.abs(square - fit.apply(plane[..., 0])[..., 0]).max() <= 1


def test_a_box_of_nothing_is_black() -> None:
    canvases, sizes = on_canvases(planes(1, "flat"))
    assert not ops.convert_to_numpy(placed(canvases[..., 0], sizes, 0 * sizes, 32)).any()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_prepare_the_same(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    program = """
from tests.models.prepare.test_batches import ColourSteps, GreySteps, apart, denoise, planes, stretch
for steps, channels in ((GreySteps(), 1), (ColourSteps(), 3)):
    for step, twin in ((steps.denoise, denoise), (steps.stretch, stretch)):
        print(apart(step, twin, planes(channels, "noisy disc")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["0"] * 4
