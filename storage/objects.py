"""The seam to what lasts: objects under names that say what they are, in a folder, on S3 or in memory.

Every store keeps the same promises (`storage.testing.Conformance` holds each adapter to them):

* nothing half-written is ever visible, whoever dies;
* `create` writes once: of any number of writers of one name exactly one is told True;
* what was written is read back and listed at once by everyone;
* bodies and reads are streams: no method but `get` holds a whole object;
* only `neurobatch.errors` leave a store: `Missing`, `Refused`, `Unavailable`, `Broken`.
"""

import io
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast, runtime_checkable

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, Refused

OCTETS = "application/octet-stream"
CHUNK = 1 << 20  # bytes
LONGEST_NAME = 900  # bytes; S3 allows 1,024, and a store's own prefix goes before the name
LONGEST_SEGMENT = 255  # bytes; what Linux file systems allow

Body = bytes | Path | Iterable[bytes]
"""What is written: bytes, the content of a file, or chunks. The latter two are streamed, never held whole."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a store knows of one object."""

    name: str
    size: int  # bytes
    etag: str  # differs when the content does; compare for equality only
    modified: datetime  # UTC, by the store's clock


class Objects(Protocol):
    """A place for objects. Names are `/`-separated keys: see `check_name` for those that may be written.

    No name may be the folder of another (`a` beside `a/b`): a folder cannot hold both.
    Any method raises `Unavailable` where the store does not answer or has no room, `Broken` where it refuses
    the credentials, and `Refused` for a name that may not be.
    """

    def create(self, name: str, body: Body, *, content_type: str = OCTETS) -> bool:
        """Write `name` unless it exists. True: this call wrote it. False: it existed, and nothing changed.

        A body of chunks may be consumed although the answer is False. Where `Unavailable` is raised, it may
        have been written all the same: who calls again is told False, and reads what is there. At most 5 GiB.
        """
        ...

    def put(self, name: str, body: Body, *, content_type: str = OCTETS) -> Stored:
        """Write `name`, replacing what is there: for objects named by their content, and for notes."""
        ...

    def get(self, name: str) -> bytes:
        """The whole object. Raises `Missing`."""
        ...

    def read(self, name: str, *, start: int = 0, length: int | None = None, chunk: int = CHUNK) -> Iterator[bytes]:
        """Chunks of at most `chunk` bytes from `start`, `length` bytes in all or to the end; like a slice, a
        range beyond the end is shorter or empty.

        Raises `Missing` at once, not at the first chunk. A stream that is cut is resumed where the store can,
        else raises `Unavailable`: it never ends early without an error.
        """
        ...

    def head(self, name: str) -> Stored | None:
        """What the store knows of the object, None where there is none."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """Objects whose names begin with `prefix` and come after `after`, in the store's order of names.

        The order is always the same, and `after`, the name of an object that is there or was, takes it up
        again. It is the byte order, but for stores that sort as trees (SeaweedFS): there `a/b` comes before
        `a-b`. Among names of which no folder is another name's beginning, byte order holds everywhere. Streams
        in pages; objects that come or go meanwhile may or may not be seen.
        """
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects, in no order (what must go last needs a call of its own); missing ones are fine."""
        ...


class Links(Protocol):
    """Gives addresses under which a browser may fetch one object for a while, without a token."""

    def link(self, name: str, *, seconds: int, filename: str) -> str | None:
        """A URL that serves `name` for `seconds` as a download called `filename`; None where not possible."""
        ...


@runtime_checkable
class Copies(Protocol):
    """A store that can copy from another without the bytes passing through this process."""

    def copy_from(self, source: Objects, name: str, to: str) -> Stored | None:
        """Copy `name` of `source` here as `to`; None where the bytes must pass through this process."""
        ...


class New(NamedTuple):
    """A small object that is to be written."""

    name: str
    data: bytes
    content_type: str = OCTETS


@runtime_checkable
class Together(Protocol):
    """A store that writes many small objects for less than one by one."""

    def put_together(self, objects: Sequence[New]) -> None:
        """Put all. They last when it returns; where it raises, some may have been put."""
        ...


