"""The process that converts a network goes when nobody waits for it any more."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.registry import WEIGHTS


@pytest.mark.slow
def test_a_conversion_whose_asker_is_gone_ends_and_leaves_nothing(tmp_path: Path) -> None:
    weights = WEIGHTS / "mobilenet.weights.h5"
    command = [sys.executable, "-m", "models.engines.convert", "mobilenet", str(weights), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as converting:
        assert converting.stdin is not None
        converting.stdin.close()
        assert converting.wait(120) == 1
    assert not any(tmp_path.iterdir())
