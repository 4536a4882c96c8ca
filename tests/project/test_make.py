"""The recipes: what they hand to the command, and how they end."""

import subprocess
from pathlib import Path

import pytest

from tests.project.tree import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout where everything is installed and the command only says how it was called."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("pyproject.toml", "client/pyproject.toml", "requirements/run.txt", "deploy/install.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    command = tmp_path / ".venv" / "bin" / "neurobatch"
    command.write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\nexit ${CODE:-0}\n")
    command.chmod(0o755)
    (tmp_path / ".venv" / ".run").touch()
    return tmp_path


def make(checkout: Path, *arguments: str, code: int = 0) -> tuple[int, str]:
    environment = {"PATH": "/usr/bin:/bin", "CODE": str(code)}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_make_run_judges_the_examples(checkout: Path) -> None:
    assert make(checkout, "run") == (0, "<process><examples>")


def test_make_run_hands_over_what_it_was_told(checkout: Path) -> None:
    told = make(checkout, "run", "SCANS=my scans", "TO=out of it", "NEW=1", "DRY=1", "ARGS=--json --name x")
    assert told == (0, "<process><my scans><--to><out of it><--new><--dry-run><--json><--name><x>")


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (3, 0), (1, 2), (2, 2), (130, 2)])
def test_make_run_ends_well_when_the_batch_is_complete_even_with_failed_scans(
    code: int, ends: int, checkout: Path
) -> None:
    assert make(checkout, "run", code=code)[0] == ends


def test_make_serve_and_train_pass_their_arguments_on(checkout: Path) -> None:
    assert make(checkout, "serve", "ARGS=--port 0") == (0, "<serve><--port><0>")
    assert make(checkout, "train", "ARGS=unet") == (0, "<train><unet>")


def test_make_alone_lists_its_recipes() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    listed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")]
    words = ["install", "run", "serve", "test", "check", "bench", "train", "wheelhouse"]
    assert [word for word in words if word not in listed] == []
    assert len(listed) <= 12
