"""What the views need, made once a process by `api.wsgi` and handed to them through the app."""

from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from api.auth import Door
from api.intake import Intake
from api.readiness import Readiness
from neurobatch.settings import Settings
from storage.ledger import Ledger
from storage.names import BatchKey, batch_key
from storage.roots import Roots
from storage.status import StatusReader

EXTENSION = "neurobatch"


@dataclass(frozen=True, kw_only=True)
class Services:
    """The rooms below, wired."""

    settings: Settings
    ledger: Ledger
    intake: Intake
    status: StatusReader
    roots: Roots
    door: Door
    readiness: Readiness


def services() -> Services:
    """Those of the app that answers now."""
    return cast(Services, current_app.extensions[EXTENSION])


def tenant() -> str:
    """Who asks."""
    return cast(str, g.tenant)


def key_of(batch: str) -> BatchKey:
    """The key of a batch in this request's tenant. Raises `Refused(not_found)` for what is no id."""
    return batch_key(tenant(), batch)
