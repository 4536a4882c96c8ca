"""Drafts one page of the plan: looks at files where they lie, and tells scans from all else by their headers.

Runs in a child, since headers are hostile too. What a draft holds depends on the listing, the files' heads and
the options only, so two planners draft the same; where a listing changed between them, the page that was
committed first is the truth. Before each file is looked at its spot is noted, so that the supervisor knows which
one killed the child.
"""

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import PurePosixPath
from typing import Protocol

from neurobatch.codes import Code
from neurobatch.errors import Broken, LeftOut, Missing, ScanFailed
from neurobatch.records import Cursor, FileRef, Page, ScanKind, Source, UploadSource
from pipeline.read.archives import Member as ArchiveMember
from pipeline.read.archives import members
from pipeline.read.sort import HEAD_BYTES, Described, Kind, describe, hidden, sniff
from pipeline.read.streams import Readable
from storage.ledger import Ledger
from storage.opening import open_store
from worker.ahead import Ahead
from worker.folders import Entry, Opened
from worker.notes import FileNotes, Spot
from worker.pages import Draft, Found, PageTask
from worker.series import Grouped, Member, SeriesIndex, folder_of, line_of, series_of
from worker.sources import Sources, picked, sources_from
from worker.subtrees import Subtrees


class Notes(Protocol):
    """Where the spot under one's hands is noted."""

    def at(self, spot: Spot) -> None:
        """From now on this file is looked at; position -1 is the file itself, or all of an archive."""
        ...


def draft_page(task: PageTask) -> Page:
    """Draft a page and put the lines it names; the page itself is for the caller to commit.

    Raises:
        Unavailable: a service does not answer.
        Refused: the batch is gone.
        Broken: a record is damaged, or this machine has no room for the planner's own files.
    """
    ledger = Ledger(open_store(task.config.store, task.config.s3))
    try:
        with FileNotes(task.note) as notes:
            return Drafter(ledger, Sources(task.config, ledger.objects), task, notes).page()
    except (OSError, sqlite3.Error) as error:  # those of the user's files were told as the files'
        raise Broken(Code.INTERNAL, f"the planner's folder cannot be used ({type(error).__name__})") from error


