"""Roots: the folders and bucket prefixes that may be read, by name; and how paths of any bytes become text.

Requests may name the operator's roots only (`NEUROBATCH_ROOTS`). The command `process` registers what it was
given in `roots.json` in the data folder, so that a worker that is started later finds it too.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused
from neurobatch.records import RootSource
from neurobatch.settings import Settings

REGISTRY = "roots.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ESCAPED = re.compile("[\uef80-\uefff]")
_TO_ESCAPE = re.compile("[\udc80-\udcff\uef80-\uefff]")


def path_text(raw: bytes) -> str:
    """A path as text that JSON can hold, whatever its bytes: undoes `path_bytes`, and differs when they do.

    A byte that is not UTF-8 becomes the private character U+EF00 + byte (as MirBSD's OPTU-8 does); those
    characters themselves are written as their bytes, so that no two paths share a text.
    """

    def escape(match: re.Match[str]) -> str:
        return "".join(chr(0xEF00 + byte) for byte in match[0].encode("utf-8", "surrogateescape"))

    return _TO_ESCAPE.sub(escape, raw.decode("utf-8", "surrogateescape"))


def path_bytes(text: str) -> bytes:
    """The bytes of a path that `path_text` wrote. Raises `Refused` for text that is no path."""
    try:
        surrogates = _ESCAPED.sub(lambda match: chr(ord(match[0]) - 0xEF00 + 0xDC00), text)
        raw = surrogates.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Refused(Code.INVALID_FIELD, "A path has a character that no file name can have.") from None
    if b"\0" in raw:
        raise Refused(Code.INVALID_FIELD, "A path has a character that no file name can have.")
    return raw


def relative_parts(path: str) -> tuple[str, ...]:
    """The parts of a path below a root. Raises `Refused(outside_roots)` if it is absolute or climbs."""
    parts = tuple(path.split("/")) if path else ()
    if any(part in ("", ".", "..") for part in parts):
        raise Refused(Code.OUTSIDE_ROOTS, "A path below a root is relative and has no empty or dotted part.")
    path_bytes(path)
    return parts


@dataclass(frozen=True, kw_only=True)
class Roots:
    """All roots that this installation knows. Picklable; the registry is read anew at each question."""

    configured: Mapping[str, str] = field(default_factory=dict)  # the operator's: URL or path by name
    registry: Path | None = None  # file of what `process` registered

    @classmethod
    def of(cls, settings: Settings) -> "Roots":
        """The roots of these settings. Raises `Broken(bad_setting)` for a root that cannot be one."""
        for name, url in settings.roots.items():
            if not _NAME.fullmatch(name):
                raise Broken(Code.BAD_SETTING, "NEUROBATCH_ROOTS: a name has other than a-z, 0-9 and -.")
            if not url.startswith(("/", "file:///", "s3://")):
                raise Broken(Code.BAD_SETTING, f"NEUROBATCH_ROOTS: {name} is neither an absolute path nor s3://.")
        return cls(configured=dict(settings.roots), registry=settings.home.absolute() / REGISTRY)

    def resolve(self, name: str) -> str:
        """The URL or absolute path of a root. Raises `Refused(outside_roots)` for a name that is none."""
        url = self.configured.get(name) or self._registered().get(name)
        if url is None:
            raise Refused(Code.OUTSIDE_ROOTS, "There is no such root.")
        return url

    def admit(self, source: RootSource) -> RootSource:
        """Check a source that a request names by root and path: only the operator's roots count.

        Raises `Refused(outside_roots)`, also where symbolic links on the path lead out of the root.
        """
        url = self.configured.get(source.root)
        if url is None:
            raise Refused(Code.OUTSIDE_ROOTS, "There is no such root.")
        parts = relative_parts(source.path.rstrip("/"))
        folder = folder_of(url)
        if folder is not None:
            top = os.path.realpath(folder)
            if not _below(os.path.realpath(top + b"/" + path_bytes("/".join(parts))), top):
                raise Refused(Code.OUTSIDE_ROOTS)
        return source.model_copy(update={"path": "/".join(parts)})

    def locate(self, place: str) -> RootSource:
        """Find the operator's root that an absolute path, `file:///…` or `s3://bucket/key` lies below.

        Links are resolved before the check; of several roots the innermost counts.

        Raises:
            Refused: `outside_roots`; `invalid_field` for a path that is too long.
        """
        if place.startswith("s3://"):
            found = list(self._prefixes_of(place.rstrip("/")))
        else:
            found = list(self._folders_of(place))
        if not found:
            raise Refused(Code.OUTSIDE_ROOTS)
        _, name, path = max(found)
        relative_parts(path)
        try:
            return RootSource(root=name, path=path)
        except ValidationError:
            raise Refused(Code.INVALID_FIELD, "The path is too long.") from None

    def register(self, path: Path) -> RootSource:
        """Make a file or folder of this machine a root of its own, under a name made of its absolute path.

        Raises `Broken` where the data folder cannot be written.
        """
        if self.registry is None:
            raise Broken(Code.BAD_SETTING, "There is no data folder to register a path in.")
        real = os.path.realpath(os.fsencode(path))
        name = f"path-{hashlib.sha256(real).hexdigest()[:12]}"
        try:
            with _alone(self.registry):
                known = self._registered()
                if name not in known:
                    known[name] = path_text(real)
                    _replace(self.registry, json.dumps(known, indent=1, sort_keys=True))
        except OSError as error:
            raise Broken(Code.BAD_SETTING, f"the data folder cannot be written: {error.strerror}") from None
        return RootSource(root=name)

    def _registered(self) -> dict[str, str]:
        if self.registry is None:
            return {}
        try:
            known = json.loads(self.registry.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise Broken(Code.BAD_SETTING, "roots.json in the data folder cannot be read.") from None
        return {str(name): str(path) for name, path in known.items()}

    def _folders_of(self, place: str) -> Iterator[tuple[int, str, str]]:
        named = folder_of(place)
        if named is None:
            return
        real = os.path.realpath(named)
        for name, url in self.configured.items():
            folder = folder_of(url)
            top = os.path.realpath(folder) if folder is not None else None
            if top is not None and _below(real, top):
                yield len(top), name, path_text(real[len(top) :].lstrip(b"/"))

    def _prefixes_of(self, place: str) -> Iterator[tuple[int, str, str]]:
        for name, url in self.configured.items():
            top = url.rstrip("/")
            if top.startswith("s3://") and (place == top or place.startswith(f"{top}/")):
                yield len(top), name, place[len(top) + 1 :]


def folder_of(url: str) -> bytes | None:
    """The absolute path that a root's URL or path names; None where it is none."""
    if url.startswith("file://"):
        parts = urlsplit(url)
        url = unquote(parts.path, errors="surrogateescape") if parts.netloc in ("", "localhost") else ""
        return os.fsencode(url) if url.startswith("/") and "\0" not in url else None
    return path_bytes(url) if url.startswith("/") else None


def _below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


@contextlib.contextmanager
def _alone(registry: Path) -> Iterator[None]:
    """Hold the registry's lock, so that two commands at once lose neither's entry."""
    registry.parent.mkdir(parents=True, exist_ok=True)
    with registry.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(file: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".roots-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as draft:
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
    Path(name).replace(file)
