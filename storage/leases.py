"""Leases: who works on what now. A lease ends by itself when its holder dies, and carries live counts meanwhile.

A lease saves work, it guards nothing: two holders do no harm, since the store lets one commit win.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import redis

from storage import keys
from storage.broker import script, translated

_TAKE = """
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'holder', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2] * 4)
return 1
"""

_RENEW = """
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
for at = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], 'n:' .. ARGV[at], ARGV[at + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2] * 4)
return 1
"""

_RELEASE = """
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
return 1
"""

_GROUP = """
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000 + math.floor(now[2] / 1000))
local found = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local fields = redis.call('HGETALL', ARGV[1] .. name)
  if #fields > 0 then found[#found + 1] = {name, fields} end
end
return found
"""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One lease that stands."""

    name: str
    holder: str
    counts: Mapping[str, int]  # what the holder last said, by field


class Leases:
    """Takes, renews and gives back leases. All methods raise `Unavailable` where Redis does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._take = script(client, _TAKE)
        self._renew = script(client, _RENEW)
        self._release = script(client, _RELEASE)
        self._group = script(client, _GROUP)

    def take(self, name: str, holder: str, seconds: float = keys.LEASE_SECONDS) -> bool:
        """Take a lease that nobody else holds, or take one's own again. False: another holds it."""
        return bool(self._take(_keys(name), holder, int(seconds * 1000), name))

    def renew(
        self, name: str, holder: str, counts: Mapping[str, int] | None = None, seconds: float = keys.LEASE_SECONDS
    ) -> bool:
        """Hold on to a lease and say what was counted so far. False: it ended, and may be another's by now."""
        said = [part for field, count in (counts or {}).items() for part in (field, count)]
        return bool(self._renew(_keys(name), holder, int(seconds * 1000), name, *said))

    def release(self, name: str, holder: str) -> bool:
        """Give a lease back. False: it was no longer one's own."""
        return bool(self._release(_keys(name), holder, name))

    def holder(self, name: str) -> str | None:
        """Who holds the lease now."""
        with translated():
            found: str | None = self._client.hget(keys.lease(name), "holder")  # type: ignore[assignment]  # sync client
        return found

    def alive(self, names: Iterable[str]) -> set[str]:
        """Those of the names whose lease is held now; asks once."""
        asked = list(names)
        with translated(), self._client.pipeline(transaction=False) as together:
            for name in asked:
                together.exists(keys.lease(name))
            return {name for name, there in zip(asked, together.execute(), strict=True) if there}

    def group(self, group: str) -> list[Lease]:
        """All leases that are held now and whose names are `group/…`, such as those on a batch's shards."""
        found = self._group([keys.leases(group)], keys.lease(""))
        return [_lease(name, fields) for name, fields in found]


def _keys(name: str) -> list[str]:
    return [keys.lease(name), keys.leases(name.rpartition("/")[0])]


def _lease(name: str, fields: list[str]) -> Lease:
    held = dict(zip(fields[::2], fields[1::2], strict=True))
    counts = {field[2:]: int(count) for field, count in held.items() if field.startswith("n:")}
    return Lease(name=name, holder=held.get("holder", ""), counts=counts)
