"""What docker-compose.yml starts, as ordinary processes on loopback: the same commands, the same environment.

Only what containers have for themselves is changed: ports, folders, and the names of services, which all are
127.0.0.1 here.
"""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.servers.processes import find, free_ports, listens, running, wait_for

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-of-the-test"
ENV = {
    "NEUROBATCH_TOKENS": f"local={TOKEN}",
    "NEUROBATCH_LINK_SECRET": "link-secret-of-the-test",
    "S3_ACCESS_KEY": "key-of-the-test",
    "S3_SECRET_KEY": "secret-of-the-test",
    "REDIS_PASSWORD": "password-of-the-test",
}
WEED_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port.grpc",
)
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolate(node: Any, env: Mapping[str, str]) -> Any:
    """Fill in `${NAME}`, `${NAME:-default}` and `${NAME:?message}` as docker-compose does, and undo `$$`."""
    if isinstance(node, dict):
        return {key: interpolate(value, env) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate(value, env) for value in node]
    return VARIABLE.sub(lambda found: _value(found, env), node).replace("$$", "$") if isinstance(node, str) else node


def _value(found: re.Match[str], env: Mapping[str, str]) -> str:
    name, kind, text = found.groups()
    if env.get(name):
        return env[name]
    if kind != "-":
        raise KeyError(f"{name}: {text}")
    return str(text)


@dataclass(kw_only=True)
class Machine:
    """One machine that runs the services of the compose file."""

    folder: Path
    services: dict[str, dict[str, Any]]  # as in the file, variables filled in
    places: dict[str, int]  # `name:port` between containers -> port of loopback here
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    held: ExitStack = field(default_factory=ExitStack)  # what was started after the rest, ended before it

    @classmethod
    def of(cls, folder: Path) -> "Machine":
        """The compose file with the test's secrets, on free ports."""
        services = interpolate(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"], ENV)
        names = ("0.0.0.0:8700", "redis:6379", "seaweedfs:8333", *WEED_PORTS)
        places = dict(zip(names, free_ports(len(names)), strict=True))
        return cls(folder=folder, services=services, places=places)

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.places['0.0.0.0:8700']}"

    def here(self, text: str) -> str:
        """A word of a command or a value of a variable, with this machine's ports in it."""
        for place, port in self.places.items():
            text = text.replace(place, f"127.0.0.1:{port}") if ":" in place else text
        for place, part in (("seaweedfs:9333", "master.port"), ("seaweedfs:8888", "filer.port")):
            both = f"{self.places[part]}.{self.places[f'{part}.grpc']}"  # SeaweedFS's way to name both ports
            text = text.replace(place, f"127.0.0.1:{both}")
        return text

    def command(self, service: str) -> list[str]:
        """What the service runs."""
        words = [self.here(word) for word in self.services[service]["command"]]
        if service == "redis":
            words += ["--port", str(self.places["redis:6379"]), "--bind", "127.0.0.1"]
        if service == "seaweedfs":
            changed = {
                "-dir": ".",
                "-ip": "127.0.0.1",
                "-ip.bind": "127.0.0.1",
                "-s3.port": self.places["seaweedfs:8333"],
            }
            changed |= {f"-{name}": self.places[name] for name in WEED_PORTS}
            kept = [word for word in words if word.partition("=")[0] not in changed]
            unused = ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-filer.localSocket={self.folder / 'filer.sock'}"]
            words = ["weed", *kept, *(f"{name}={value}" for name, value in changed.items()), *unused]
        program = find(words[0])
        assert program, f"{words[0]} is missing"
        return [program, *words[1:]]

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service, and a home of its own as its container has one."""
        given = {name: self.here(str(value)) for name, value in self.services[service].get("environment", {}).items()}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {"NEUROBATCH_HOME": str(self.folder / f"home-{service}"), "NEUROBATCH_REUSE": "false"}
        return {"PATH": path, **kept, **given}  # what is sent again is to be judged again, and disturbed meanwhile

    def up(
        self, service: str, ready: Callable[[], bool], *, name: str = "", patience: float = 10
    ) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """One process of a service in a folder of its own, stopped afterwards."""
        folder = self.folder / (name or service)
        folder.mkdir()
        return running(self.command(service), folder, ready, env=self.environment(service), patience=patience)

    def restart_worker(self, number: int) -> "subprocess.Popen[bytes]":
        """Another process in the place of a worker that is gone."""
        again = self.up("worker", lambda: True, name=f"worker-{number}-{uuid.uuid4().hex[:6]}", patience=40)
        self.workers[number] = self.held.enter_context(again)
        return self.workers[number]

    def make_bucket(self) -> None:
        """What the service `bucket` does, twice: it must not mind that the bucket is there already."""
        shell, option = self.services["bucket"]["entrypoint"]
        environment = self.environment("bucket")
        for _ in range(2):
            script = self.here(self.services["bucket"]["command"][0])
            subprocess.run([shell, option, script], env=environment, check=True, timeout=60, capture_output=True)


def answers(url: str, status: int = 200) -> bool:
    """Whether an address answers with this status."""
    try:
        return httpx.get(url, timeout=5).status_code == status
    except httpx.TransportError:
        return False


@contextmanager
def composed(folder: Path, workers: int) -> Iterator[Machine]:
    """Redis, SeaweedFS with its bucket, the API and some workers, all as the compose file says."""
    machine = Machine.of(folder)
    healthy = f"http://127.0.0.1:{machine.places['seaweedfs:8333']}/healthz"
    with ExitStack() as stack:
        stack.enter_context(machine.up("redis", lambda: listens(machine.places["redis:6379"])))
        stack.enter_context(machine.up("seaweedfs", lambda: answers(healthy), patience=1))
        machine.make_bucket()
        stack.enter_context(machine.up("api", lambda: answers(f"{machine.url}/healthz")))
        for number in range(workers):
            worker = machine.up("worker", lambda: True, name=f"worker-{number}", patience=40)
            machine.workers.append(stack.enter_context(worker))
        assert wait_for(lambda: answers(f"{machine.url}/readyz"), 120), "no worker was seen"
        with machine.held:
            yield machine
