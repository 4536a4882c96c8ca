"""Members of series: grouped on disk when the listing has ended, in the order in which their series were first met.

A million members do not fit into memory, so an SQLite file holds them, in a private folder of this machine. It is
built from the committed pages alone: whoever builds it gets the same, and losing it costs only time.
"""

import contextlib
import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from neurobatch.codes import Code
from neurobatch.records import FileRef, MemberLine, ScanKind
from pipeline.limits import Limits
from pipeline.read.dicom_header import DicomHeader
from pipeline.read.grouping import group
from storage.ledger import Ledger
from storage.names import BatchKey
from worker.pages import Found

STALE = 24 * 3600.0  # seconds after which an index that nobody finished is swept

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE series (number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, files INTEGER NOT NULL);
CREATE TABLE member (ordinal INTEGER PRIMARY KEY, series INTEGER NOT NULL, line BLOB NOT NULL);
"""
_ADD_SERIES = """
INSERT INTO series (number, name, files) VALUES ((SELECT count(*) FROM series), ?, 1)
ON CONFLICT (name) DO UPDATE SET files = files + 1 RETURNING number
"""


class Member(NamedTuple):
    """A file of a series, and what its header says."""

    file: FileRef
    header: DicomHeader


class Series(NamedTuple):
    """A group of members."""

    number: int  # in the order of their first members
    files: int


class Grouped(NamedTuple):
    """What the members of one series come to; each is in exactly one of these."""

    scans: tuple[Found, ...]
    left_out: tuple[tuple[FileRef, Code], ...]


def series_of(members: Sequence[Member], limits: Limits) -> Grouped:
    """Make scans of the members of one series: several where they form several volumes."""
    plans = group([member.header for member in members], limits)
    scans = tuple(
        Found(
            kind=ScanKind.DICOM,
            files=tuple(members[index].file for index in plan.members),
            slices=max(1, plan.slices),
            part=plan.part,
            study_uid=plan.study_uid or None,
            series_uid=plan.series_uid or None,
        )
        for plan in plans
    )
    left_out = [
        (members[index].file, code)
        for plan in plans
        for indexes, code in ((plan.duplicates, Code.DUPLICATE_INSTANCE), (plan.others, Code.OTHER_VOLUME))
        for index in indexes
    ]
    return Grouped(scans, tuple(left_out))


def line_of(member: Member) -> MemberLine:
    """A member as it is stored until its series is complete."""
    return MemberLine(file=member.file, header=member.header.model_dump(mode="json", exclude_defaults=True))


def folder_of(file: FileRef) -> str:
    """The folder that a file lies in: below its source, within its archive."""
    return file.shown.rpartition("/")[0]


class SeriesIndex:
    """All members of a batch whose series were not complete when they were listed."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    @contextlib.contextmanager
    def of(cls, scratch: Path, ledger: Ledger, key: BatchKey, *, by_folder: bool) -> Iterator["SeriesIndex"]:
        """The index of a batch whose listing has ended; built at the first call on this machine."""
        file = scratch / f"{hashlib.sha256('/'.join(key).encode()).hexdigest()[:32]}.sqlite"
        if not file.exists():
            scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(scratch)
            _build(file, _lines(ledger, key), by_folder)
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            yield cls(database)

    @staticmethod
    def drop(scratch: Path, key: BatchKey) -> None:
        """Remove a batch's index from this machine."""
        name = f"{hashlib.sha256('/'.join(key).encode()).hexdigest()[:32]}.sqlite"
        (scratch / name).unlink(missing_ok=True)

    def series(self, start: int) -> Iterator[Series]:
        """All series from number `start`."""
        rows = self._database.execute("SELECT number, files FROM series WHERE number >= ? ORDER BY number", (start,))
        return (Series(*row) for row in rows)

    def members(self, series: int, start: int = 0, count: int = -1) -> list[Member]:
        """`count` members of a series from the `start`th, in the order of the listing; all with -1."""
        rows = self._database.execute(
            "SELECT line FROM member WHERE series = ? ORDER BY ordinal LIMIT ? OFFSET ?", (series, count, start)
        )
        lines = (MemberLine.load(line) for (line,) in rows)
        return [Member(line.file, DicomHeader.model_validate(line.header)) for line in lines]


def _lines(ledger: Ledger, key: BatchKey) -> Iterator[MemberLine]:
    for page in ledger.pages(key):
        yield from ledger.members(key, page)
        if page.cursor.phase != "listing":
            return


def _build(file: Path, lines: Iterable[MemberLine], by_folder: bool) -> None:
    """Build beside its place and move it there whole: two children may build at once."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
    os.close(descriptor)
    try:
        with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as database:
            database.executescript(_TABLES)
            database.execute("BEGIN")
            for ordinal, line in enumerate(lines):
                uid = str(line.header.get("series_uid", ""))
                place = f"{line.file.source}\0{folder_of(line.file)}\0{uid}" if by_folder else uid
                (number,) = database.execute(_ADD_SERIES, (place,)).fetchone()
                database.execute("INSERT INTO member VALUES (?, ?, ?)", (ordinal, number, line.dump()))
            database.execute("CREATE INDEX of_series ON member (series, ordinal)")
            database.execute("COMMIT")
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)


def _sweep(scratch: Path) -> None:
    for old in scratch.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > STALE:
                old.unlink()
