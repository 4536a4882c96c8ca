"""Broker, worker and API as processes of this machine, over one data folder."""

import contextlib
import socket
import sys
import time
from pathlib import Path

from deploy.broker import EmbeddedBroker
from deploy.local.processes import Process
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.settings import PREFIX, Settings

STOP_SECONDS = 30.0  # a worker finishes or hands back what it is at
RESTARTS = (1.0, 2.0, 5.0, 15.0, 30.0)  # seconds to wait before a process that died is started again
STEADY = 120.0  # seconds after which a process counts as steady again


class Stack:
    """Starts what is asked for, watches it, and stops everything that it started, in reverse."""

    def __init__(self, settings: Settings, *, share: bool = False) -> None:
        """`share`: use the embedded broker of another command on the same data folder, where there is one."""
        self.settings = settings
        self._share = share
        self.broker = settings.broker or ""
        self._held = contextlib.ExitStack()
        self._kept: dict[str, _Kept] = {}

    def __enter__(self) -> "Stack":
        self.settings.home.mkdir(parents=True, exist_ok=True)
        if not self.broker:
            self.broker = self._held.enter_context(EmbeddedBroker(self.settings.home, share=self._share)).url
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def start_worker(self) -> Process:
        """A worker over this stack's store and broker."""
        return self._start("worker", [sys.executable, "-m", "neurobatch", "worker"])

    def start_api(self, host: str, port: int) -> Process:
        """The API by gunicorn, bound to one address."""
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            "python:deploy.local.gunicorn",
            "api.wsgi:create_app()",
        ]
        return self._start("API", [*command, "--bind", f"{host}:{port}"], {f"{PREFIX}HOST": host})

    def keep(self, *, deaths: int | None = None) -> list[str]:
        """Start again what has died, later each time; returns the names of what was started again.

        Raises:
            Broken: one died more than `deaths` times without a steady time between, where a bound is given.
        """
        for kept in self._kept.values():
            if deaths is not None and kept.deaths >= deaths:
                kept.process.check()
        return [name for name, kept in self._kept.items() if kept.revive()]

    def _start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Process:
        log = self.settings.home / "logs" / f"{name.lower()}.log"
        kept = _Kept(name, command, log, {**self._environment(), **(env or {})})
        self._held.callback(lambda: kept.process.stop(STOP_SECONDS))
        self._kept[name] = kept
        return kept.process

    def _environment(self) -> dict[str, str]:
        """What the children must know that was not in our environment: arguments, and the embedded broker."""
        return {
            f"{PREFIX}HOME": str(self.settings.home.absolute()),
            f"{PREFIX}BROKER": self.broker,
        }


class _Kept:
    """A process and how to start it again."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str]) -> None:
        self._name, self._command, self._log, self._env = name, command, log, env
        self.deaths = 0  # without a steady time between
        self._due: float | None = None
        self._launch()

    def _launch(self) -> None:
        self.process = Process(self._name, self._command, log=self._log, env=self._env)
        self._since = time.monotonic()

    def revive(self) -> bool:
        """Start it again if it died and its time has come."""
        if self.process.exit_code is None:
            return False
        now = time.monotonic()
        if self._due is None:
            self.deaths = 0 if now - self._since > STEADY else self.deaths
            self._due = now + RESTARTS[min(self.deaths, len(RESTARTS) - 1)]
        if now < self._due:
            return False
        self.deaths, self._due = self.deaths + 1, None
        self._launch()
        return True


def free_port(host: str, port: int) -> int:
    """`port`, or any free one for 0. Raises `Broken(bad_setting)` where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Broken(Code.BAD_SETTING, f"{PREFIX}PORT: {host}:{port} cannot be used: {error.strerror}") from None
        return int(probe.getsockname()[1])
