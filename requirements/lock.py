"""The lock: which version of everything is installed, with its files' digests and no registry's address.

`python requirements/lock.py` resolves anew with uv (`make lock`); `--check` only says, without a network,
whether the lock agrees with both `pyproject.toml` (`make check`). Plain pip installs what is written here.
"""

import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
PROJECTS = (HERE.parent / "client" / "pyproject.toml", HERE.parent / "pyproject.toml")
PYTHON = "3.11"
STAMP = "# made by `make lock` from both pyproject.toml; of: "
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")


class Lock(NamedTuple):
    """One file of the lock, and the extras and groups that it holds beside the dependencies proper."""

    file: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    server: bool = True  # False: of the server, the groups alone


LOCKS = (
    Lock("run.txt"),
    Lock("api.txt", groups=("api",), server=False),
    Lock("gpu.txt", extras=("gpu",)),
    Lock("dev.txt", groups=("dev",)),
    Lock("peers.txt", groups=("peers",), server=False),
)


def wanted(lock: Lock) -> list[str]:
    """What both projects ask for, sorted: dependencies, the build backend, and the lock's extras and groups.

    The repository's own distributions are not among them: they are installed from where they stand.
    """
    projects = [tomllib.loads(path.read_text()) for path in PROJECTS]
    own = {project["project"]["name"] for project in projects}
    found = {line for project in projects for line in _asked(project, lock)}
    return sorted(line for line in found if Requirement(line).name not in own)


def _asked(project: dict[str, Any], lock: Lock) -> Iterator[str]:
    yield from project["build-system"]["requires"]
    if lock.server or "dependency-groups" not in project:
        yield from project["project"]["dependencies"]
    for extra in lock.extras:
        yield from project["project"].get("optional-dependencies", {}).get(extra, [])
    for group in lock.groups:
        yield from project.get("dependency-groups", {}).get(group, [])


def stamp(lines: Iterable[str]) -> str:
    """The digest that ties a lock to what was asked for when it was made."""
    return STAMP + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def resolve(lock: Lock) -> str:
    """Ask uv for one lock file's text: all systems and Pythons at once, wheels only. Needs a registry.

    Every lock but `run.txt` is resolved under it as a constraint: one machine never sees two versions.
    """
    base = HERE / LOCKS[0].file
    lines = wanted(lock)
    constraint = [] if lock is LOCKS[0] else ["--constraint", str(base)]
    options = (
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
    )
    command = [
        "uv",
        "pip",
        "compile",
        *options,
        "--python-version",
        PYTHON,
        "--only-binary",
        ":all:",
        *constraint,
        "-",
    ]
    done = subprocess.run(command, input="\n".join(lines), text=True, stdout=subprocess.PIPE, check=True)
    return f"{stamp(lines)}\n{done.stdout}"


def faults(lock: Lock) -> list[str]:
    """What is wrong with one lock file, as sentences; empty where it agrees with both pyproject.toml."""
    text = (HERE / lock.file).read_text()
    lines = wanted(lock)
    found = [] if text.startswith(stamp(lines) + "\n") else ["was made from other requirements: run `make lock`"]
    if "://" in text:
        found.append("names a host")
    blocks = [block for block in re.split(r"\n(?=\S)", text) if not block.startswith("#")]
    found += [f"{block.split()[0]} has no digest" for block in blocks if "--hash=sha256:" not in block]
    return found + _unmet(blocks, lines)


def _unmet(blocks: list[str], lines: list[str]) -> list[str]:
    pins: dict[str, list[str]] = {}
    for pin in filter(None, map(PIN.match, blocks)):
        pins.setdefault(canonicalize_name(pin[1]), []).append(pin[2])
    return [
        f"holds {' and '.join(versions) or 'nothing'} for {requirement}"
        for requirement in map(Requirement, lines)
        for versions in [pins.get(canonicalize_name(requirement.name), [])]
        if not versions or not all(requirement.specifier.contains(one, prereleases=True) for one in versions)
    ]


def main(arguments: list[str]) -> int:
    """Write all locks, or with `--check` name what is wrong with them."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python requirements/lock.py [--check]\n")
        return 2
    if not arguments:
        for lock in LOCKS:
            (HERE / lock.file).write_text(resolve(lock))
    found = [f"requirements/{lock.file} {fault}\n" for lock in LOCKS for fault in faults(lock)]
    sys.stderr.writelines(found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
