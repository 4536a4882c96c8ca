"""Where a batch's bytes come from: uploads in the store, and files and objects below roots, read in place."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from neurobatch.codes import Code
from neurobatch.errors import Broken, LeftOut, Missing, Refused, ScanFailed
from neurobatch.records import Batch, FileRef, Source, UploadLine, UploadSource
from neurobatch.settings import Settings
from pipeline.limits import Limits
from pipeline.read.streams import Readable
from storage import names
from storage.ledger import Ledger, split_lines
from storage.names import BatchKey
from storage.objects import Objects, S3Options, open_seekable
from storage.opening import open_store, s3_options
from storage.roots import Roots, folder_of
from worker.folders import Entry, Opened, Tree

__all__ = ["Entry", "Fetched", "Opened", "Sources", "SourcesConfig"]

GLANCE, WHOLE = 128 << 10, 4 << 20  # bytes that one request fetches of a remote file

Fetched = bytes | ScanFailed
"""A file's bytes, or why this one cannot be had; the others of the same call still come."""


@dataclass(frozen=True, kw_only=True)
class SourcesConfig:
    """What a child needs to read sources by itself; picklable, secrets hidden in the repr."""

    store: str  # URL of the object store, which holds the uploads
    s3: S3Options = field(default_factory=S3Options)  # for the store and for roots in buckets alike
    roots: Roots = field(default_factory=Roots)  # they ask the registry anew, so later roots are found too
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, settings: Settings) -> "SourcesConfig":
        """The configuration that these settings ask for. Raises `Broken(bad_setting)`."""
        return cls(store=settings.store_url, s3=s3_options(settings), roots=Roots.of(settings))


def sources_from(ledger: Ledger, batch: Batch, start: int) -> Iterator[tuple[int, Source]]:
    """Sources with their numbers, from number `start` on; the manifest is streamed and only what is given is parsed."""
    yield from enumerate(batch.sources[start:], start=start)
    first = len(batch.sources)
    lines = enumerate(_manifest(ledger, batch), start=first)
    yield from ((number, UploadLine.load(line).source) for number, line in lines if number >= start)


def picked(ledger: Ledger, batch: Batch, numbers: Collection[int]) -> dict[int, Source]:
    """The sources with these numbers: what `fetch` needs for the files of a shard."""
    found: dict[int, Source] = {n: batch.sources[n] for n in numbers if n < len(batch.sources)}
    if len(found) == len(numbers):
        return found
    for number, line in enumerate(_manifest(ledger, batch), start=len(batch.sources)):
        if number in numbers:
            found[number] = UploadLine.load(line).source
            if len(found) == len(numbers):
                break
    return found


def _manifest(ledger: Ledger, batch: Batch) -> Iterator[bytes]:
    if batch.manifest is None:
        return iter(())
    return split_lines(ledger.objects.read(names.manifest(BatchKey(batch.tenant, batch.id))))


class Place(Protocol):
    """The files of one source, wherever they are."""

    def entries(self, after: str) -> Iterator[Entry]:
        """All files behind `after` in byte order. Raises `LeftOut` where the source itself cannot be had."""
        ...

    def open(self, path: str, buffer: int) -> Opened:
        """Open one file, seekable; remote ones are read by so many bytes at a time. Raises `ScanFailed`."""
        ...


