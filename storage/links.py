"""Links to objects that this program serves itself, for stores that can give none: signed, and valid for a while.

A link is `{base}/{token}`; the token is what it says (name, file name, end), and an HMAC-SHA256 over it.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

from neurobatch.codes import Code
from neurobatch.errors import Refused
from storage.objects import check_readable

SHORTEST_SECRET = 16  # bytes


@dataclass(frozen=True, kw_only=True)
class Linked:
    """What a valid link stands for."""

    name: str  # of the object
    filename: str  # for the download


class SignedLinks:
    """Gives and verifies links; keeps nothing. Every process that shares the secret verifies them."""

    def __init__(self, base: str, secret: bytes) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"a secret for links has at least {SHORTEST_SECRET} bytes")
        self._base = base.rstrip("/")
        self._secret = secret

    def link(self, name: str, *, seconds: int, filename: str) -> str:
        """A URL for `name`, valid for `seconds`. Both names can be read from it: let none tell of a patient."""
        said = json.dumps([check_readable(name), filename, int(time.time()) + seconds], separators=(",", ":")).encode()
        return f"{self._base}/{_text(said)}.{_text(self._sign(said))}"

    def verify(self, token: str) -> Linked:
        """What the last part of a link's path stands for. Raises `Refused`: `forbidden`, or `gone` after its end."""
        try:
            said, signed = (_bytes(part) for part in token.split("."))
        except (ValueError, binascii.Error):
            raise Refused(Code.FORBIDDEN, "The link is damaged.") from None
        if not hmac.compare_digest(signed, self._sign(said)):
            raise Refused(Code.FORBIDDEN, "The link is damaged.")
        name, filename, end = json.loads(said)
        if time.time() >= end:
            raise Refused(Code.GONE, "The link has expired.")
        return Linked(name=name, filename=filename)

    def _sign(self, said: bytes) -> bytes:
        return hmac.new(self._secret, b"neurobatch.link/1\0" + said, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded.encode("ascii", "strict"), altchars=b"-_", validate=True)
