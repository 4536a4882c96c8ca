"""The README names only what exists."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from neurobatch.cli import cli
from neurobatch.codes import DISCLAIMER
from neurobatch.settings import load_settings
from storage.memory import Memory
from tests.api.wired import Bench
from tests.project.tree import ROOT

README = (ROOT / "README.md").read_text()
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("client/*.md")])


def lines(start: str) -> Iterator[str]:
    """The lines of fenced blocks of all pages that begin with a command."""
    for page in PAGES:
        for block in re.findall(r"^```(?:sh|console)?\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.removeprefix("$ ").split(" #")[0].strip()
                if command.startswith(start):
                    yield command


def resolve(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """The subcommand that words lead to, and the words after its name."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command)
        inner = command.get_command(context, words[0])
        assert inner is not None, f"no such command: {words[0]}"
        command, words = inner, words[1:]
    return command, words


def test_the_first_command_stands_within_thirty_lines() -> None:
    assert any("make run" in line for line in README.splitlines()[:30])


def test_the_disclaimer_stands_on_the_first_screen() -> None:
    assert DISCLAIMER in " ".join(README.splitlines()[:40])


@pytest.mark.parametrize("line", sorted(set(lines("make "))))
def test_every_recipe_in_a_page_exists(line: str) -> None:
    word = shlex.split(line)[1]
    assert re.search(rf"^{re.escape(word)}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), word


@pytest.mark.parametrize("line", sorted(set(lines("neurobatch "))))
def test_every_command_and_option_in_a_page_exists(line: str) -> None:
    words = shlex.split(re.split(r"\s[|>]", line)[0])[1:]
    command, rest = resolve(cli, words)
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    given = {word.split("=")[0] for word in rest if word.startswith("-")}
    assert given - options - {"--help", "--version"} == set()


@pytest.mark.parametrize("line", sorted(set(lines("curl "))))
def test_every_address_in_a_page_is_answered(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)
    url = urlsplit(next(word for word in words if "://" in word).replace("$ID", "0" * 36))
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if "-F" in words else "GET"
    api = Bench(Memory(), load_settings(home=tmp_path)).app
    endpoint, _ = api.url_map.bind(url.netloc).match(url.path, method)
    assert endpoint in api.view_functions


def test_every_link_leads_somewhere() -> None:
    targets = [(page, target) for page in PAGES for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())]
    here = [(page, target) for page, target in targets if "://" not in target and not target.startswith("../../")]
    broken = [f"{page.name}: {target}" for page, target in here if not (page.parent / target).exists()]
    assert broken == []


def test_the_command_says_its_version() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "neurobatch", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.fullmatch(r"neurobatch, version \d+\.\d+\.\d+\S*\n", done.stdout)
