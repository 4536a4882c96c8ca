"""The API's process: wires the real store, broker and settings. `gunicorn "api.wsgi:create_app()"`.

Starts without waiting for store or broker: whatever they cannot answer is 503 until they do, and `/readyz` says
so. gunicorn binds by itself, so `NEUROBATCH_HOST` must name the address that it is told to bind to.
"""

import logging
import sys

from apiflask import APIFlask

from api.app import build_app
from api.auth import Door
from api.intake import Intake
from api.readiness import Readiness
from api.services import Services
from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError
from neurobatch.settings import Settings, load_settings
from storage.broker import answers, connect
from storage.leases import Leases
from storage.ledger import Ledger
from storage.opening import open_configured
from storage.presence import workers
from storage.progress import Progress
from storage.ringing import Ringer
from storage.roots import Roots
from storage.status import StatusReader

HALT = 3  # the exit code upon which gunicorn ends instead of starting the process again


def create_app() -> APIFlask:
    """The app over what the settings name; ends the process with one plain line where they are wrong."""
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
        return build_app(wire(settings))
    except NeurobatchError as error:
        print(f"neurobatch: {error.message}", file=sys.stderr)  # noqa: T201  the process's outermost edge
        raise SystemExit(HALT) from None


def wire(settings: Settings) -> Services:
    """Everything that the views need.

    Raises:
        Broken: `bind_without_token`, `bad_setting`.
    """
    door = Door.of(settings)
    if settings.broker is None:
        detail = "NEUROBATCH_BROKER: the API starts no broker; `neurobatch serve` does."
        raise Broken(Code.BAD_SETTING, detail)
    objects = open_configured(settings)
    ledger, roots = Ledger(objects), Roots.of(settings)
    broker = connect(settings.broker)
    leases = Leases(broker)
    return Services(
        settings=settings,
        ledger=ledger,
        intake=Intake(ledger, Ringer.of(settings.broker), settings, roots),
        status=StatusReader(ledger, Progress(broker)),
        roots=roots,
        door=door,
        readiness=Readiness(objects, lambda: answers(broker), lambda: workers(leases) > 0),
    )