class Drafter:
    """Drafts one page."""

    def __init__(self, ledger: Ledger, sources: Sources, task: PageTask, notes: Notes) -> None:
        self._ledger, self._sources, self._task, self._notes = ledger, sources, task, notes
        self._limits = task.config.limits
        self._batch = ledger.batch(task.key)
        self._draft = Draft(task.number, self._batch.options, task.limits, self._shown)
        self._origins: dict[int, Source] = {}
        by_folder = self._batch.options.series == "folder"
        self._subtrees = Subtrees(self._group_now, self._group_later) if by_folder else None
        self._ahead = Ahead()

    def page(self) -> Page:
        """The page; its lines are put."""
        grouping = self._task.cursor.phase == "series"
        with self._ahead:
            cursor = self._series() if grouping else self._listing()
        page = self._draft.put(self._ledger, self._task.key, cursor)
        if grouping and cursor.phase == "done":
            SeriesIndex.drop(self._task.scratch, self._task.key)
        return page

    # -- the listing -------------------------------------------------------------------------------------------

    def _listing(self) -> Cursor:
        begin = self._task.cursor
        sources = sources_from(self._ledger, self._batch, begin.source)
        for (number, source), upload in self._ahead.over(sources, lambda each: self._opener(each[1], None)):
            self._origins = {number: source}
            at = begin if number == begin.source else Cursor(source=number)
            with contextlib.closing(self._source(number, source, at, upload)) as steps:
                for cursor in steps:
                    if cursor.source != number:
                        self._end_subtrees(complete=True)
                    if self._draft.full:
                        self._end_subtrees(complete=False)
                        return cursor
        return Cursor(phase="series" if self._members_wait() else "done")

    def _members_wait(self) -> bool:
        if self._draft.members:
            return True
        before = self._ledger.pages(self._task.key)
        return any(page.members for page in before if page.number < self._task.number)

    def _opener(self, source: Source, entry: Entry | None) -> Callable[[], Opened] | None:
        """How to open a remote file before its turn: an upload, or an entry of a bucket."""
        uploaded = isinstance(source, UploadSource)
        due = uploaded if entry is None else not uploaded and entry.code is None
        if not due or not self._sources.remote(source):
            return None
        path = entry.path if entry else ""
        return functools.partial(self._sources.open, self._task.key, source, path, glance=True)

    def _source(
        self, number: int, source: Source, at: Cursor, upload: Future[Opened] | None
    ) -> Generator[Cursor, None, None]:
        """Look at a source's files; yields where the listing goes on after each. `upload`: its file, opened ahead."""
        if self._subtrees is not None and at.after and at.member < 0:
            self._subtrees.go_on(at.after.rpartition("/")[0])
        try:
            if at.member >= 0:
                yield from self._entry(number, source, Entry(path=at.after, size=1, stamp=""), None, at.member)
            if at.member < 0 or at.after:
                entries = self._sources.list(self._task.key, source, at.after)
                for entry, ahead in self._ahead.over(entries, functools.partial(self._opener, source)):
                    yield from self._entry(number, source, entry, ahead or upload)
        except LeftOut as error:
            self._draft.carry(1)
            self._draft.leave_out(FileRef(source=number, size=0, stamp=""), error.code)
        yield Cursor(source=number + 1)

    def _entry(
        self, number: int, source: Source, entry: Entry, ahead: Future[Opened] | None, done: int = -1
    ) -> Iterator[Cursor]:
        """Look at a file, which may have been opened ahead; at an archive from the member behind `done`."""
        ref = FileRef(source=number, path=entry.path, size=entry.size, stamp=entry.stamp)
        name = entry.path or _name(source)
        try:
            self._check(ref, name, entry.code)
            with _told():
                opened = (
                    ahead.result() if ahead else self._sources.open(self._task.key, source, entry.path, glance=True)
                )
            ref = ref.model_copy(update={"size": opened.size, "stamp": opened.stamp})
            with opened.stream as stream, _told():
                head = _head(stream)
                kind = sniff(head, name)
                if kind is not Kind.ARCHIVE:
                    self._file(ref, kind, name, _Whole(head, stream))
            if kind is Kind.ARCHIVE:
                with self._sources.open(self._task.key, source, entry.path).stream as stream, _told():
                    yield from self._archive(ref, members(stream, self._limits), done)
        except (LeftOut, ScanFailed) as error:
            self._leave_out(ref, error.code)
        if entry.path:  # a source that is itself the file ends with it
            yield Cursor(source=number, after=entry.path)

    def _archive(self, archive: FileRef, found: Iterator[ArchiveMember], done: int) -> Iterator[Cursor]:
        empty = True
        for member in found:
            empty = False
            ref = archive.model_copy(update={"member": member.position, "name": member.name, "size": member.size})
            if member.position <= done:
                if self._subtrees is not None:
                    self._subtrees.go_on(folder_of(ref))
                continue
            try:
                with _told():
                    self._member(ref, member)
            except LeftOut as error:
                self._leave_out(ref, error.code)
            self._notes.at((archive.source, archive.path, -1))
            yield Cursor(source=archive.source, after=archive.path, member=member.position)
        if empty:
            raise LeftOut(Code.NOT_A_SCAN, "The archive is empty.")

    def _member(self, ref: FileRef, member: ArchiveMember) -> None:
        self._check(ref, member.name, member.refused)
        if member.stream is None:
            raise LeftOut(Code.UNREADABLE)
        head = _head(member.stream)
        self._file(ref, sniff(head, member.name), member.name, _Whole(head, member.stream))

    def _check(self, ref: FileRef, name: str, refused: Code | None) -> None:
        """Leave out what shows before a byte is read."""
        spot = (ref.source, ref.path, -1 if ref.member is None else ref.member)
        code = refused or self._task.spoiled.get(spot)
        if code is None and hidden(name):
            code = Code.HIDDEN_FILE
        if code is None and ref.size == 0:
            code = Code.EMPTY_FILE
        if code is not None:
            raise LeftOut(code)
        self._notes.at(spot)

    def _file(self, ref: FileRef, kind: Kind, name: str, stream: Readable) -> None:
        """Put a file into the page: it is a scan, or one of a series, or raises `LeftOut`."""
        try:
            told = describe(kind, name, stream, self._limits)
        except ScanFailed:
            told = Described(kind=ScanKind(kind.value), slices=1)  # it will fail as a scan, with its code
        header = told.header
        self._draft.look_at()
        if self._subtrees is not None:
            self._subtrees.enter(folder_of(ref))
        if header is None or not header.series_uid or header.frames > 1:
            self._draft.add(
                Found(
                    kind=told.kind,
                    files=(ref,),
                    slices=max(1, told.slices),
                    study_uid=(header.study_uid or None) if header else None,
                    series_uid=(header.series_uid or None) if header else None,
                )
            )
        elif self._subtrees is None:
            self._group_later([Member(ref, header)])
        else:
            self._subtrees.add(Member(ref, header))

    def _leave_out(self, ref: FileRef, code: Code) -> None:
        self._draft.look_at()
        self._draft.leave_out(ref, code)

    # -- series ------------------------------------------------------------------------------------------------

    def _group_later(self, found: Sequence[Member]) -> None:
        self._draft.members += [line_of(member) for member in found]

    def _group_now(self, found: Sequence[Member]) -> None:
        """Group what a folder holds, unless the page has no numbers left for it and the file that comes."""
        grouped = series_of(found, self._limits)
        if self._draft.fits(len(grouped.scans) + 1, 0):
            self._add(grouped)
        else:
            self._group_later(found)

    def _add(self, grouped: Grouped) -> None:
        for scan in grouped.scans:
            self._draft.add(scan)
        for file, code in grouped.left_out:
            self._draft.leave_out(file, code)

    def _end_subtrees(self, *, complete: bool) -> None:
        if self._subtrees is not None:
            self._subtrees.end(complete=complete)

    def _series(self) -> Cursor:
        """Group the members of all pages; a page holds as many series as fit."""
        batch, task = self._batch, self._task
        by_folder = batch.options.series == "folder"
        with SeriesIndex.of(task.scratch, self._ledger, task.key, by_folder=by_folder) as index:
            page, cursor = self._series_of_page(index)
        sources = {file.source for grouped in page for file in _files_of(grouped)}
        self._origins = picked(self._ledger, batch, sources)
        for grouped in page:
            self._add(grouped)
        return cursor

    def _series_of_page(self, index: SeriesIndex) -> tuple[list[Grouped], Cursor]:
        at, page, scans = self._task.cursor, list[Grouped](), 0
        for number, files in index.series(at.series):
            self._notes.at((-1, "", number))
            grouped, cursor = self._grouped(index, number, files)
            if page and not self._draft.fits(scans + len(grouped.scans), len(_files_of(grouped))):
                return page, Cursor(phase="series", series=number)
            page.append(grouped)
            scans += len(grouped.scans)
            self._draft.carry(len(_files_of(grouped)))
            if cursor.member >= 0:
                return page, cursor
        return page, Cursor(phase="done")

    def _grouped(self, index: SeriesIndex, number: int, files: int) -> tuple[Grouped, Cursor]:
        """What a series comes to, and where the next page goes on if this is the last of its page."""
        code = self._task.spoiled.get((-1, "", number))
        if code is None and files > self._limits.series_files:
            code = Code.SERIES_TOO_LARGE
        if code is None:
            grouped = series_of(index.members(number), self._limits)
            if len(grouped.scans) <= self._task.limits.scans:
                return grouped, Cursor(phase="series", series=number + 1)
            code = Code.SERIES_INCONSISTENT
        return self._all_left_out(index, number, files, code)

    def _all_left_out(self, index: SeriesIndex, number: int, files: int, code: Code) -> tuple[Grouped, Cursor]:
        """A series that no reader could take: its files are left out, a page of them at a time."""
        at = self._task.cursor
        start = at.member + 1 if number == at.series else 0
        stretch = index.members(number, start, self._task.limits.files)
        left_out = tuple((member.file, code) for member in stretch)
        end = start + len(stretch)
        if end < files:
            return Grouped((), left_out), Cursor(phase="series", series=number, member=end - 1)
        return Grouped((), left_out), Cursor(phase="series", series=number + 1)

    def _shown(self, ref: FileRef) -> str:
        return self._sources.shown(self._origins[ref.source], ref.path, ref.name)


class _Whole:
    """A stream from its first byte, of which a head was read already."""

    def __init__(self, head: bytes, rest: Readable) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1, /) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
        else:
            data, self._head = self._head[:size], self._head[size:]
        return data


def _head(stream: Readable) -> bytes:
    head = b""
    while len(head) < HEAD_BYTES and (more := stream.read(HEAD_BYTES - len(head))):
        head += more
    return head


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with one file's bytes is that file's fault."""
    try:
        yield
    except OSError as error:
        raise LeftOut(Code.UNREADABLE, error.strerror or "") from None
    except Missing:
        raise LeftOut(Code.SOURCE_MISSING) from None


def _name(source: Source) -> str:
    """The name of a source that is itself a file."""
    return source.name if isinstance(source, UploadSource) else PurePosixPath(source.path).name


def _files_of(grouped: Grouped) -> list[FileRef]:
    return [file for scan in grouped.scans for file in scan.files] + [file for file, _ in grouped.left_out]
