"""A store in this process's memory: for tests and for trying things out. It keeps every promise."""

import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from threading import Lock

from neurobatch.codes import Code
from neurobatch.errors import Missing
from storage.objects import CHUNK, OCTETS, Body, Stored, check_name, check_readable, chunks_of

PAGE = 1000  # names taken at once by `list`, as S3 gives them


class Memory:
    """Objects in a dictionary under one lock; bodies are gathered outside it, then appear whole."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._objects: dict[str, tuple[Stored, bytes]] = {}
        self._names: list[bytes] = []  # sorted, UTF-8

    def create(self, name: str, body: Body, *, content_type: str = OCTETS) -> bool:
        check_name(name)
        content = b"".join(chunks_of(body))
        with self._lock:
            if name in self._objects:
                return False
            self._keep(name, content)
            return True

    def put(self, name: str, body: Body, *, content_type: str = OCTETS) -> Stored:
        check_name(name)
        content = b"".join(chunks_of(body))
        with self._lock:
            return self._keep(name, content)

    def get(self, name: str) -> bytes:
        with self._lock:
            found = self._objects.get(check_readable(name))
        if found is None:
            raise Missing(Code.NOT_FOUND)
        return found[1]

    def read(self, name: str, *, start: int = 0, length: int | None = None, chunk: int = CHUNK) -> Iterator[bytes]:
        content = memoryview(self.get(name))[start:]
        return chunks_of(bytes(content if length is None else content[:length]), chunk)

    def head(self, name: str) -> Stored | None:
        with self._lock:
            found = self._objects.get(check_readable(name))
        return found[0] if found else None

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        last, begin = after.encode(), prefix.encode()
        while page := self._page(begin, last):
            yield from page
            last = page[-1].name.encode()

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with self._lock:
                if self._objects.pop(check_readable(name), None) is not None:
                    del self._names[bisect_left(self._names, name.encode())]

    def _keep(self, name: str, content: bytes) -> Stored:
        if name not in self._objects:
            insort(self._names, name.encode())
        stored = Stored(
            name=name,
            size=len(content),
            etag=hashlib.sha256(content).hexdigest(),
            modified=datetime.now(UTC),
        )
        self._objects[name] = (stored, content)
        return stored

    def _page(self, begin: bytes, last: bytes) -> tuple[Stored, ...]:
        with self._lock:
            at = max(bisect_left(self._names, begin), bisect_right(self._names, last))
            page = [name.decode() for name in self._names[at : at + PAGE] if name.startswith(begin)]
            return tuple(self._objects[name][0] for name in page)
