"""Bounded reading: no length that a file claims decides how much memory or time it gets."""

import io
import zlib
from collections.abc import Iterator
from typing import Protocol

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed

GZIP_MAGIC = b"\x1f\x8b\x08"
CHUNK = 1 << 16  # bytes read or inflated at a time
GZIP = 31  # zlib's window bits: gzip wrapper
RAW = -15  # zlib's window bits: a bare deflate stream, as DICOM uses


class Readable(Protocol):
    """What can be read forward."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes; none at the end."""


class TooLong(Exception):
    """A stream went on beyond its bound; callers translate it into their own error."""


def inflated(chunks: Iterator[bytes], limit: int, window: int = GZIP) -> Iterator[bytes]:
    """Inflate a stream piece by piece; gzip members that follow one another are one stream, and padding ends it.

    Raises:
        TooLong: more than `limit` bytes came out.
        EOFError: the stream ends before it should.
        zlib.error: the stream is damaged.
    """
    total, engine, waiting = 0, zlib.decompressobj(window), b""
    started = False
    for chunk in chunks:
        waiting += chunk
        while waiting:
            if engine.eof:
                if window != GZIP or not waiting.startswith(GZIP_MAGIC[: len(waiting)]):
                    return
                engine = zlib.decompressobj(window)
            piece = engine.decompress(waiting, CHUNK)
            started = True
            waiting = engine.unused_data if engine.eof else engine.unconsumed_tail
            total += len(piece)
            if total > limit:
                raise TooLong
            if piece:
                yield piece
    if started and not engine.eof:
        rest = engine.flush(CHUNK)
        if rest and total + len(rest) <= limit:
            yield rest
        if not engine.eof:
            raise EOFError("the compressed stream ends early")


def pieces(stream: Readable) -> Iterator[bytes]:
    """A stream, chunk by chunk, from where it stands."""
    while chunk := stream.read(CHUNK):
        yield chunk


def gunzipped(data: bytes, limit: int) -> bytes:
    """The whole of a gzip file, or the bytes themselves where they are not gzip.

    Raises:
        ScanFailed: `truncated`, `damaged`, or `out_of_memory` beyond `limit` bytes.
    """
    if not data.startswith(GZIP_MAGIC):
        if len(data) > limit:
            raise ScanFailed(Code.OUT_OF_MEMORY, f"more than {limit} bytes")
        return data
    return joined(pieces(io.BytesIO(data)), limit)


def joined(chunks: Iterator[bytes], limit: int, window: int = GZIP) -> bytes:
    """Inflate a whole stream; raises as `gunzipped` does."""
    try:
        return b"".join(inflated(chunks, limit, window))
    except TooLong as error:
        raise ScanFailed(Code.OUT_OF_MEMORY, f"more than {limit} bytes after decompression") from error
    except EOFError as error:
        raise ScanFailed(Code.TRUNCATED, "the compressed stream ends early") from error
    except zlib.error as error:
        raise ScanFailed(Code.DAMAGED, "the compressed stream is damaged") from error


def head_of_gzip(head: bytes, limit: int = CHUNK) -> bytes:
    """As much as the first bytes of a gzip file give, up to `limit`; nothing where they are damaged."""
    try:
        return zlib.decompressobj(GZIP).decompress(head, limit)
    except zlib.error:
        return b""


class Head(io.RawIOBase):
    """A seekable, read-only view of the first `limit` bytes of a stream that need not be seekable.

    It reads from the stream only as far as it is asked to and keeps that, so its memory is what was looked at. At
    `limit` it ends as a file would, so that a header which claims more is cut short rather than believed.
    """

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        super().__init__()
        self._chunks = chunks
        self._limit = limit
        self._seen = bytearray()
        self._ended = False
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    @property
    def cut(self) -> bool:
        """Whether the limit was reached."""
        return len(self._seen) >= self._limit

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            self._fill(self._limit)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._seen)}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._limit if size is None or size < 0 else self._position + size
        self._fill(wanted)
        data = bytes(self._seen[self._position : wanted])
        self._position += len(data)
        return data

    def _fill(self, upto: int) -> None:
        while not self._ended and len(self._seen) < min(upto, self._limit):
            chunk = next(self._chunks, b"")
            self._ended = not chunk
            self._seen += chunk[: self._limit - len(self._seen)]


def opened_head(stream: Readable, limit: int) -> Head:
    """The first `limit` bytes of a file, gunzipped where it is gzip.

    Errors of the gzip stream end the head early, as if the file ended there: the reader of pixels names them.
    """
    first = stream.read(CHUNK)

    def chunks() -> Iterator[bytes]:
        yield first
        yield from pieces(stream)

    if not first.startswith(GZIP_MAGIC):
        return Head(chunks(), limit)
    return Head(_until_broken(inflated(chunks(), limit)), limit)


def _until_broken(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except (TooLong, EOFError, zlib.error):
        return
