"""How processes reach Redis, and the one place where its client's errors become ours.

Redis (or Valkey) holds what may be lost: bells, leases, progress. Wiping it loses time, never a scan.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import redis
import redis.exceptions as foreign
from redis.backoff import EqualJitterBackoff
from redis.retry import Retry

from neurobatch.codes import Code
from neurobatch.errors import Broken, Unavailable

SOCKET = "redis+socket"  # kombu's word for a Unix socket; redis-py says `unix`
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
TRIES = 3

_REFUSED = (
    foreign.AuthenticationError,
    foreign.AuthenticationWrongNumberOfArgsError,
    foreign.AuthorizationError,
    foreign.NoPermissionError,
)
_PASSING = (
    foreign.ConnectionError,
    foreign.TimeoutError,
    foreign.ReadOnlyError,
    foreign.OutOfMemoryError,
    foreign.ClusterDownError,
    foreign.TryAgainError,
)
_PASSING_WORDS = ("MISCONF", "LOADING", "BUSY", "NOREPLICAS", "OOM")


def connect(url: str) -> "redis.Redis":
    """A client, which may be used by many threads. Nothing is sent yet.

    `url` is redis://, rediss://, unix:// or kombu's redis+socket://. Raises `Broken` for any other.
    """
    try:
        return redis.Redis.from_url(
            socket_url(url),
            decode_responses=True,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            health_check_interval=30,
            retry=Retry(EqualJitterBackoff(cap=0.5, base=0.05), TRIES),
        )
    except ValueError as fault:
        raise Broken(Code.BAD_SETTING, "The broker is redis://, rediss:// or redis+socket://.") from fault


def socket_url(url: str) -> str:
    """The URL as redis-py wants it: kombu's `redis+socket:///path?virtual_host=1` is `unix:///path?db=1`."""
    parts = urlsplit(url)
    if parts.scheme != SOCKET:
        return url
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0]
    return f"unix://{parts.path}?db={database}"


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except _REFUSED as fault:
        raise Broken(Code.BAD_SETTING, "The broker refuses the user or password of its URL.") from fault
    except _PASSING as fault:
        raise Unavailable(Code.BROKER_UNAVAILABLE, type(fault).__name__) from fault
    except foreign.ResponseError as fault:
        if str(fault).startswith(_PASSING_WORDS):
            raise Unavailable(Code.BROKER_UNAVAILABLE, str(fault).partition(" ")[0]) from fault
        raise Broken(Code.INTERNAL, "The broker does not know a command: it is older than Redis 7.") from fault
    except (foreign.RedisError, foreign.RedisClusterException) as fault:
        raise Unavailable(Code.BROKER_UNAVAILABLE, type(fault).__name__) from fault


def answers(client: "redis.Redis") -> bool:
    """Whether the broker answers now."""
    try:
        with translated():
            return bool(client.ping())
    except (Unavailable, Broken):
        return False


def script(client: "redis.Redis", text: str) -> Callable[..., Any]:
    """A Lua script that runs on the server as one step; called with `keys` and `args`. Raises our errors."""
    registered = client.register_script(text)

    def run(keys: list[str], *args: str | int | float) -> Any:
        with translated():
            return cast(Any, registered(keys=keys, args=args))

    return run
