"""Results taken away: under which names, safe on any system, and how they are copied into a folder."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.gateway import Gateway
from neurobatch.records import LeftOutLine, Result
from neurobatch.tables import csv_header, csv_row, left_out_header, left_out_row

LONGEST_PATH = 1024  # characters of a path that are kept, counted from its end
LONGEST_SEGMENT = 200  # bytes of one part of a path, so that an artifact's name still fits behind it

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_DRIVE = re.compile(r"^[A-Za-z]:/")
_FORBIDDEN = re.compile(r'[<>:"|?*\\]')
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def printable(text: str) -> str:
    """Text without characters that a terminal or a browser would take as a command."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def shown_path(name: str) -> str:
    """The user's path for a file, made harmless: relative, `/` between parts, no `..`, all printable."""
    plain = printable(_DRIVE.sub("", name.replace("\\", "/")))
    return "/".join(part for part in plain[-LONGEST_PATH:].split("/") if part.strip() not in ("", ".", ".."))


def safe_segment(part: str) -> str:
    """One part of a path as Windows, macOS and Linux all take it."""
    plain = _FORBIDDEN.sub("_", part).strip().rstrip(".") or "_"
    if _DEVICE.match(plain):
        plain = f"_{plain}"
    data = plain.encode()
    return plain if len(data) <= LONGEST_SEGMENT else data[-LONGEST_SEGMENT:].decode("utf-8", "ignore")


def taken_name(path: str, artifact: str) -> str:
    """Under which name people take an artifact away: the source's own path, and what it is behind it."""
    parts = [safe_segment(part) for part in shown_path(path).split("/")]
    return "/".join(parts) + f"_{artifact}"


class TakenNames:
    """Names for all artifacts of a batch: where two scans have one path, the later lies in a folder of its own.

    Paths are compared as Windows and macOS do. Keeps 8 bytes a scan.
    """

    def __init__(self) -> None:
        self._given: set[bytes] = set()

    def above(self, result: Result) -> str:
        """The folder that goes before all names of this result: empty, or the scan's id."""
        shown = taken_name(result.path, "").casefold().encode()
        digest = hashlib.blake2b(shown, digest_size=8).digest()
        if digest not in self._given:
            self._given.add(digest)
            return ""
        return f"{result.scan}/"


def take(gateway: Gateway, batch: str, folder: Path) -> int:
    """Copy all results of a batch into a folder; what is there already with the right digest is left.

    Returns the number of artifacts. Writes `results.csv`, `results.jsonl` and `left-out.csv` beside them.

    Raises:
        Refused: `invalid_field`, where the folder cannot be written.
    """
    taken, given = 0, TakenNames()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "results.csv").open("wb") as table, (folder / "results.jsonl").open("wb") as lines:
            table.write(csv_header())
            for result in gateway.results(batch):
                table.write(csv_row(result))
                lines.write(result.dump() + b"\n")
                above = given.above(result)
                for artifact in result.artifacts:
                    target = folder / (above + taken_name(result.path, artifact.name))
                    if not _is(target, artifact.sha256):
                        _write(target, gateway.artifact(batch, result, artifact))
                    taken += 1
        _left_out(folder / "left-out.csv", gateway.left_out(batch))
    except OSError as error:
        raise Refused(Code.INVALID_FIELD, f"The folder cannot be written: {error.strerror}") from None
    return taken


def _left_out(target: Path, lines: Iterable[LeftOutLine]) -> None:
    with target.open("wb") as table:
        table.write(left_out_header())
        table.writelines(left_out_row(line) for line in lines)


def _is(target: Path, sha256: str) -> bool:
    if not target.is_file():
        return False
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _write(target: Path, chunks: Iterable[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name[-100:]}.part")
    with draft.open("wb") as file:
        file.writelines(chunks)
    draft.replace(target)
