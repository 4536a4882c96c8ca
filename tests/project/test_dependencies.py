"""What is imported is asked for, and what is asked for is used; all of it may be given to a hospital."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import lock
from tests.project.tree import ROOMS, ROOT, modules

NOT_IMPORTED = {
    "gunicorn": "a program",
    "neurobatch": "the other distribution",
    "pylibjpeg": "pydicom loads it by itself",
    "pylibjpeg-openjpeg": "pydicom loads it by itself",
    "python-gdcm": "pydicom loads it by itself",
}
FOR_TESTS = {"storage.testing", "storage.testing_faults"}  # the conformance class, which pytest alone imports
PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|MPL|Mozilla Public|HPND|PSF|Unlicense|Python Software Foundation|Public Domain|Zlib",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|GNU)", re.IGNORECASE)
READ_BY_HAND = {"namex": "Apache-2.0"}  # its metadata say nothing, its licence file does


def asked(project: Path) -> set[str]:
    """The names of the distributions that a pyproject.toml depends on."""
    lines = tomllib.loads(project.read_text())["project"]["dependencies"]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def imported(*rooms: str) -> set[str]:
    """The distributions that the code of some rooms imports, at the top of a module or in a function."""
    names = {
        name.partition(".")[0]
        for room in rooms
        for module, path in modules(room)
        if module not in FOR_TESTS
        for name in _imports(path)
    }
    foreign = names - set(sys.stdlib_module_names) - set(ROOMS)
    known = packages_distributions()
    return {canonicalize_name(known[name][0]) for name in foreign}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def licence(name: str) -> str:
    """What a distribution's metadata say of its licence: expression, classifiers, first line of text."""
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    metadata = distribution(name).metadata
    classifiers = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    free = [text.strip().split("\n")[0] for text in metadata.get_all("License") or []]
    return " / ".join([*(metadata.get_all("License-Expression") or []), *classifiers, *free])


def test_the_client_imports_what_it_asks_for() -> None:
    assert imported("neurobatch") == asked(ROOT / "client" / "pyproject.toml")


def test_the_server_imports_what_it_and_the_client_ask_for() -> None:
    server, client = asked(ROOT / "pyproject.toml"), asked(ROOT / "client" / "pyproject.toml")
    used = imported(*(set(ROOMS) - {"neurobatch", "bench"}))
    assert used - server - client == set()
    assert server - used == set(NOT_IMPORTED)


def test_everything_in_the_lock_has_a_permissive_licence() -> None:
    names = {pin[1] for line in (lock.HERE / "run.txt").read_text().splitlines() if (pin := lock.PIN.match(line))}
    found = {}
    for name in sorted(names):
        try:
            found[name] = licence(name)
        except PackageNotFoundError:
            continue  # for another system or another Python
    assert len(found) > 50
    doubtful = {name: text for name, text in found.items() if not PERMISSIVE.search(text) or COPYLEFT.search(text)}
    assert doubtful == {}
