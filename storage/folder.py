"""A folder as a store: one file an object. Nothing half-written is ever visible, whoever dies.

A body is written into `.partial/` beside the objects, synced, and then appears under its name at once:
by `link()`, which fails where the name exists (`create`), or by `rename()` (`put`). Its folder is synced
before anyone is told. Many at once are synced at once (`put_together`). The file system must have hard links.
"""
# ruff: noqa: PTH102, PTH105, PTH112, PTH113, PTH120  pathlib costs more than the system's calls, and these are made often

import errno
import functools
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from time import time

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, Refused, Unavailable
from storage.objects import CHUNK, OCTETS, Body, New, Stored, check_name, check_readable, chunks_of
from storage.syncing import sync_folder, syncs_whole, whole_sync

PARTIAL = ".partial"  # no object may be called so: see check_name
ABANDONED = 86_400  # seconds after which a partial file belongs to nobody
TRIES = 100  # of settling a name while another process prunes the empty folder above it
FEW = 3  # objects, from which two syncs of the file system cost less than those of files and folders

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the file system says into our errors."""
    try:
        yield
    except OSError as fault:
        raise _translate(fault) from fault


def _translate(fault: OSError) -> Broken | Missing | Refused | Unavailable:
    if fault.errno in _ABSENT:
        return Missing(Code.NOT_FOUND)
    if fault.errno in _FULL:
        return Unavailable(Code.STORE_FULL)
    if fault.errno in _FORBIDDEN:
        return Broken(Code.BAD_SETTING, f"The store's folder refuses it: {os.strerror(fault.errno or 0)}.")
    if fault.errno in (errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP, errno.EINVAL):
        return Refused(Code.INVALID_FIELD, "A folder cannot hold an object of that name.")
    return Unavailable(Code.STORE_UNAVAILABLE, f"The store's folder fails: {os.strerror(fault.errno or 0)}.")


class Folder:
    """Objects as files below `root`, which is made when first written to.

    Links of the file system are listed, and read where they lead to a file below `root`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._partial = self._root / PARTIAL
        self._swept = False
        self._whole: bool | None = None  # whether the file system is synced whole; not known before there is a folder

    def __repr__(self) -> str:
        return f"Folder({str(self._root)!r})"

    def create(self, name: str, body: Body, *, content_type: str = OCTETS) -> bool:
        path = self._root / check_name(name)
        with _translated():
            if _exists(path):
                return False
        with self._spooled(body) as partial:
            return self._settle(path, lambda named: _link(partial, Path(named)))

    def put(self, name: str, body: Body, *, content_type: str = OCTETS) -> Stored:
        path = self._root / check_name(name)
        with self._spooled(body) as partial:
            with _translated():
                stored = _stored(name, partial.stat())
            self._settle(path, functools.partial(_replace, str(partial)))
            return stored

    def put_together(self, objects: Sequence[New]) -> None:
        with _translated():
            self._make(str(self._partial))
            if self._whole is None:
                self._whole = syncs_whole(self._partial)
            self._sweep()
        if self._whole and len(objects) >= FEW:
            self._put_whole(objects)
            return
        for new in objects:
            self.put(new.name, new.data, content_type=new.content_type)

    def get(self, name: str) -> bytes:
        return b"".join(self.read(name))

    def read(self, name: str, *, start: int = 0, length: int | None = None, chunk: int = CHUNK) -> Iterator[bytes]:
        with _translated():
            file = self._open(name)
            end = os.fstat(file.fileno()).st_size
        return _blocks(file, start, end if length is None else min(end, start + length), chunk)

    def head(self, name: str) -> Stored | None:
        try:
            with _translated():
                found = self._inside(name).stat()
        except Missing:
            return None
        return _stored(name, found) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        above = prefix.rpartition("/")[0]
        if above:
            self._inside(above)
        return self._walk(f"{above}/" if above else "", prefix, after)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self._root / check_readable(name)
            if "/" in name:
                self._inside(name.rpartition("/")[0])
            try:
                with _translated():
                    path.unlink()
            except Missing:
                continue
            self._prune(path.parent)

    def _put_whole(self, objects: Sequence[New]) -> None:
        """All bodies are written and synced, then all get their names, which are synced."""
        paths = [f"{self._root}/{check_name(new.name)}" for new in objects]
        spool = f"{self._partial}/{uuid.uuid4().hex}-"
        waiting = [f"{spool}{number}" for number in range(len(objects))]
        try:
            with _translated(), whole_sync(self._partial) as sync:
                for partial, new in zip(waiting, objects, strict=True):
                    _spool(partial, new.data)
                sync()
                for path in paths:
                    self._appear(path, functools.partial(_replace, waiting[0]))
                    del waiting[0]
                sync()
        finally:
            for partial in waiting:
                Path(partial).unlink(missing_ok=True)

    def _inside(self, name: str) -> Path:
        """The file's real path; raises `Refused` where links lead out of the root."""
        path = self._root / check_readable(name)
        if not self._has_links(name):
            return path
        real = path.resolve()
        if not real.is_relative_to(self._root.resolve()):
            raise Refused(Code.OUTSIDE_ROOTS)
        return real

    def _has_links(self, name: str) -> bool:
        """Whether a part of the name is a link: hardly one is, and to resolve a path costs more than to read it."""
        path = str(self._root)
        for part in name.split("/"):
            path = f"{path}/{part}"
            try:
                if stat.S_ISLNK(os.lstat(path).st_mode):
                    return True
            except OSError:  # whoever opens it is told why
                return False
        return False

    def _open(self, name: str) -> FileIO:
        # Without O_NONBLOCK the opening of a named pipe would wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(self._inside(name), flags)
        kind = os.fstat(handle).st_mode
        if stat.S_ISREG(kind):
            return FileIO(handle)
        os.close(handle)
        if stat.S_ISDIR(kind):
            raise Missing(Code.NOT_FOUND)
        raise Refused(Code.UNSAFE_LINK)

    @contextmanager
    def _spooled(self, body: Body) -> Iterator[Path]:
        """A synced file with the body, which goes afterwards if it has not been renamed."""
        partial = self._partial / uuid.uuid4().hex
        with _translated():
            self._make(str(self._partial))
            self._sweep()
            file = os.open(partial, _NEW, 0o660)
        try:
            try:
                for block in chunks_of(body):
                    with _translated():
                        _write(file, block)
                with _translated():
                    os.fsync(file)
            finally:
                os.close(file)
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Once a process: remove what processes that died have left half-written."""
        if self._swept:
            return
        self._swept = True
        for path in self._partial.iterdir():
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime < time() - ABANDONED:
                    path.unlink()

    def _settle(self, path: Path, appear: Callable[[str], bool]) -> bool:
        """Let a name appear, durably."""
        with _translated():
            won, stood = self._appear(str(path), appear)
            with suppress(FileNotFoundError):  # somebody deleted the object already, and its folder with it
                _sync_up(path.parent, Path(stood))
            return won

    def _appear(self, path: str, appear: Callable[[str], bool]) -> tuple[bool, str]:
        """Let a name appear; again where another process pruned its folder in between. Not synced: what `appear`
        said, and the lowest folder above that stood already.
        """
        for _ in range(TRIES):
            stood = self._make(os.path.dirname(path))
            try:
                return appear(path), stood
            except FileNotFoundError:
                continue
        raise Unavailable(Code.STORE_UNAVAILABLE, "The store's folder is pruned faster than written to.")

    def _make(self, folder: str) -> str:
        """Make a folder and those above it; returns the lowest that stood already."""
        missing: list[str] = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for each in reversed(missing):
            try:
                os.mkdir(each, 0o770)
            except FileExistsError:
                if os.path.isfile(each):
                    raise Refused(Code.INVALID_FIELD, "An object has the name of the folder above this one.") from None
            except FileNotFoundError:
                break  # another process pruned it: _appear asks again
        return folder

    def _prune(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _walk(self, above: str, prefix: str, after: str) -> Iterator[Stored]:
        """Names below the folder `above` (with its slash) in byte order of whole names, as S3 has them."""
        for name, entry in self._entries(above):
            folder = name.endswith("/")
            if not (name.startswith(prefix) or (folder and prefix.startswith(name))):
                continue
            if os.fsencode(name) <= os.fsencode(after) and not (folder and after.startswith(name)):
                continue
            if folder:
                yield from self._walk(name, prefix, after)
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield _stored(name, found)

    def _entries(self, above: str) -> Sequence[tuple[str, "os.DirEntry[str]"]]:
        """Entries of one folder by whole name; a folder's ends with a slash, which puts it in order."""
        try:
            with _translated(), os.scandir(self._root / above) as entries:
                found = [
                    (above + entry.name + ("/" if entry.is_dir(follow_symlinks=False) else ""), entry)
                    for entry in entries
                    if above or entry.name != PARTIAL
                ]
        except Missing:
            return ()
        return sorted(found, key=lambda each: os.fsencode(each[0]))