class Sources:
    """Lists and reads the sources of batches. One a process; holds connections, so it is never pickled."""

    def __init__(self, config: SourcesConfig, objects: Objects | None = None) -> None:
        """`objects`: the open store where the process has it already; else the first upload opens it."""
        self._config = config
        self._store = objects
        self._buckets: dict[str, Objects] = {}
        self._tree: tuple[bytes, str, Tree] | None = None  # a folder, a path in it, and the tree there

    def list(self, key: BatchKey, source: Source, after: str = "") -> Iterator[Entry]:
        """Files of a source behind `after`, in the byte order of their paths; a stream, however many.

        Raises:
            LeftOut: the source is not there, cannot be read, or lies outside all roots.
            Unavailable: a service does not answer.
        """
        try:
            return self._place(key, source).entries(after)
        except Refused as error:
            raise LeftOut(error.code) from None

    def remote(self, source: Source) -> bool:
        """Whether each look at a file of this source costs a request."""
        if isinstance(source, UploadSource):
            return not self._config.store.startswith("file:")
        try:
            return folder_of(self._config.roots.resolve(source.root)) is None
        except Refused:
            return False

    def open(self, key: BatchKey, source: Source, path: str = "", *, glance: bool = False) -> Opened:
        """Open a file as it is now: a seekable stream with size and stamp; the caller closes it.

        `glance`: only its head will be read, so that of a remote file no more is fetched.

        Raises:
            ScanFailed: `source_missing`, `source_changed`, `unreadable`.
            Unavailable: a service does not answer.
        """
        try:
            return self._place(key, source).open(path, GLANCE if glance else WHOLE)
        except Refused:
            raise ScanFailed(Code.SOURCE_MISSING) from None

    def fetch(
        self, key: BatchKey, sources: Mapping[int, Source] | Sequence[Source], refs: Sequence[FileRef]
    ) -> Iterator[tuple[FileRef, Fetched]]:
        """The bytes of files, each once; an archive is opened once for all its members.

        Args:
            key: the batch.
            sources: its sources by number.
            refs: the files; they come by outermost file in this order, members in the archive's order.

        Yields:
            Each ref with its bytes, or with the `ScanFailed` that says why this one cannot be had:
            `source_changed` where size or stamp are not those that were planned, `source_missing`,
            `unreadable`, `out_of_memory` for a file beyond `Limits.file_bytes`, or its archive's fault.

        Raises:
            Unavailable: a service does not answer; what was not yet yielded can be asked for again.
        """
        outer: dict[tuple[int, str], list[FileRef]] = {}
        for ref in refs:
            outer.setdefault((ref.source, ref.path), []).append(ref)
        for (number, path), wanted in outer.items():
            try:
                opened = self.open(key, sources[number], path)
            except ScanFailed as error:
                yield from ((ref, error) for ref in wanted)
                continue
            with opened.stream:
                yield from self._read(opened, wanted, isinstance(sources[number], UploadSource))

    def _read(self, opened: Opened, wanted: Sequence[FileRef], upload: bool) -> Iterator[tuple[FileRef, Fetched]]:
        inside: dict[int, FileRef] = {}
        for ref in wanted:
            if ref.stamp != opened.stamp:
                yield ref, ScanFailed(Code.SOURCE_CHANGED)
            elif ref.member is None:
                yield ref, self._whole(opened, ref, upload)
            else:
                inside[ref.member] = ref
        if inside:
            opened.stream.seek(0)
            yield from self._members(opened.stream, inside)

    def _whole(self, opened: Opened, ref: FileRef, upload: bool) -> Fetched:
        if ref.size > self._config.limits.file_bytes:
            return ScanFailed(Code.OUT_OF_MEMORY, f"more than {self._config.limits.file_bytes} bytes")
        try:
            opened.stream.seek(0)
            data = opened.stream.read(ref.size + 1)
        except OSError as error:
            return ScanFailed(Code.UNREADABLE, error.strerror or "")
        except Missing:
            return ScanFailed(Code.SOURCE_MISSING)
        if len(data) != ref.size or (upload and hashlib.sha256(data).hexdigest() != ref.stamp):
            return ScanFailed(Code.SOURCE_CHANGED)
        return data

    def _members(self, archive: BinaryIO, wanted: dict[int, FileRef]) -> Iterator[tuple[FileRef, Fetched]]:
        """Reading ends after the last wanted member; one that is damaged does not end the others."""
        from pipeline.read.archives import members  # brings pydicom, and the supervisor imports this module

        failure = ScanFailed(Code.SOURCE_CHANGED, "The archive has fewer members.")
        try:
            for member in members(archive, self._config.limits):
                ref = wanted.pop(member.position, None)
                if ref is None:
                    continue
                if member.stream is None or (member.size, member.name) != (ref.size, ref.name):
                    yield ref, ScanFailed(Code.SOURCE_CHANGED)
                else:
                    yield ref, _member(member.stream, self._config.limits)
                if not wanted:
                    return
        except LeftOut as error:
            failure = ScanFailed(error.code, error.detail)
        yield from ((ref, failure) for ref in wanted.values())

    def shown(self, source: Source, path: str = "", member: str = "") -> str:
        """A file's path as the user knows it: what was handed over, the path in it, the member's name."""
        if isinstance(source, UploadSource):
            return "/".join(part for part in (source.name, member) if part)
        top = "" if source.path or path else self._root_name(source.root)
        return "/".join(part for part in (top, source.path, path, member) if part)

    def _root_name(self, root: str) -> str:
        """The last part of a root that is itself the file."""
        try:
            return PurePosixPath(self._config.roots.resolve(root)).name
        except Refused:
            return root

    def _place(self, key: BatchKey, source: Source) -> Place:
        if isinstance(source, UploadSource):
            return _Upload(self._objects(), names.upload(key, source.number), source)
        url = self._config.roots.resolve(source.root)
        folder = folder_of(url)
        return _Bucket(self._bucket(url), source.path) if folder is None else self._below(folder, source.path)

    def _below(self, folder: bytes, path: str) -> Tree:
        """The files below a folder. The last is kept: one source's files are opened one after the other."""
        kept = self._tree
        if kept is None or kept[:2] != (folder, path):
            kept = self._tree = (folder, path, Tree(folder, path))
        return kept[2]

    def _objects(self) -> Objects:
        if self._store is None:
            self._store = open_store(self._config.store, self._config.s3)
        return self._store

    def _bucket(self, url: str) -> Objects:
        if url not in self._buckets:
            self._buckets[url] = open_store(url, self._config.s3)
        return self._buckets[url]


