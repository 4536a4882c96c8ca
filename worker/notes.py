"""The spot that a planning child has under its hands, told through a file that outlives the child."""

import json
from pathlib import Path
from types import TracebackType

Spot = tuple[int, str, int]
"""Number of the source, path in it, position in the archive (-1: the file itself, or all of an archive); for a
series that is grouped -1, nothing, and its number."""


class FileNotes:
    """Notes the spot in a file; nothing is synced, since only the child's death is feared, not the machine's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "FileNotes":
        self._file = self._path.open("wb", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def at(self, spot: Spot) -> None:
        """From now on this file is looked at."""
        self._file.seek(0)
        self._file.write(json.dumps(spot).encode() + b"\n")


def read_spot(path: Path) -> Spot | None:
    """The spot that was noted last; None where none was, or the file is gone."""
    try:
        source, name, member = json.loads(path.read_bytes().partition(b"\n")[0])
    except (OSError, ValueError):
        return None
    return int(source), str(name), int(member)
