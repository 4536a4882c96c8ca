"""neurobatch as a user has it: API, broker and worker of this machine, over a folder, all warm."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.local.gateway import open_ledger
from deploy.local.processes import Process
from deploy.local.stack import Stack, free_port
from models.engines.choice import prepare_engines
from neurobatch.client import Client
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import End, Options, Result
from neurobatch.settings import PREFIX, Settings, load_settings
from storage.broker import connect
from storage.leases import Leases
from storage.ledger import Ledger
from storage.names import BatchKey
from storage.presence import workers as present

HOST = "127.0.0.1"
LOOK_SECONDS = 0.01  # between two looks for what is waited for
READY_SECONDS = 180.0
BATCH_SECONDS = 900.0
STOP_SECONDS = 30.0
KEPT = ("engine", "precision", "device_batch", "decoders", "arena")  # settings of the user that a measurement keeps


@dataclass(frozen=True, kw_only=True)
class Handled:
    """One batch, from its upload to its end."""

    key: BatchKey
    accepted: float  # seconds from the first byte sent until the server answered
    seconds: float  # from the first byte sent until the last result was in the store
    results: tuple[Result, ...]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A stack that runs."""

    settings: Settings
    url: str
    broker: str  # its URL
    ledger: Ledger
    workers: tuple[Process, ...]
    api: Process

    @property
    def worker(self) -> Process:
        """The first one."""
        return self.workers[0]

    def judge(self, paths: Sequence[Path], options: Options) -> Handled:
        """Upload files as one batch and wait for its end.

        Raises:
            Broken: the batch failed, did not end, or a process died.
        """
        begun = time.monotonic()
        with Client(self.url) as client:
            batch = client.submit(paths, options).id
        accepted = time.monotonic() - begun
        key = BatchKey(self.settings.tenant, batch)
        self.end(key)
        seconds = time.monotonic() - begun
        return Handled(key=key, accepted=accepted, seconds=seconds, results=tuple(self.results(key)))

    def end(self, key: BatchKey) -> End:
        """Wait for a batch's end."""
        until = time.monotonic() + BATCH_SECONDS
        while (end := self.ledger.end(key)) is None:
            self.check()
            if time.monotonic() > until:
                raise Broken(Code.INTERNAL, f"The batch did not end in {BATCH_SECONDS:.0f} s.")
            time.sleep(LOOK_SECONDS)
        return end

    def results(self, key: BatchKey) -> Iterator[Result]:
        """The results of a batch that ended, in plan order."""
        for page in self.ledger.pages(key, self.ledger.plan_end(key)):
            for shard in page.shards:
                yield from self.ledger.results(key, shard.number) or ()

    def check(self) -> None:
        """Raise `Broken` where a process has died."""
        for process in (*self.workers, self.api):
            process.check()


@contextmanager
def served(
    home: Path,
    *,
    roots: Mapping[str, Path] | None = None,
    worker: Sequence[str] = (),
    workers: int = 1,
    fields: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Start a stack in `home`, whose API may read `roots`; stopped afterwards.

    `worker`: the command of another worker than `neurobatch worker`; `workers`: how many of those; `fields`: settings
    that the measurement wants.
    """
    own = load_settings()
    kept = {name: getattr(own, name) for name in KEPT}
    given = {name: str(value) for name, value in kept.items() if value is not None}
    given |= {
        **({"reuse": "false"} if worker else {}),  # another worker's scans are copies of a few
        **(fields or {}),
        "home": str(home),
        "engines": "" if worker else str(engines_cache()),
        "roots": ",".join(f"{name}={folder}" for name, folder in (roots or {}).items()),
    }
    with ExitStack() as held:
        held.enter_context(environment(given))
        settings = load_settings()
        stack = held.enter_context(Stack(settings))
        port = free_port(HOST, 0)
        api = stack.start_api(HOST, port)
        others = tuple(_other(worker, number, stack, held) for number in range(workers)) if worker else ()
        up = Served(
            settings=settings,
            url=f"http://{HOST}:{port}",
            broker=stack.broker,
            ledger=open_ledger(settings),
            workers=others or (stack.start_worker(),),
            api=api,
        )
        _wait(up)
        yield up


def engines_cache() -> Path:
    """Where this machine keeps its converted networks: converting takes longer than most measurements."""
    settings = load_settings()
    cache = settings.engines_folder.absolute()
    prepare_engines(cache, settings.engine)
    return cache


@contextmanager
def environment(fields: Mapping[str, str]) -> Iterator[None]:
    """Only these settings are in force, for this process and those that it starts; then all as before."""
    before = {name: text for name, text in os.environ.items() if name.startswith(PREFIX)}
    for name in before:
        del os.environ[name]
    now = {f"{PREFIX}{name.upper()}": text for name, text in fields.items() if text}
    os.environ.update(now)
    try:
        yield
    finally:
        for name in now:
            del os.environ[name]
        os.environ.update(before)


def _other(command: Sequence[str], number: int, stack: Stack, held: ExitStack) -> Process:
    env = {f"{PREFIX}BROKER": stack.broker}
    log = stack.settings.home / "logs" / f"worker-{number}.log"
    process = Process("worker", [sys.executable, *command], log=log, env=env)
    held.callback(process.stop, STOP_SECONDS)
    return process


def _wait(up: Served) -> None:
    """Until the API says that it is ready, and every worker takes work."""
    until = time.monotonic() + READY_SECONDS
    with connect(up.broker) as broker:
        leases = Leases(broker)
        while not (_ready(up.url) and present(leases) >= len(up.workers)):
            up.check()
            if time.monotonic() > until:
                raise Broken(Code.INTERNAL, f"The stack was not ready in {READY_SECONDS:.0f} s.")
            time.sleep(0.1)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5.0).status_code == 200
    except httpx.TransportError:
        return False
