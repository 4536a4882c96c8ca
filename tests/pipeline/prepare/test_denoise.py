"""Noise is taken away as OpenCV would, by a kernel of our own, whatever the installation lets it do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.prepare.compiled import NUMBA, keep_in, mark_of
from pipeline.prepare.denoise import KERNEL, PATCH, SEARCH, STRENGTH, denoise, fastest, opencv, warm
from pipeline.prepare.nonlocal_means import filtered

ROOT = Path(__file__).parents[3]
KINDS = ("noise", "noisy disc", "ramp", "flat", "two levels")
LOOK = """
import logging, sys
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
import numpy as np
from pipeline.prepare.denoise import denoise, fastest, opencv, warm
warm()
plane = np.random.default_rng(5).integers(90, 110, (40, 30), dtype=np.uint8)
same = np.array_equal(denoise(plane), opencv(plane[None], 5.0, 11)[0])
print("same", same, fastest().__name__)
"""

shapes = st.tuples(st.integers(1, 3), st.integers(1, 48), st.integers(1, 48))


def planes(shape: tuple[int, int, int], kind: str, seed: int) -> NDArray[np.uint8]:
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    drawn: dict[str, NDArray[Any]] = {
        "noise": chance.integers(0, 256, shape),
        "noisy disc": np.where(np.hypot(y - 20, x - 20) < 12, 140, 60) + chance.normal(0, 5, shape),
        "ramp": np.broadcast_to(3 * x + y, shape) % 256,
        "flat": np.full(shape, chance.integers(0, 256)),
        "two levels": chance.choice([0, 255], shape),
    }
    return np.asarray(np.clip(drawn[kind], 0, 255), np.uint8)


@settings(deadline=None, max_examples=150)
@given(
    shape=shapes,
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**16),
    strength=st.one_of(st.just(STRENGTH), st.floats(0, 60), st.sampled_from([0.0, 0.1, 1000.0])),
    search=st.sampled_from([1, 3, 7, SEARCH, 21]),
)
@example(shape=(1, 1, 1), kind="noise", seed=0, strength=STRENGTH, search=21)
@example(shape=(2, 40, 1), kind="noise", seed=0, strength=STRENGTH, search=21)
@example(shape=(1, 48, 48), kind="two levels", seed=0, strength=300.0, search=21)
def test_the_kernel_gives_what_opencv_gives(
    shape: tuple[int, int, int], kind: str, seed: int, strength: float, search: int
) -> None:
    given_planes = planes(shape, kind, seed)
    assert np.array_equal(opencv(given_planes, strength, search), filtered(given_planes, strength, search))


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 70), width=st.integers(1, 70), kind=st.sampled_from(KINDS), seed=st.integers(0, 2**16))
def test_colour_is_denoised_as_opencv_does_it(height: int, width: int, kind: str, seed: int) -> None:
    plane = np.ascontiguousarray(np.moveaxis(planes((3, height, width), kind, seed), 0, 2))
    bgr = np.ascontiguousarray(plane[:, :, ::-1])
    expected = cv2.fastNlMeansDenoisingColored(bgr, None, STRENGTH, STRENGTH, PATCH, SEARCH)[:, :, ::-1]
    assert np.array_equal(expected, denoise(plane))


def test_real_slices_are_denoised_as_opencv_does_it(test_data: Path) -> None:
    files = [path for room in ("web", "lgg") for path in sorted((test_data / room / "images").rglob("*.*"))]
    for path in files[:: len(files) // 12]:
        plane = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)[:400, :400]
        assert np.array_equal(opencv(plane[None], STRENGTH, SEARCH)[0], denoise(plane))


def test_the_kernel_is_what_denoises_here() -> None:
    assert fastest() is filtered


def test_a_picture_of_one_level_is_its_own_mean() -> None:
    plane = np.full((30, 40), 17, np.uint8)
    assert np.array_equal(plane, denoise(plane))


def test_planes_that_are_no_rows_in_memory_are_denoised_too() -> None:
    plane = planes((1, 40, 40), "noise", 1)[0]
    assert np.array_equal(denoise(np.ascontiguousarray(plane.T)), denoise(plane.T))


def test_where_numba_is_missing_opencv_denoises_and_the_log_says_so() -> None:
    said = look("import sys; sys.modules['numba'] = None\n" + LOOK, ROOT)
    assert said == ["denoising_by_opencv missing=numba", "same True opencv"]


def test_the_environment_names_the_kernels_folder_before_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NUMBA, "/elsewhere")
    keep_in(tmp_path)
    assert os.environ[NUMBA] == "/elsewhere"


def test_a_process_compiles_before_its_first_slice_and_only_the_first_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NUMBA, raising=False)
    assert mark_of(KERNEL) is None
    monkeypatch.setenv(NUMBA, str(tmp_path / "kernels"))
    mark = mark_of(KERNEL)
    assert mark is not None
    assert not mark.exists()
    warm()
    assert mark.exists()
    assert look(
        "from pipeline.prepare.denoise import warm\nimport sys\nwarm()\nprint('numba' in sys.modules)",
        ROOT,
        **{NUMBA: str(tmp_path / "kernels")},
    ) == ["False"]


def test_what_was_compiled_from_another_source_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NUMBA, str(tmp_path))
    other = tmp_path / "shifts.py"
    other.write_text("another")
    assert mark_of(other) != mark_of(KERNEL)


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation beside which nothing can be written, for root neither."""
    place = tmp_path_factory.mktemp("installed")
    for room, found in (("pipeline", ROOT / "pipeline"), ("neurobatch", ROOT / "client" / "neurobatch")):
        shutil.copytree(found, place / room, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "pipeline" / "prepare" / "__pycache__").write_text("")
    return place


@pytest.mark.slow
def test_beside_a_read_only_installation_the_kernel_is_compiled_once(read_only: Path, tmp_path: Path) -> None:
    begin = (
        f"from pathlib import Path\nfrom pipeline.prepare.compiled import keep_in\nkeep_in(Path({str(tmp_path)!r}))\n"
    )
    assert look(begin + LOOK, read_only) == ["same True filtered"]
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "kernels").rglob("*.nbc")}
    assert made
    assert look(begin + LOOK, read_only) == ["same True filtered"]
    assert made == {file: file.stat().st_mtime_ns for file in (tmp_path / "kernels").rglob("*.nbc")}


@pytest.mark.slow
def test_where_nothing_can_be_written_the_kernel_is_compiled_all_the_same(read_only: Path) -> None:
    said = look(LOOK, read_only, HOME="/dev/null", XDG_CACHE_HOME="/dev/null", **{NUMBA: "/dev/null/kernels"})
    assert said == ["kernel_not_kept error=RuntimeError", "same True filtered"]


def look(program: str, site: Path, **environment: str) -> list[str]:
    """What a program says in an interpreter of its own, with the rooms taken from `site`."""
    paths = os.pathsep.join([str(site), *([str(site / "client")] if (site / "client").is_dir() else [])])
    kept = {name: value for name, value in os.environ.items() if name != NUMBA}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd="/",
        env={**kept, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
