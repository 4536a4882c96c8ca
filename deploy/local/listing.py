"""What `process` was given, as one digest: the same command on the same files finds its batch again."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from neurobatch.records import Options


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Names, sizes and times of all files, with options and models, digested."""

    digest: str  # sha256, hex
    files: int
    size: int  # bytes


def list_files(paths: Iterable[Path], options: Options, models: Mapping[str, str]) -> Listing:
    """Walk the paths in a stable order. `models`: weight digests by network."""
    asked = {"options": options.model_dump(mode="json"), "models": dict(sorted(models.items()))}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    files = size = 0
    for path in paths:
        digest.update(b"\0" + os.fsencode(path.resolve()))
        for name, status in _walk(os.fsencode(path.resolve())):
            digest.update(b"\0%s\0%d\0%d" % (name, status.st_size, status.st_mtime_ns))
            files += 1
            size += status.st_size
    return Listing(digest=digest.hexdigest(), files=files, size=size)


def _walk(top: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    if not os.path.isdir(top):
        yield b"", os.stat(top)
        return
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            yield path[len(top) :], os.lstat(path)
