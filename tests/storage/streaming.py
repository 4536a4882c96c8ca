"""Run as a program: writes and reads a large object as a stream, and prints by how many MiB its memory grew."""

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from storage.objects import S3Options
from storage.opening import open_store

MIB = 1 << 20


def growth(url: str, options: S3Options, action: str, size: int) -> int:
    """MiB by which a fresh process's greatest memory grows over a stream of `size` MiB."""
    told = json.dumps({key: value for key, value in asdict(options).items() if value is not None})
    command = [sys.executable, str(Path(__file__)), url, told, action, str(size)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return int(said.stdout)


def _main(url: str, told: str, action: str, size: int) -> None:
    store = open_store(url, S3Options(**json.loads(told)))
    block = bytes(MIB)
    store.put("warm", block)
    store.get("warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    written = {"create": store.create, "put": store.put}[action]("large", (block for _ in range(size)))
    assert written
    assert sum(map(len, store.read("large"))) == size * MIB
    sys.stdout.write(str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