def _spool(partial: str, data: bytes) -> None:
    """Write a file that is not synced yet."""
    file = os.open(partial, _NEW, 0o660)
    try:
        _write(file, data)
    finally:
        os.close(file)


def _replace(partial: str, path: str) -> bool:
    os.replace(partial, path)
    return True


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _link(partial: Path, path: Path) -> bool:
    """Give a synced file its name. True where it has it now, False where another file has it."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        # NFS may do what was asked, lose the reply, ask again and hear "exists": the count of links tells.
        return partial.stat().st_nlink > 1
    except OSError as fault:
        if fault.errno in _NO_LINKS:
            raise Broken(Code.STORE_NOT_CONDITIONAL, "The folder's file system has no hard links.") from fault
        raise
    return True


def _write(file: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_up(folder: Path, stood: Path) -> None:
    """Sync a folder and those above it up to `stood`: one write of the journal, if nothing comes in between."""
    while True:
        sync_folder(folder)
        if folder == stood:
            return
        folder = folder.parent


def _blocks(file: FileIO, start: int, end: int, chunk: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end:
            with _translated():
                block = file.read(min(chunk, end - start))
            if not block:
                raise Unavailable(Code.STORE_UNAVAILABLE, "The file became shorter while it was read.")
            start += len(block)
            yield block


def _stored(name: str, found: os.stat_result) -> Stored:
    return Stored(
        name=name,
        size=found.st_size,
        etag=f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}",
        modified=datetime.fromtimestamp(found.st_mtime, UTC),
    )
