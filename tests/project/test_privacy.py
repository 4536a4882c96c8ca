"""Nothing phones home: a hospital's machine talks to the services it was told of, and to nobody else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.tree import ROOT

# Runs at the start of every Python process that inherits PYTHONPATH; writes down whom it calls beyond loopback.
LISTENER = """
import sys


def _listen(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in (None, "", "localhost", "::1") and not str(host).startswith("127."):
        with open({log!r}, "a") as log:
            log.write(f"{{event}} {{host}} {{sys.argv}}\\n")


sys.addaudithook(_listen)
"""


@pytest.fixture
def overheard(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An environment in which every Python process is listened to, and the file of what it said."""
    (tmp_path / "listener").mkdir()
    (tmp_path / "home").mkdir()
    log = tmp_path / "calls"
    log.touch()
    (tmp_path / "listener" / "sitecustomize.py").write_text(LISTENER.format(log=str(log)))
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # some keep quiet in CI only
    environment |= {
        "PYTHONPATH": str(tmp_path / "listener"),
        "HOME": str(tmp_path / "home"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return environment, log


def test_the_listener_hears_a_call_beyond_loopback(overheard: tuple[dict[str, str], Path]) -> None:
    environment, log = overheard
    code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert log.read_text().startswith("socket.connect 192.0.2.1")


@pytest.mark.parametrize("module", ["models.engines.openvino", "models.engines.convert", "models.train"])
def test_importing_an_engine_calls_nobody(module: str, overheard: tuple[dict[str, str], Path], tmp_path: Path) -> None:
    environment, log = overheard
    code = f"import {module}, sys; sys.exit('openvino_telemetry.main' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=True, timeout=120)
    assert log.read_text() == ""
    assert not (tmp_path / "home" / "intel").exists()


@pytest.mark.slow
def test_a_whole_batch_calls_nobody(overheard: tuple[dict[str, str], Path], tmp_path: Path) -> None:
    environment, log = overheard
    environment["NEUROBATCH_HOME"] = str(tmp_path / "data")
    done = subprocess.run(
        [Path(sys.executable).parent / "neurobatch", "process", ROOT / "examples", "--json"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert log.read_text() == ""
    assert not (tmp_path / "home" / "intel").exists()
