"""Runtimes that are no engines of neurobatch are measured where they are installed, and only there."""

from pathlib import Path

import pytest

from bench import runtimes
from bench.runtimes import PACKAGES, installed, running


def test_what_is_not_installed_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("nncf", "tf2onnx") else object())
    assert installed() == (("litert", "float32"), ("litert", "int8"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")  # Keras 3.15 exporting to ONNX
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")  # inputs stay float32
@pytest.mark.parametrize(("runtime", "precision"), PACKAGES)
def test_each_converts_a_network_and_runs_it(
    runtime: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (runtime, precision) not in installed():
        pytest.skip(f"{' and '.join(PACKAGES[runtime, precision])} are not installed")
    monkeypatch.setattr(runtimes, "CALIBRATION", 1)
    answer = running(runtime, precision, str(tmp_path))
    assert answer(network="mobilenet", batch=1, pictures=1) > 0
    assert answer(network="mobilenet", batch=2, pictures=4) > 0