@dataclass(frozen=True, kw_only=True)
class S3Options:
    """How to reach an S3 server. Secrets are hidden in the repr."""

    endpoint: str | None = None  # URL; None: Amazon's for the region
    region: str = "us-east-1"
    path_style: bool = True  # bucket in the path, not in the host's name
    access_key: str | None = field(default=None, repr=False)  # None: boto3's own chain (environment, role)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    ca_bundle: Path | None = None  # PEM file with the authorities to trust instead of the system's
    connect_timeout: float = 5.0  # seconds
    read_timeout: float = 60.0  # seconds without a byte
    attempts: int = 5  # of one request, in all
    connections: int = 32  # kept open at most
    public_endpoint: str | None = None  # URL for links, where browsers reach the server otherwise


def check_readable(name: str) -> str:
    """Return `name` if it may be read: any key that leads nowhere else. Raises `Refused`."""
    if not name or name.startswith("/") or "\0" in name or any(s in (".", "..") for s in name.split("/")):
        raise Refused(Code.INVALID_FIELD, "An object's name is empty, absolute or has a dotted segment.")
    return name


def check_name(name: str) -> str:
    """Return `name` if it may be written, for every store alike. Raises `Refused`.

    Segments of 1 to 255 printable ASCII characters without backslash, none beginning with a dot (those belong
    to the store), at most 900 in all: what S3 servers and file systems agree on.
    """
    check_readable(name)
    if not name.isascii() or not name.isprintable() or "\\" in name or len(name) > LONGEST_NAME:
        raise Refused(Code.INVALID_FIELD, "An object's name has a character that may not be, or is too long.")
    if any(not 0 < len(s) <= LONGEST_SEGMENT or s.startswith(".") for s in name.split("/")):
        raise Refused(Code.INVALID_FIELD, "A segment of an object's name is empty, dotted or too long.")
    return name


def chunks_of(body: Body, chunk: int = CHUNK) -> Iterator[bytes]:
    """The body as chunks; those of bytes and files have at most `chunk` bytes, others come as they are."""
    if isinstance(body, bytes | bytearray | memoryview):
        view = memoryview(body)
        for start in range(0, len(view), chunk):
            yield bytes(view[start : start + chunk])
    elif isinstance(body, Path):
        with body.open("rb") as file:
            while block := file.read(chunk):
                yield block
    else:
        yield from body


def copy(source: Objects, name: str, store: Objects, to: str) -> Stored:
    """Copy an object, inside the server where both lie on one S3 server. Raises `Missing`."""
    if isinstance(store, Copies):
        copied = store.copy_from(source, name, to)
        if copied is not None:
            return copied
    return store.put(to, source.read(name))


def put_all(store: Objects, objects: Sequence[New]) -> None:
    """Put small objects, together where the store can. Where it raises, some may have been put."""
    if isinstance(store, Together):
        store.put_together(objects)
        return
    for new in objects:
        store.put(new.name, new.data, content_type=new.content_type)


def probe(store: Objects) -> None:
    """Look whether the store can be used, before anything is trusted to it.

    Two writers create one name at once and a third comes later: exactly one may win, and its bytes must be
    there. Raises `Broken(STORE_NOT_CONDITIONAL)`, or what the store raises where it fails.
    """
    name = f"probe/{uuid.uuid4().hex}"
    wins: list[bytes] = []
    faults: list[BaseException] = []

    def write(body: bytes) -> None:
        try:
            if store.create(name, body):
                wins.append(body)
        except BaseException as fault:  # noqa: BLE001  carried over to the calling thread, which raises it
            faults.append(fault)

    pair = [threading.Thread(target=write, args=(body,)) for body in (b"one", b"two")]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()
    if not faults:
        write(b"three")
    if faults:
        raise faults[0]
    if len(wins) != 1 or store.get(name) != wins[0]:
        raise Broken(Code.STORE_NOT_CONDITIONAL)
    store.delete([name])


class _Ranges(io.RawIOBase):
    """A raw, seekable file whose every read is one range read of the store."""

    def __init__(self, store: Objects, name: str, size: int) -> None:
        self._store = store
        self._name = name
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # no Buffer in 3.11
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        filled = 0
        for block in self._store.read(self._name, start=self._at, length=wanted):
            buffer[filled : filled + len(block)] = block
            filled += len(block)
        self._at += filled
        return filled


def open_seekable(store: Objects, name: str, *, buffer: int = 4 * CHUNK) -> BinaryIO:
    """A seekable, buffered, read-only file over an object: for members of a zip on S3.

    Each miss of the buffer is one range read of up to `buffer` bytes. Raises `Missing`.
    """
    stored = store.head(name)
    if stored is None:
        raise Missing(Code.NOT_FOUND)
    return cast(BinaryIO, io.BufferedReader(_Ranges(store, name, stored.size), buffer))
