"""The API as its own process: gunicorn over a folder or S3, with a real broker."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from neurobatch.settings import Settings
from storage.ledger import Ledger
from storage.opening import open_configured
from tests.servers.processes import free_ports, running

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running API."""

    url: str
    pid: int  # of gunicorn's master
    ledger: Ledger  # the same store, from here

    def memory(self) -> int:
        """Bytes that gunicorn's processes hold now (RSS)."""
        master = psutil.Process(self.pid)
        return sum(int(each.memory_info().rss) for each in (master, *master.children(recursive=True)))

    def cpu_seconds(self) -> float:
        """Processor time that they took so far."""
        master = psutil.Process(self.pid)
        return sum(float(sum(each.cpu_times()[:2])) for each in (master, *master.children(recursive=True)))


@contextmanager
def served(folder: Path, broker: str, **settings: str) -> Iterator[Served]:
    """Start the API with these settings (`store="s3://…"`), wait until it answers, and end it afterwards."""
    [port] = free_ports(1)
    told = {"home": str(folder / "home"), "broker": broker, **settings}
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "gunicorn", "--config", "python:deploy.local.gunicorn",
        "--bind", f"127.0.0.1:{port}", "api.wsgi:create_app()",
    ]  # fmt: skip
    env = {**os.environ, **{f"NEUROBATCH_{name.upper()}": value for name, value in told.items()}}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    with running(command, folder, lambda: _answers(url), env=env) as process:
        objects = open_configured(Settings(**told))  # type: ignore[arg-type]  # texts, as in the environment
        yield Served(url=url, pid=process.pid, ledger=Ledger(objects))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
