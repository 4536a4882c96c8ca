"""Files below a root folder: listed in place in byte order, and opened without ever leaving the root.

Every open walks from the root's descriptor and follows no link on its way, so that a link which is swapped
in behind a check leads nowhere. A link to a file within the root is read as that file; every other link, and
every device, pipe or socket, is told as `unsafe_link`.
"""
# ruff: noqa: PTH113, PTH116, PTH118  paths are bytes here, which pathlib cannot hold

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from neurobatch.codes import Code
from neurobatch.errors import LeftOut, Refused, ScanFailed
from storage.roots import path_bytes, path_text, relative_parts

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
                with os.scandir(descriptor) as found:
                    paths = [folder + _slashed(child) for child in found]
            finally:
                os.close(descriptor)
        except OSError:
            yield Entry(path=path_text(folder), size=0, stamp="", code=Code.UNREADABLE)
            return
        paths = [path for path in paths if path > after or _inside(after, path)]
        paths.sort()
        yield from paths

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
