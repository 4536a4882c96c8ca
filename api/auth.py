"""Who asks. With tokens configured, a bearer token names the tenant; without, only this machine may ask.

Without tokens anything that this machine's browser shows could reach the API, so three things are checked:
the peer is loopback, the `Host` is a loopback name (against DNS rebinding), and no other site's page sent it.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Request
from pydantic import SecretStr

from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused
from neurobatch.settings import Settings

SHORTEST_TOKEN = 16  # characters

_SAFE = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Door:
    """Admits requests, each as a tenant."""

    tenant: str  # of whoever asks while there are no tokens
    tokens: Mapping[str, SecretStr]

    @classmethod
    def of(cls, settings: Settings) -> "Door":
        """The door for these settings.

        Raises:
            Broken: `bind_without_token`, when the API is to be reached from elsewhere and no token is set;
                `bad_setting` for a token that could be guessed.
        """
        if any(len(token.get_secret_value()) < SHORTEST_TOKEN for token in settings.tokens.values()):
            detail = f"NEUROBATCH_TOKENS: a token has at least {SHORTEST_TOKEN} characters."
            raise Broken(Code.BAD_SETTING, detail)
        if not settings.tokens and not is_loopback(settings.host):
            raise Broken(Code.BIND_WITHOUT_TOKEN)
        return cls(tenant=settings.tenant, tokens=settings.tokens)

    def admit(self, request: Request) -> str:
        """The tenant that asks. Raises `Refused`: `unauthorised` or `forbidden`."""
        if self.tokens:
            return self._by_token(request.headers.get("Authorization", ""))
        self._only_here(request)
        return self.tenant

    def guard(self, request: Request) -> None:
        """Check what may be asked without a token. Raises `Refused(forbidden)`."""
        if not self.tokens:
            self._only_here(request)

    def _by_token(self, header: str) -> str:
        scheme, _, sent = header.partition(" ")
        given = sent.strip().encode()
        found = None
        for tenant, token in self.tokens.items():  # all are compared, so that time tells nothing
            if hmac.compare_digest(token.get_secret_value().encode(), given):
                found = tenant
        if found is None or scheme.lower() != "bearer":
            raise Refused(Code.UNAUTHORISED)
        return found

    def _only_here(self, request: Request) -> None:
        peer = request.remote_addr
        if peer and not is_loopback(peer):
            raise Refused(Code.FORBIDDEN, "Without tokens only this machine may ask.")
        if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise Refused(Code.FORBIDDEN, "Without tokens the Host must be a loopback name.")
        if request.method not in _SAFE and _from_elsewhere(request):
            raise Refused(Code.FORBIDDEN, "The request comes from another site's page.")


def _from_elsewhere(request: Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is not None and origin != f"{request.scheme}://{request.host}"
