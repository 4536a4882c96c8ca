"""The files of this repository, as the tests of its promises see them."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "bench", "deploy", "models", "neurobatch", "phantom", "pipeline", "storage", "worker")
BUILT = {".git", "__pycache__", "wheelhouse", "dist", "data", "runs", "node_modules"}


def room(name: str) -> Path:
    """The folder of a room."""
    return ROOT / "client" / name if name == "neurobatch" else ROOT / name


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file that is kept: no caches, no environment, nothing that a recipe makes."""
    for path in sorted(folder.iterdir()):
        if path.name in BUILT or path.name.startswith((".venv", ".mypy", ".ruff", ".pytest", ".hypo", ".import_")):
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def modules(name: str) -> Iterator[tuple[str, Path]]:
    """Every module of a room, dotted, with its file; packages stand for their `__init__.py`."""
    top = room(name)
    for path in sorted(top.rglob("*.py")):
        parts = path.relative_to(top.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path
