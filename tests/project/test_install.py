"""`make install`: plain words where Python does not fit, nothing done twice, no registry where none is."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.project.tree import ROOT

STAMPED = ("pyproject.toml", "client/pyproject.toml", "requirements/run.txt", "requirements/dev.txt")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make install` needs of a checkout, without the rooms."""
    for name in ("Makefile", "deploy/install.sh", *STAMPED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def fake_python(folder: Path, *, breaks_on: str) -> Path:
    """An interpreter that fails every `-c` program which holds a word."""
    fake = folder / "fake-python"
    fake.write_text(f'#!/bin/sh\ncase "$2" in *{breaks_on}*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    fake.chmod(0o755)
    return fake


def install(checkout: Path, **environment: object) -> subprocess.CompletedProcess[str]:
    merged = os.environ | {name: str(value) for name, value in environment.items()}
    return subprocess.run(
        [checkout / "deploy" / "install.sh"],
        env=merged,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_python_that_does_not_fit_is_refused_with_the_packages_to_install(checkout: Path) -> None:
    done = install(checkout, PYTHON=fake_python(checkout, breaks_on="version_info"))
    assert done.returncode == 1
    assert "neurobatch needs Python 3.11, 3.12 or 3.13, and none was found." in done.stderr
    assert "apt-get install python3.11 python3.11-venv" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_is_told_which_package_brings_it(checkout: Path) -> None:
    done = install(checkout, PYTHON=fake_python(checkout, breaks_on="ensurepip"))
    assert done.returncode == 1
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert f"apt-get install {package}" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_wheelhouse_without_a_wheel_is_not_helped_out_by_a_registry(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    done = install(checkout, PYTHON=sys.executable, WHEELHOUSE=tmp_path / "wheels", PIP_FIND_LINKS="")
    assert done.returncode != 0
    assert "No matching distribution found" in done.stderr


def test_a_second_make_installs_nothing(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".run").touch()
    assert make_asks(checkout) == 0
    later = (checkout / ".venv" / ".run").stat().st_mtime + 10
    os.utime(checkout / "requirements" / "run.txt", (later, later))
    assert make_asks(checkout) == 1


def make_asks(checkout: Path) -> int:
    """0: nothing is to be done; 1: something is."""
    return subprocess.run(["make", "-q", ".venv/.run"], cwd=checkout, check=False, timeout=60).returncode


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_machine_without_internet_installs_from_the_wheelhouse(tmp_path: Path) -> None:
    wheels, away = tmp_path / "wheels", tmp_path / "away"
    gathered = subprocess.run(
        ["make", "-o", ".venv/.run", "wheelhouse", f"TO={wheels}", f"PY={sys.executable}"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    if gathered.returncode and not os.environ.get("CI"):
        pytest.skip("no package registry could be asked for the wheels")
    assert gathered.returncode == 0, gathered.stderr[-2000:]
    venv.create(away, with_pip=True)
    cut_off = os.environ | {"PIP_PROXY": "http://127.0.0.1:9", "PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1"}
    pip: list[str | Path] = [away / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--find-links", wheels, "neurobatch-server"], env=cut_off, check=True, timeout=600)
    shutil.rmtree(wheels)
    told = subprocess.run(
        [away / "bin" / "neurobatch", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.startswith("neurobatch")
    shutil.rmtree(away)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_api_runs_from_its_own_lock_without_tensorflow(tmp_path: Path) -> None:
    own, home = tmp_path / "own", tmp_path / "image"
    build = ["wheel", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", str(own)]
    subprocess.run([sys.executable, "-m", "pip", *build, "./client", "."], cwd=ROOT, check=True, timeout=120)
    venv.create(home, with_pip=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    locked = subprocess.run(
        [*pip, "--require-hashes", "-r", str(ROOT / "requirements" / "api.txt")], check=False, timeout=300
    )
    if locked.returncode and not os.environ.get("CI"):
        pytest.skip("no package registry could be asked")
    subprocess.run([*pip, "--no-index", "--no-deps", *map(str, own.iterdir())], check=True, timeout=120)
    settings = {"NEUROBATCH_BROKER": "redis://127.0.0.1:9/0", "NEUROBATCH_HOME": str(tmp_path / "home")}
    code = "import api.wsgi, deploy.local.gunicorn; api.wsgi.create_app(); import importlib.util as look;"
    code += "print(look.find_spec('tensorflow'))"
    told = subprocess.run(
        [home / "bin" / "python", "-c", code],
        cwd=tmp_path, env=settings, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert told.stdout == "None\n"
