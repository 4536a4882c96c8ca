"""A GPU worker prepares slices on the device; here the processor is made to be that device."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.engines import choice, preparing
from models.engines.preparing import OnDevice, PreparingPredictor, kind_of
from models.engines.seam import Outputs, Pictures
from pipeline.limits import Limits
from pipeline.prepare.packed import Packed, pack, unpack
from pipeline.prepare.profiles import prepare
from pipeline.prepare.room import ROOM
from pipeline.read.pictures import read_picture

PROFILE = "nlm-clahe"
BATCH = 4


class Keeps:
    """A predictor that gives its pictures back."""

    def predict(self, pictures: Pictures) -> Outputs:
        return pictures.astype(np.float32)


@pytest.fixture(scope="module")
def device() -> OnDevice:
    return OnDevice(PROFILE, BATCH)


def packed(planes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    rows = np.zeros((len(planes), ROOM), np.uint8)
    for row, plane in zip(rows, planes, strict=True):
        data = pack(plane, 224, None)
        row[: len(data)] = data
    return rows


@pytest.mark.slow
def test_real_pictures_are_prepared_as_on_a_processor_by_a_device_that_is_trusted(
    test_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        predictor = preparing.preparing(PROFILE, Keeps(), BATCH)
    assert not caplog.records
    assert isinstance(getattr(predictor.squares, "__self__", None), OnDevice)
    rooms = [sorted((test_data / room / "images").rglob("*.*")) for room in ("web", "lgg", "t1ce")]
    planes = [read_picture(files[at].read_bytes(), Limits()).planes[0] for files in rooms for at in (7, 60, 90, 95)]
    for plane, square in zip(planes, predictor.predict(packed(planes)).astype(int), strict=True):
        difference = np.abs(square - prepare(plane, PROFILE, 224))
        assert difference.max() <= 1
        grows = max(plane.shape[:2]) < 224
        assert grows or np.count_nonzero(difference) <= 0.001 * difference.size  # OpenCV enlarges in 11 bits


@pytest.mark.slow
def test_planes_of_all_kinds_go_together_and_keep_their_places(device: OnDevice) -> None:
    chance = np.random.default_rng(2)
    shapes: list[tuple[int, ...]] = [(90, 60), (40, 40, 3), (256, 200), (3, 7, 3), (31, 256)]
    planes = [chance.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    rows = packed(planes)
    rows[1] = 0
    predictor = PreparingPredictor(squares=device.squares, predictor=Keeps(), batch=BATCH)
    found = predictor.predict(rows).astype(int)
    assert not found[1].any()
    for place in (0, 2, 3, 4):
        assert np.abs(found[place] - prepare(planes[place], PROFILE, 224)).max() <= 1
    assert np.array_equal(found[4], predictor.predict(rows[4:])[0])


def test_each_kind_has_a_canvas_that_is_large_enough() -> None:
    kinds = [kind_of(unpack(pack(np.zeros(shape, np.uint8), 224, None))) for shape in ((256, 9), (257, 9, 3), (900, 9))]
    assert kinds == [(1, 256), (3, 512), (1, 512)]


class Wrong:
    """A device that gets everything wrong."""

    def __init__(self, profile: str, batch: int) -> None:
        pass

    def squares(self, planes: list[Packed]) -> Pictures:
        return np.zeros((len(planes), 224, 224, 3), np.uint8)


def test_where_the_device_is_wrong_the_processor_prepares_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(preparing, "OnDevice", Wrong)
    with caplog.at_level(logging.WARNING):
        predictor = preparing.preparing(PROFILE, Keeps(), BATCH)
    assert "prepared_by_processor apart=" in caplog.text
    plane = np.random.default_rng(3).integers(0, 256, (50, 60), dtype=np.uint8)
    assert np.array_equal(prepare(plane, PROFILE, 224), predictor.predict(packed([plane]))[0])


def test_only_tensorflow_on_a_gpu_prepares_and_only_what_is_denoised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "nvidia0"
    assert not choice.prepares("tensorflow", PROFILE, card)
    card.touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert choice.prepares("tensorflow", PROFILE, card)
    assert choice.prepares("auto", PROFILE, card)
    assert not choice.prepares("auto", "plain", card)
    assert not choice.prepares("openvino", PROFILE, card)
