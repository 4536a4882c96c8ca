"""The table of rooms holds: who may import whom, and what importing a room drags in."""

import ast
import configparser
import json
import subprocess
import sys
from importlib.metadata import entry_points

import click
import pytest

from tests.project.tree import ROOMS, ROOT, modules, room

DECODERS = {"tensorflow", "keras", "cv2", "pydicom", "nibabel", "openvino", "PIL"}


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["api.wsgi", "models.registry", "neurobatch.cli"])
def test_what_answers_requests_loads_no_heavy_library(module: str) -> None:
    assert loaded_by(f"import {module}") & (DECODERS | {"numpy"}) == set()


def test_the_supervisor_can_decode_nothing() -> None:
    assert loaded_by("import worker.supervisor") & DECODERS == set()


@pytest.mark.parametrize("module", ["neurobatch.cli", "neurobatch.records"])
def test_the_client_alone_needs_nothing_of_the_server(module: str) -> None:
    assert loaded_by(f"import {module}") & {"flask", "celery", "redis", "boto3", "storage", "api"} == set()


@pytest.mark.parametrize("name", ROOMS)
def test_every_init_holds_a_docstring_alone(name: str) -> None:
    for path in room(name).rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert [type(node) for node in body] == [ast.Expr], path
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize("name", ROOMS)
def test_every_folder_of_a_room_with_code_is_a_package(name: str) -> None:
    folders = {path.parent for _, path in modules(name)}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_room_stands_in_the_contracts() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    assert sorted(contracts["importlinter"]["root_packages"].split()) == list(ROOMS)
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"neurobatch"}
    assert found == set(ROOMS)


def test_every_command_that_the_server_adds_is_there() -> None:
    added = {entry.name: entry.load() for entry in entry_points(group="neurobatch.commands")}
    assert {"process", "serve", "worker", "phantom", "train", "evaluate"} <= set(added)
    assert [name for name, command in added.items() if not isinstance(command, click.Command)] == []


def test_to_list_the_commands_takes_no_heavy_library() -> None:
    loading = "from importlib.metadata import entry_points as e; [x.load() for x in e(group='neurobatch.commands')]"
    assert loaded_by(loading) & (DECODERS | {"numpy"}) == set()
