"""Archives as streams: zip, tar, gzipped tar. Nothing is extracted to disk, and nothing that an archive claims is
believed.

A member's *position* among the archive's files, from 0, is its identity: names may repeat, lie or be in any encoding.
"""

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO

from neurobatch.codes import Code
from neurobatch.errors import LeftOut
from pipeline.limits import Limits
from pipeline.read.sort import hidden, named_as_archive
from pipeline.read.streams import GZIP_MAGIC, Readable, TooLong, inflated, pieces

ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)  # what zipfile and tarfile raise on hostile bytes; RuntimeError: passwords, ValueError: impossible numbers

_ENCRYPTED = 0x1  # zip flag bits
_UTF8 = 0x800
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_UNSUPPORTED = (b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")
_EXTENDED_TAR_TYPES = (b"x", b"g", b"X", b"L", b"K")
_DRIVE = re.compile(r"^[A-Za-z]:")
_CP866_WORD = re.compile(rb"[\x80-\xaf\xe0-\xf1]{2,}")  # Cyrillic letters of MS-DOS, as Russian Windows zips them


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of an archive, while it is under the reader's hand."""

    position: int  # among the archive's files, from 0
    name: str  # as decoded; only for showing
    size: int  # bytes, as the archive claims; never allocated by it
    refused: Code | None = None  # why it is left out without being opened
    stream: Readable | None = None  # from its first byte, forward only, until the next member is asked for


def members(archive: BinaryIO, limits: Limits) -> Iterator[Member]:
    """All files of an archive in order; folders are passed over.

    Args:
        archive: seekable for zip; tar and gzipped tar are read forward in one pass.

    Raises:
        LeftOut: `unsupported_archive`, `archive_damaged` or `archive_too_large`, at the point where it
            shows: the members before it were good.
    """
    with _translated():
        for member in _opened(archive, limits):
            if member.position >= limits.archive_members:
                raise LeftOut(Code.ARCHIVE_TOO_LARGE, f"more than {limits.archive_members} files")
            yield member


def open_members(archive: BinaryIO, positions: Iterable[int], limits: Limits) -> Iterator[tuple[int, bytes]]:
    """The bytes of the wanted members, in the archive's order; reading ends after the last of them.

    Raises:
        LeftOut: as `members`; also `archive_too_large` for a wanted member beyond `file_bytes`.
    """
    wanted = set(positions)
    if not wanted:
        return
    for member in members(archive, limits):
        if member.position in wanted:
            wanted.discard(member.position)
            if member.stream is not None:
                yield member.position, read_whole(member.stream, limits)
            if not wanted:
                return


def read_whole(stream: Readable, limits: Limits) -> bytes:
    """All bytes of a member.

    Raises:
        LeftOut: `archive_too_large` beyond `file_bytes`.
    """
    parts, total = [], 0
    for piece in pieces(stream):
        total += len(piece)
        if total > limits.file_bytes:
            raise LeftOut(Code.ARCHIVE_TOO_LARGE, "a member is larger than the limit")
        parts.append(piece)
    return b"".join(parts)


def unsafe(name: str) -> bool:
    """Whether a member's name leads outside of its archive, or would on some system."""
    plain = name.replace("\\", "/")
    return plain.startswith("/") or bool(_DRIVE.match(plain)) or ".." in plain.split("/") or "\x00" in plain


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TooLong as error:
        raise LeftOut(Code.ARCHIVE_TOO_LARGE) from error
    except ARCHIVE_ERRORS as error:
        raise LeftOut(Code.ARCHIVE_DAMAGED, type(error).__name__) from error


def _opened(archive: BinaryIO, limits: Limits) -> Iterator[Member]:
    head = archive.read(6)
    if head.startswith(b"PK"):
        return _zip_members(archive, limits)
    if head.startswith(_UNSUPPORTED):
        raise LeftOut(Code.UNSUPPORTED_ARCHIVE)
    if head.startswith(GZIP_MAGIC):
        packed = _Counted(_after(head, archive))
        return _tar_members(_Forward(inflated(packed, limits.archive_bytes), packed, limits), "r|", limits)
    if archive.seekable():
        archive.seek(0)
        return _tar_members(archive, "r:", limits)
    plain = _Counted(_after(head, archive))
    return _tar_members(_Forward(plain, plain, limits), "r|", limits)


def _after(first: bytes, rest: Readable) -> Iterator[bytes]:
    if first:
        yield first
    yield from pieces(rest)


class _Counted:
    """An iterator of chunks that knows how many bytes have passed."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.total = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.total += len(chunk)
        return chunk


class _Forward(io.RawIOBase):
    """A forward-only file over chunks that stops when far more came out than went in."""

    def __init__(self, chunks: Iterator[bytes], packed: _Counted, limits: Limits) -> None:
        super().__init__()
        self._chunks, self._packed, self._limits = chunks, packed, limits
        self._waiting = b""
        self._total = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if not self._waiting:
            self._waiting = next(self._chunks, b"")
            self._total += len(self._waiting)
            check_ratio(self._total, self._packed.total, self._limits)
        cut = len(self._waiting) if size is None or size < 0 else size
        data, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return data


def check_ratio(out: int, packed: int, limits: Limits) -> None:
    """Stop a bomb.

    Raises:
        LeftOut: `archive_too_large`.
    """
    if out > limits.archive_bytes or (out > limits.archive_slack and out > limits.archive_ratio * packed):
        raise LeftOut(Code.ARCHIVE_TOO_LARGE, f"{packed} bytes expand to more than {out}")


def _refusal(name: str) -> Code | None:
    if unsafe(name):
        return Code.UNSAFE_NAME
    if hidden(name):
        return Code.HIDDEN_FILE
    return Code.ARCHIVE_NESTED if named_as_archive(name) else None


# -- zip
# ---------------------------------------------------------------------------------------------------------


def _zip_members(archive: BinaryIO, limits: Limits) -> Iterator[Member]:
    out = packed = 0
    with zipfile.ZipFile(archive) as opened:
        files = (info for info in opened.infolist() if not info.is_dir())
        for position, info in enumerate(files):
            out, packed = out + info.file_size, packed + info.compress_size
            check_ratio(out, packed, limits)
            name = zip_name(info)
            refused = _refusal(name) or _zip_refusal(info)
            if refused is not None:
                yield Member(position=position, name=name, size=info.file_size, refused=refused)
                continue
            with _ZipStream(opened, info) as stream:
                yield Member(position=position, name=name, size=info.file_size, stream=stream)


def _zip_refusal(info: zipfile.ZipInfo) -> Code | None:
    if info.flag_bits & _ENCRYPTED:
        return Code.ARCHIVE_ENCRYPTED
    if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000):
        return Code.UNSAFE_LINK
    return None if info.compress_type in _ZIP_METHODS else Code.UNSUPPORTED_ARCHIVE


def zip_name(info: zipfile.ZipInfo) -> str:
    """A member's name: UTF-8 where flagged or valid, else MS-DOS Cyrillic where it looks so, else code page
    437.
    """
    if info.flag_bits & _UTF8:
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp866") if _CP866_WORD.search(raw) else info.filename


class _ZipStream(io.RawIOBase):
    """A member that is opened at its first read, so that passing over it costs nothing; it never gives more than it
    claims.
    """

    def __init__(self, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        super().__init__()
        self._opened, self._info = opened, info
        self._file: zipfile.ZipExtFile | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        with _translated():
            if self._file is None:
                self._file = self._opened.open(self._info)  # type: ignore[assignment]  # mode r gives a ZipExtFile
            assert self._file is not None
            return self._file.read(-1 if size is None else size)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


# -- tar
# ---------------------------------------------------------------------------------------------------------


class _BoundedInfo(tarfile.TarInfo):
    """A tar header whose extended headers (long names, pax records) may not be longer than the limit."""

    limit = 0

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_BoundedInfo":
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENDED_TAR_TYPES and info.size > cls.limit:
            raise LeftOut(Code.ARCHIVE_DAMAGED, "an extended header is too long")
        return info


def _tar_members(archive: BinaryIO | _Forward, mode: str, limits: Limits) -> Iterator[Member]:
    bounded = type("_BoundedInfo", (_BoundedInfo,), {"limit": limits.archive_name_bytes})
    with tarfile.open(fileobj=archive, mode=mode, tarinfo=bounded, errors="surrogateescape") as opened:  # type: ignore[call-overload]
        position = 0
        while (info := opened.next()) is not None:
            opened.members.clear()  # tarfile keeps every header it saw
            if info.isdir():
                continue
            yield _tar_member(opened, info, position)
            position += 1


def _tar_member(opened: tarfile.TarFile, info: tarfile.TarInfo, position: int) -> Member:
    name = tar_name(info.name)
    regular = info.isreg() and not info.issparse()
    refused = _refusal(name) or (None if regular else Code.UNSAFE_LINK)
    if refused is not None:
        return Member(position=position, name=name, size=max(0, info.size), refused=refused)
    file = opened.extractfile(info)
    return Member(position=position, name=name, size=info.size, stream=None if file is None else _TarStream(file))


def tar_name(name: str) -> str:
    """A member's name; bytes other than UTF-8 are read as MS-DOS Cyrillic where they look so, else as Windows' 1252."""
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp866" if _CP866_WORD.search(raw) else "latin-1")


class _TarStream(io.RawIOBase):
    """A member's bytes; errors of the archive beneath it are told as such."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        with _translated():
            return self._file.read(-1 if size is None else size)
