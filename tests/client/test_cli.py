"""The command line as a user meets it: help, exit codes, one line for a mistake, JSON for programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from neurobatch.cli import cli

NO_BATCH = "01890a5d-ac96-774b-bcce-b302099a8057"
LISTED = ("cancel", "delete", "gc", "phantom", "process", "recover", "results", "serve", "settings", "status", "submit")


@pytest.fixture
def run(tmp_path: Path) -> "Run":
    return Run(tmp_path)


class Run:
    """Runs the command in a process of its own, with an empty data folder."""

    def __init__(self, folder: Path) -> None:
        self.env = {**os.environ, "NEUROBATCH_HOME": str(folder / "home"), "HOME": str(folder), "COLUMNS": "120"}
        self.env.pop("NEUROBATCH_URL", None)

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "neurobatch", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=120, check=False)


def test_help_lists_every_command_and_says_what_this_is_not(run: Run) -> None:
    told = run("--help")
    assert told.returncode == 0
    for command in LISTED:
        assert f"\n  {command} " in told.stdout
    assert "not an approved medical" in told.stdout


@pytest.mark.parametrize("command", LISTED)
def test_every_command_has_help(command: str) -> None:
    told = CliRunner().invoke(cli, [command, "--help"])
    assert told.exit_code == 0
    assert told.output.startswith("Usage:")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("process",),
        ("process", "/nowhere/at/all"),
        ("status", "7"),
        ("results", NO_BATCH),
        ("cancel", NO_BATCH),
        ("delete", NO_BATCH, "--yes"),
        ("submit", __file__),
        ("serve", "--port", "99999"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(run: Run, arguments: tuple[str, ...]) -> None:
    told = run(*arguments)
    assert told.returncode == 2
    assert told.stdout == ""
    assert "Traceback" not in told.stderr
    assert 0 < len(told.stderr.strip().splitlines()) <= 4


def test_a_broken_installation_is_exit_1(run: Run) -> None:
    run.env["NEUROBATCH_PORT"] = "many"
    told = run("settings")
    assert told.returncode == 1
    assert "NEUROBATCH_PORT" in told.stderr
    assert "bad_setting" in told.stderr


def test_a_server_that_does_not_answer_is_exit_1(run: Run) -> None:
    told = run("status", NO_BATCH, "--url", "http://127.0.0.1:9")
    assert told.returncode == 1
    assert "server_unavailable" in told.stderr


def test_programs_get_an_error_as_json(run: Run) -> None:
    told = run("status", NO_BATCH, "--json")
    assert told.returncode == 2
    assert json.loads(told.stdout)["code"] == "not_found"


def test_settings_say_whence_they_come_and_no_secret(run: Run) -> None:
    run.env["NEUROBATCH_TOKENS"] = "ward=hunter2hunter2"
    told = json.loads(run("settings", "--json").stdout)
    assert told["NEUROBATCH_TOKENS"] == {"value": "ward=**********", "from": "environment"}
    assert told["NEUROBATCH_PORT"] == {"value": "8700", "from": "default"}


def test_an_empty_store_has_no_batches(run: Run) -> None:
    assert json.loads(run("status", "--json").stdout) == []


def test_serving_beyond_loopback_without_a_token_is_refused(run: Run) -> None:
    told = run("serve", "--host", "0.0.0.0", "--port", "0")
    assert told.returncode == 1
    assert "bind_without_token" in told.stderr
