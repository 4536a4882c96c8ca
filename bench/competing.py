"""The peers of `bench throughput`: how each is started, asked, and held to what neurobatch finds."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.asking import QUIET, Program
from bench.peers.asked import Asked
from bench.peers.setting_up import interpreter
from bench.served import Served
from bench.task import Place, files_of
from neurobatch.errors import Broken
from neurobatch.records import Options
from worker.planning import pins


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What one would write or pick instead."""

    name: str  # as the report has it
    start: Callable[[Asked, Served], Program]  # raises `Broken` where it cannot run here
    same: bool = True  # it must find what neurobatch finds


def _module(name: str) -> Callable[[Asked, Served], Program]:
    return lambda asked, ours: Program.module(f"bench.peers.{name}", asked.written, env=QUIET)


def _celery(asked: Asked, ours: Served) -> Program:
    arguments = (asked.written, ours.broker, str(ours.settings.home / "logs"))
    return Program.module("bench.peers.celery_tasks", *arguments, env=QUIET)


def _ray(asked: Asked, ours: Served) -> Program:
    # Without the first it would phone home; with its own niceness of 15 others would take its processor away.
    environment = {**QUIET, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    return Program([str(interpreter()), "-m", "bench.peers.ray_data", asked.written], environment)


PEERS = {
    "loop": Peer(name="loop, Keras predict", start=_module("loop")),
    "celery": Peer(name="Celery, one task a picture", start=_celery),
    "tf-data": Peer(name="tf.data, predict in batches", start=_module("tf_data")),
    "ray": Peer(name="Ray Data, map_batches", start=_ray),
}
ORIGINAL = Peer(name="the loop, denoised as the originals do", start=_module("loop"), same=False)


class Competitors:
    """The peers that run here, each in processes of its own, until `held` lets them go."""

    def __init__(self, wanted: tuple[str, ...], options: Options, ours: Served, held: ExitStack) -> None:
        classifiers = tuple(pin.name for pin in pins(options) if pin.kind == "classifier")
        asked = Asked(classifiers=classifiers, segment=options.segment)
        self.absent: dict[str, str] = {}  # why a peer does not run here, by its name
        self._running: dict[str, tuple[Peer, Program]] = {}
        for peer, each in _asked(wanted, asked, denoised=any(pin.profile == "nlm-clahe" for pin in pins(options))):
            try:
                self._running[peer.name] = peer, held.enter_context(peer.start(each, ours))
            except Broken as error:
                self.absent[peer.name] = f"not installed: {error.message}"

    @property
    def names(self) -> tuple[str, ...]:
        """Those that run."""
        return tuple(self._running)

    def must_agree(self, name: str) -> bool:
        """Whether a peer must find what neurobatch finds."""
        return self._running[name][0].same

    def judge(self, name: str, place: Place, scans: Path) -> tuple[float, Mapping[str, Any]]:
        """Have a peer judge a folder of scans: how long it took (s), and what it found of each by its file's name.

        Raises:
            Broken: it died.
        """
        to = place.folder / "peers" / name / scans.name
        to.mkdir(parents=True)
        said = self._running[name][1].ask(scans=[str(path) for path in files_of(scans)], to=str(to))
        return float(said["seconds"]), said["found"]


def _asked(wanted: tuple[str, ...], asked: Asked, *, denoised: bool) -> Iterator[tuple[Peer, Asked]]:
    for name in wanted or tuple(PEERS):
        yield PEERS[name], asked
        if name == "loop" and denoised:
            yield ORIGINAL, replace(asked, as_originals=True)
