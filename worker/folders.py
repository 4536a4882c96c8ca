"""Files below a root folder: listed in place in byte order, and opened without ever leaving the root.

Every open walks from the root's descriptor and follows no link on its way, so that a link which is swapped
in behind a check leads nowhere. A link to a file within the root is read as that file; every other link, and
every device, pipe or socket, is told as `unsafe_link`.
"""
# ruff: noqa: PTH113, PTH116, PTH118  paths are bytes here, which pathlib cannot hold

import errno
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from neurobatch.codes import Code
from neurobatch.errors import LeftOut, Refused, ScanFailed
from storage.roots import path_bytes, path_text, relative_parts

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LARGE = 256 << 10  # bytes that a folder itself has, from which its names are kept; about ten thousand

_LINKED = (errno.ELOOP, errno.ENOTDIR)  # what Linux answers where a link stands on the way
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file of a source."""

    path: str  # below the source; "" where the source is itself the file
    size: int  # bytes
    stamp: str  # mtime in ns (folders), ETag (buckets), sha256 (uploads)
    code: Code | None = None  # why it cannot be read, where that shows already: it is left out


class Opened(NamedTuple):
    """A file that was opened, as it is now."""

    stream: BinaryIO
    size: int  # bytes
    stamp: str


class Tree:
    """The files of one source in a folder."""

    def __init__(self, top: bytes, path: str) -> None:
        """`top` is the root's absolute path, `path` the source below it."""
        self._top = os.path.realpath(top)
        self._base = "/".join(relative_parts(path))

    def entries(self, after: str) -> Iterator[Entry]:
        """All files behind `after` in byte order of their paths; the source itself where it is a file.

        Raises `LeftOut` where the source is not there, cannot be read, or lies outside its root.
        """
        real = os.path.realpath(os.path.join(self._top, path_bytes(self._base)))
        if not _below(real, self._top):
            raise LeftOut(Code.OUTSIDE_ROOTS)
        try:
            if stat.S_ISDIR(os.stat(real).st_mode):
                os.close(os.open(real, _FOLDER))
                return self._walk(real, path_bytes(after))
            return iter([self._entry(real, b"")])
        except OSError as error:
            code = Code.SOURCE_MISSING if error.errno in _GONE else Code.UNREADABLE
            raise LeftOut(code, error.strerror or "") from None

    def open(self, path: str, buffer: int = 0) -> Opened:
        """Open one file; a folder needs no `buffer`.

        Raises:
            ScanFailed: `source_missing`, `source_changed`, `unreadable`.
        """
        try:
            parts = relative_parts("/".join(part for part in (self._base, path) if part))
            descriptor = self._open([path_bytes(part) for part in parts])
        except Refused:
            raise ScanFailed(Code.SOURCE_MISSING) from None
        except OSError as error:
            code = Code.SOURCE_MISSING if error.errno in _GONE else Code.UNREADABLE
            raise ScanFailed(code, error.strerror or "") from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise ScanFailed(Code.SOURCE_CHANGED, "It is no file any more.")
        return Opened(os.fdopen(descriptor, "rb"), found.st_size, str(found.st_mtime_ns))

    def _open(self, parts: list[bytes]) -> int:
        try:
            return _open_below(self._top, parts)
        except OSError as error:
            if error.errno not in _LINKED:
                raise
        real = os.path.realpath(os.path.join(self._top, *parts))
        if not _below(real, self._top):
            raise ScanFailed(Code.SOURCE_CHANGED, "It is a link out of its root.")
        return _open_below(self._top, [part for part in real[len(self._top) :].split(b"/") if part])

    def _walk(self, real: bytes, after: bytes) -> Iterator[Entry]:
        """Depth first with a stack of its own, since folders may nest deeper than calls can."""
        stack = [self._children(real, b"", after)]
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
            elif isinstance(child, Entry):
                yield child
            elif child.endswith(b"/"):
                stack.append(self._children(real, child, after))
            else:
                try:
                    yield self._entry(os.path.join(real, child), child)
                except FileNotFoundError:
                    continue  # it went away between two looks: it was not handed over
                except OSError:
                    yield Entry(path=path_text(child), size=0, stamp="", code=Code.UNREADABLE)

    def _children(self, real: bytes, folder: bytes, after: bytes) -> Iterator[bytes | Entry]:
        """A folder's children behind `after`; folders end with a slash, which sorts them among files."""
        try:
            below = os.path.join(real, folder.rstrip(b"/"))[len(self._top) :]
            descriptor = _open_below(self._top, [part for part in below.split(b"/") if part], _FOLDER)
            try:
                names = _listings.names(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            yield Entry(path=path_text(folder), size=0, stamp="", code=Code.UNREADABLE)
            return
        for number in range(_behind(names, folder, after), len(names)):
            yield folder + names[number]
        _listings.forget(names)

    def _entry(self, full: bytes, path: bytes) -> Entry:
        found = os.lstat(full)
        if stat.S_ISLNK(found.st_mode):
            real = os.path.realpath(full)
            if not _below(real, self._top) or not os.path.isfile(real):
                return Entry(path=path_text(path), size=0, stamp="", code=Code.UNSAFE_LINK)
            found = os.stat(real)
        if not stat.S_ISREG(found.st_mode):
            return Entry(path=path_text(path), size=0, stamp="", code=Code.UNSAFE_LINK)
        return Entry(path=path_text(path), size=found.st_size, stamp=str(found.st_mtime_ns))


class _Listings:
    """Names in folders, sorted. The last large folder's are kept while its files are taken: a page of the plan takes
    a thousand, and to list a million for each would be most of the work.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[int, int, int], list[bytes]] | None = None

    def names(self, descriptor: int) -> list[bytes]:
        """Of an open folder, as it is now: whatever adds or removes a name moves its time of change."""
        found = os.fstat(descriptor)
        stands = (found.st_dev, found.st_ino, found.st_ctime_ns)
        if self._kept is not None and self._kept[0] == stands:
            return self._kept[1]
        with os.scandir(descriptor) as children:
            names = sorted(_slashed(child) for child in children)
        if found.st_size >= LARGE:
            self._kept = stands, names
        return names

    def forget(self, names: list[bytes]) -> None:
        """All of them were taken."""
        if self._kept is not None and self._kept[1] is names:
            self._kept = None


_listings = _Listings()  # of this process, since each page is planned by a call of its own


def _behind(names: list[bytes], folder: bytes, after: bytes) -> int:
    """Index of the first name of a folder with which a listing goes on behind `after`: a folder may hold `after`."""
    if not after.startswith(folder):
        return 0 if folder > after else len(names)
    rest = after[len(folder) :]
    index = bisect_right(names, rest)
    return index - 1 if index and _inside(rest, names[index - 1]) else index


def _below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


def _slashed(child: os.DirEntry[str]) -> bytes:
    return os.fsencode(child.name) + (b"/" if child.is_dir(follow_symlinks=False) else b"")


def _inside(after: bytes, path: bytes) -> bool:
    """Whether a listing that goes on behind `after` goes on within the folder `path`."""
    return path.endswith(b"/") and after.startswith(path) and after != path


def _open_below(top: bytes, parts: list[bytes], flags: int = _FILE) -> int:
    """Open what lies at `parts` below `top` without following a link; the caller closes the descriptor."""
    if not parts:
        return os.open(top, flags)
    folder = os.open(top, _FOLDER)
    for part in parts[:-1]:
        try:
            inner = os.open(part, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    try:
        return os.open(parts[-1], flags, dir_fd=folder)
    finally:
        os.close(folder)