class _Upload:
    """One uploaded file: the object is the file."""

    def __init__(self, objects: Objects, name: str, source: UploadSource) -> None:
        self._objects, self._name, self._source = objects, name, source

    def entries(self, after: str) -> Iterator[Entry]:
        return iter([Entry(path="", size=self._source.size, stamp=self._source.sha256)])

    def open(self, path: str, buffer: int) -> Opened:
        try:
            stream = open_seekable(self._objects, self._name, buffer=buffer)
        except Missing:
            raise ScanFailed(Code.SOURCE_MISSING) from None
        return Opened(stream, self._source.size, self._source.sha256)


class _Bucket:
    """The objects at or below one key of a bucket root."""

    def __init__(self, objects: Objects, path: str) -> None:
        self._objects, self._path = objects, path.rstrip("/")

    def entries(self, after: str) -> Iterator[Entry]:
        try:
            stored = self._objects.head(self._path) if self._path else None
            if stored is not None:
                return iter([Entry(path="", size=stored.size, stamp=stored.etag)])
            return self._below(after)
        except Refused:
            raise LeftOut(Code.SOURCE_MISSING) from None
        except Broken as error:
            raise LeftOut(Code.UNREADABLE, error.detail) from None

    def _below(self, after: str) -> Iterator[Entry]:
        prefix = f"{self._path}/" if self._path else ""
        found = self._objects.list(prefix, after=f"{prefix}{after}" if after else "")
        first = next(found, None)
        if first is None and self._path and not after:
            raise LeftOut(Code.SOURCE_MISSING)

        def told() -> Iterator[Entry]:
            stored = first
            while stored is not None:
                path = stored.name[len(prefix) :]
                if path and not path.endswith("/"):  # a key that ends so marks a folder and is no file
                    odd = any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path
                    code = Code.UNSAFE_NAME if odd else None
                    yield Entry(path=path, size=stored.size, stamp=stored.etag, code=code)
                stored = next(found, None)

        return told()

    def open(self, path: str, buffer: int) -> Opened:
        name = "/".join(part for part in (self._path, path) if part)
        try:
            stored = self._objects.head(name)
            if stored is None:
                raise ScanFailed(Code.SOURCE_MISSING)
            return Opened(open_seekable(self._objects, name, buffer=buffer), stored.size, stored.etag)
        except Missing:
            raise ScanFailed(Code.SOURCE_MISSING) from None
        except Broken as error:
            raise ScanFailed(Code.UNREADABLE, error.detail) from None


def _member(stream: Readable, limits: Limits) -> Fetched:
    from pipeline.read.archives import read_whole  # as above

    try:
        return read_whole(stream, limits)
    except LeftOut as error:
        return ScanFailed(error.code, error.detail)
