"""Paths that a person named, as sources: each is registered as a root of this machine."""

from pathlib import Path

from neurobatch.records import RootSource
from storage.roots import Roots


def root_source(roots: Roots, path: Path) -> RootSource:
    """A folder is a root of its own; a file lies in the root that its folder is."""
    if path.is_dir():
        return roots.register(path)
    return roots.register(path.parent).model_copy(update={"path": path.name})
