"""Engines: one seam; a picture's output depends on the picture alone."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.engines.choice import choose, precision_for, precision_of
from models.engines.processor import multiplies_bfloat16, processor_class
from models.engines.seam import SIDE, in_batches
from models.engines.timed import Timed
from neurobatch.codes import Code
from neurobatch.errors import Broken


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def test_the_device_always_sees_the_same_shape() -> None:
    seen = []

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(batch.shape)
        return batch[:, 0, 0, :1].astype(np.float32)

    shown = pictures(7)
    assert np.array_equal(shown[:, 0, 0, :1], in_batches(shown, 3, run))
    assert seen == [(3, SIDE, SIDE, 3)] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, SIDE, SIDE, 3), np.float32),
        np.zeros((2, SIDE, SIDE), np.uint8),
        np.zeros((0, SIDE, SIDE, 3), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="pictures are"):
        Timed(seconds=0).load("mobilenet", Path(), 2).predict(wrong)


@pytest.mark.parametrize(("network", "shape"), [("mobilenet", (5, 1)), ("unet", (5, SIDE, SIDE, 2))])
def test_the_timed_engine_answers_by_the_picture(network: str, shape: tuple[int, ...]) -> None:
    predictor = Timed(seconds=0).load(network, Path(), 2)
    shown = pictures(5)
    together = predictor.predict(shown)
    assert together.shape == shape
    alone = np.concatenate([predictor.predict(shown[place : place + 1]) for place in range(5)])
    assert np.array_equal(together, alone)


def test_the_timed_engine_takes_its_time() -> None:
    predictor = Timed(seconds=0.02).load("mobilenet", Path(), 2)
    start = time.monotonic()
    predictor.predict(pictures(4))
    assert time.monotonic() - start >= 0.08


def test_without_a_gpu_the_choice_is_openvino(tmp_path: Path) -> None:
    assert choose("auto", tmp_path, gpu=tmp_path / "nvidia0").name == "openvino"


def test_an_unknown_engine_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Broken) as refusal:
        choose("abacus", tmp_path)
    assert refusal.value.code == Code.NO_ENGINE
    assert "abacus" in str(refusal.value)


@pytest.mark.parametrize(
    ("flags", "batch", "precision"), [("avx2", "float32", "float32"), ("avx2 amx_bf16", "mixed", "bfloat16")]
)
def test_a_site_that_leaves_the_precision_open_gets_bfloat16_where_the_processor_multiplies_it(
    flags: str, batch: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr("models.engines.choice.multiplies_bfloat16", lambda: multiplies_bfloat16(info))
    nowhere = tmp_path / "nvidia0"
    assert precision_of("auto", "auto", "auto", nowhere) == precision_of("auto", "auto", "openvino") == batch
    assert precision_of("auto", "auto", "tensorflow") == "float32", "its bfloat16 was not measured"
    assert choose("openvino", tmp_path, precision="bfloat16").precision == precision, "results say what was multiplied"


def test_in_a_mixed_batch_classifiers_have_bfloat16_and_outlines_float32() -> None:
    assert [precision_for(kind, "mixed") for kind in ("classifier", "segmenter")] == ["bfloat16", "float32"]
    for each in ("float32", "bfloat16"):
        assert {precision_for(kind, each) for kind in ("classifier", "segmenter")} == {each}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2", "x86-64-v1"),
        ("ssse3 sse4_2 popcnt", "x86-64-v2"),
        ("avx2 bmi2 fma movbe sse4_2", "x86-64-v3"),
        ("avx512f avx512bw avx512cd avx512dq avx512vl avx2", "x86-64-v4"),
    ],
)
def test_the_class_of_processor_is_told_by_its_flags(
    flags: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert processor_class("float32", info) == expected
    info.write_text(f"flags\t\t: {flags} avx512_bf16\n")
    assert processor_class("bfloat16", info) == f"{expected}+avx512_bf16"
