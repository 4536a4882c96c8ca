"""Wires a worker process: settings to store, ledger, Redis, supervisor, Celery consumer, recovery and watch."""

import logging
import math
import os
import socket
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from celery import Celery
from celery.worker import state as celery_state

from models import registry
from models.engines.choice import has_gpu, precision_for, precision_of
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Options
from neurobatch.settings import Settings
from pipeline.prepare.room import ROOM
from storage.bells import Bells
from storage.broker import CONNECT_SECONDS, connect
from storage.leases import Leases
from storage.ledger import Ledger
from storage.objects import probe
from storage.opening import open_configured
from storage.progress import Progress
from storage.ringing import Queues, Ringer, celery_settings
from worker.arena import COLOURS
from worker.engines import EngineConfig
from worker.hands import HANDS, Hands, Waking
from worker.hearing import Activity, Hearing, queue_of
from worker.messages import Network
from worker.planning import SEGMENTER, Planner
from worker.recovery import Recovery
from worker.shards import STOP_SECONDS, Desk, Shards
from worker.sources import SourcesConfig
from worker.supervisor import SIDE, Stages, Supervisor
from worker.tasks import register
from worker.watching import DEAF_SECONDS, Watch
from worker.weights import Weights

PACKED_SIDE = math.isqrt(ROOM // COLOURS) + 1  # px: a slot of such slices holds a plane that is not prepared yet
WARM = ("mobilenet", SEGMENTER)  # what most batches ask for: loaded before the first one comes
LAST_SECONDS = 29.0  # after SIGTERM: then the process ends, whatever it is at
HAND_BACK_SECONDS = 5.0  # for what is under way when a deaf worker begins anew

log = logging.getLogger(__name__)


def celery_app(url: str) -> Celery:
    """The consumer's app: bells are acknowledged when heard, one for each free hand, the urgent ones first."""
    app = Celery("neurobatch", set_as_current=False)
    app.conf.update(
        celery_settings(url),
        broker_transport_options={
            "queue_order_strategy": "priority",  # in the order in which they are consumed
            "priority_steps": [0],
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 5,  # seconds; a connection that is half open is dropped after thrice that
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    app.steps["consumer"].add(Waking)
    return app


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a worker is made of."""

    ledger: Ledger
    leases: Leases
    progress: Progress
    bells: Bells
    ringer: Ringer
    holder: str
    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> "Parts":
        """Open store and broker.

        Raises:
            Broken: a setting is wrong, or the store cannot be used.
            Unavailable: the store does not answer.
        """
        if settings.broker is None:
            raise Broken(
                Code.BAD_SETTING, "NEUROBATCH_BROKER is not set; `neurobatch serve` brings a broker of its own."
            )
        store = open_configured(settings)
        probe(store)
        client = connect(settings.broker)
        bells = Bells(client)
        return cls(
            ledger=Ledger(store),
            leases=Leases(client),
            progress=Progress(client),
            bells=bells,
            ringer=Ringer(settings.broker, bells),
            holder=f"{socket.gethostname()[:40]}-{uuid.uuid4().hex[:8]}",
            settings=settings,
        )

    def recovery(self) -> Recovery:
        """Recovery over these parts."""
        return Recovery(
            ledger=self.ledger,
            leases=self.leases,
            progress=self.progress,
            ringer=self.ringer,
            holder=self.holder,
            seconds=self.settings.recover_seconds,
        )


class Worker:
    """One worker process, from start to stop."""

    def __init__(self, settings: Settings, stages: Stages | None = None, *, deaf_seconds: float = DEAF_SECONDS) -> None:
        """Opens store and broker; raises as `Parts.of` does, and `Broken` where the networks are damaged.

        `stages`: what children do, other than judging scans with the shipped networks.
        """
        self._settings, self._deaf_seconds = settings, deaf_seconds
        self._parts = Parts.of(settings)
        self._stopping = threading.Event()
        self._activity = Activity()
        config, engines = SourcesConfig.of(settings), EngineConfig.of(settings)
        judging = Stages(
            context_settings=config,
            load_settings=engines,
            streams=engines.streams,
            side=PACKED_SIDE if has_gpu() else SIDE,
        )
        self._supervisor = Supervisor(settings, stages or judging, warm=() if stages else _warm(settings))
        self._shards = Shards(self._desk())
        self.app = celery_app(settings.broker or "")
        register(self.app, self._hearing(config))

    def run(self) -> None:
        """Work until `stop` is called; then finish or hand back what is under way. In the process's main thread."""
        watch = Watch(
            queues=Queues(self._settings.broker or ""),
            leases=self._parts.leases,
            activity=self._activity,
            holder=self._parts.holder,
            stuck=lambda: self._supervisor.pulse().stuck > 2 * self._settings.scan_seconds,
            deaf_seconds=self._deaf_seconds,
        )
        threads = [
            threading.Thread(target=self._parts.recovery().run, args=(self._stopping,), name="recovery", daemon=True),
            threading.Thread(target=watch.run, args=(self._stopping, self._begin_anew), name="watch", daemon=True),
        ]
        with self._supervisor:
            log.info("worker_started holder=%s", self._parts.holder)
            for thread in threads:
                thread.start()
            self._consume()
            self._stopping.set()
            watch.leave()
            for thread in threads:
                thread.join()
            self._shards.close()
        log.info("worker_stopped holder=%s", self._parts.holder)

    def stop(self) -> None:
        """Take no more; what is under way is finished or handed back. May be called by a signal's handler."""
        self._stopping.set()
        self._shards.stop(STOP_SECONDS)
        _after(STOP_SECONDS + 2.0, self._supervisor.close)  # a page that is being planned is given up
        _after(LAST_SECONDS, _end)
        celery_state.should_stop = os.EX_OK  # type: ignore[assignment]  # its stubs know only the None before

    def _consume(self) -> None:
        controller = self.app.WorkController(
            hostname=f"neurobatch@{self._parts.holder}",
            pool=Hands,
            concurrency=HANDS,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        controller.start()

    def _begin_anew(self) -> None:
        """Replace this process by a fresh one: the kernel ends its children, recovery finds what they were at."""
        self._stopping.set()
        self._shards.stop(0)
        waited = threading.Event()
        for _ in range(int(HAND_BACK_SECONDS / 0.1)):
            if not self._activity.running:
                break
            waited.wait(0.1)
        self._supervisor.close()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _desk(self) -> Desk:
        parts = self._parts
        return Desk(
            ledger=parts.ledger,
            leases=parts.leases,
            progress=parts.progress,
            supervisor=self._supervisor,
            weights=Weights(parts.ledger, self._settings.home / "weights"),
            settings=self._settings,
            holder=parts.holder,
            settle=lambda key: parts.ringer.ring_settle(key, queue_of(parts.ledger, key)),
        )

    def _hearing(self, config: SourcesConfig) -> Hearing:
        parts = self._parts
        return Hearing(
            ledger=parts.ledger,
            bells=parts.bells,
            leases=parts.leases,
            progress=parts.progress,
            ringer=parts.ringer,
            planner=Planner(
                ledger=parts.ledger,
                config=config,
                call=self._supervisor.call,
                scratch=self._settings.home / "run" / "planning",
                threshold=self._settings.threshold,
                precision=self._settings.precision,
                engine=self._settings.engine,
            ),
            shards=self._shards,
            activity=self._activity,
            stopping=self._stopping,
            holder=parts.holder,
            lease_seconds=self._settings.lease_seconds,
        )


def _after(seconds: float, action: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def _end() -> None:
    """End whatever still runs, such as a long cancelling; recovery goes on with it elsewhere."""
    log.warning("worker_ended_unfinished")
    os._exit(os.EX_OK)


def _warm(settings: Settings) -> tuple[Network, ...]:
    """The networks to load at start. Raises `Broken(weights_damaged)`: better now than at the first batch."""
    known = registry.networks()
    precision = precision_of(Options().precision, settings.precision, settings.engine)
    return tuple(
        Network.of(
            known[name].pin(),
            registry.open_weights(name),
            registry.open_check(name),
            settings.engine,
            precision_for(known[name].kind, precision),
        )
        for name in WARM
        if name in known
    )
