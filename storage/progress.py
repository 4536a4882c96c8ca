"""How far batches have come, for those who ask often: counts in Redis that are whole or not there.

Writers add only where the field `ready` stands, each shard and page once (its bit says so). Only a rebuild from the
store sets `ready`; what is committed while the rebuild reads is kept aside and added at its end. So a Redis that was
wiped, even in the middle of a rebuild, never shows half: `read` says None until the store was counted again.
"""

import json
import time
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

import redis

from neurobatch.records import Counts
from storage import keys
from storage.broker import script, translated
from storage.names import BatchKey

FIELDS = tuple(Counts.model_fields)

# Adds one thing (a shard or a page) once. KEYS: hash, bits, pending, other bits. ARGV: channel, seconds, what, number,
# then field and value by turns.
_ADD = """
local function seconds() for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[2]) end end
if redis.call('HEXISTS', KEYS[3], 'token') == 1 then
  redis.call('HSET', KEYS[3], ARGV[3] .. ':' .. ARGV[4], cjson.encode({unpack(ARGV, 5)}))
end
if redis.call('HEXISTS', KEYS[1], 'ready') == 0 then return 0 end
if redis.call('SETBIT', KEYS[2], ARGV[4], 1) == 1 then return 0 end
for at = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('HINCRBY', KEYS[1], 'version', 1)
seconds()
redis.call('PUBLISH', ARGV[1], redis.call('HGET', KEYS[1], 'version'))
return 1
"""

# Sets fields that only ever go from 0 to 1. KEYS: hash, pending. ARGV: channel, field.
_FLAG = """
if redis.call('HEXISTS', KEYS[2], 'token') == 1 then redis.call('HSET', KEYS[2], 'flag:' .. ARGV[2], '1') end
if redis.call('HEXISTS', KEYS[1], 'ready') == 0 then return 0 end
if redis.call('HGET', KEYS[1], ARGV[2]) == '1' then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], 1)
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('PUBLISH', ARGV[1], redis.call('HGET', KEYS[1], 'version'))
return 1
"""

_BEGIN = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

# Replaces everything by what the store said, adds what was kept aside, and sets `ready`.
# KEYS: hash, shards, pages, pending. ARGV: channel, seconds, token, then JSON: fields, shards, pages.
_READY = """
if redis.call('HGET', KEYS[4], 'token') ~= ARGV[3] then return 0 end
local pending = redis.call('HGETALL', KEYS[4])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'ready', ARGV[3], 'version', 1)
for field, value in pairs(cjson.decode(ARGV[4])) do redis.call('HSET', KEYS[1], field, value) end
for _, number in ipairs(cjson.decode(ARGV[5])) do redis.call('SETBIT', KEYS[2], number, 1) end
for _, number in ipairs(cjson.decode(ARGV[6])) do redis.call('SETBIT', KEYS[3], number, 1) end
for at = 1, #pending, 2 do
  local what, number = string.match(pending[at], '^(%a+):(.+)$')
  if what == 'flag' then
    redis.call('HSET', KEYS[1], number, 1)
  elseif what then
    if redis.call('SETBIT', what == 'shard' and KEYS[2] or KEYS[3], number, 1) == 0 then
      local added = cjson.decode(pending[at + 1])
      for i = 1, #added, 2 do redis.call('HINCRBY', KEYS[1], added[i], added[i + 1]) end
    end
  end
end
for at = 1, 3 do redis.call('EXPIRE', KEYS[at], ARGV[2]) end
redis.call('PUBLISH', ARGV[1], '1')
return 1
"""

# KEYS: hash, shards, leases of the batch. ARGV: what lease keys and names begin with.
_READ = """
local fields = redis.call('HGETALL', KEYS[1])
if redis.call('HEXISTS', KEYS[1], 'ready') == 0 then return false end
local now = redis.call('TIME')
local live = {}
local standing = redis.call('ZRANGEBYSCORE', KEYS[3], now[1] * 1000 + math.floor(now[2] / 1000), '+inf')
for _, name in ipairs(standing) do
  local shard = tonumber(string.sub(name, #ARGV[2] + 1))
  if shard and redis.call('GETBIT', KEYS[2], shard) == 0 then
    live[#live + 1] = redis.call('HGETALL', ARGV[1] .. name)
  end
end
return {fields, redis.call('BITCOUNT', KEYS[2]), live}
"""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What Redis knows of a batch that runs; whole, at one moment."""

    planned: bool  # all pages stand
    begun: bool  # a planner was here
    scans: int  # planned so far
    left_out: int
    counts: Counts  # of the shards that are committed
    shards: int  # committed and counted; where the store has more, a rebuild is due
    live: Counts  # so far, in the shards that are worked on; a shard that dies takes its share back
    etag: str  # differs whenever anything above but `live` does


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What a rebuild has counted in the store."""

    planned: bool
    begun: bool
    pages: Mapping[int, tuple[int, int]]  # of each page: scans, left-out files
    counts: Counts
    shards: Iterable[int]  # those in `counts`


class Progress:
    """Counts of batches in Redis. All methods raise `Unavailable` where it does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._add = script(client, _ADD)
        self._flag = script(client, _FLAG)
        self._begin = script(client, _BEGIN)
        self._ready = script(client, _READY)
        self._read = script(client, _READ)

    def add(self, key: BatchKey, shard: int, counts: Counts) -> bool:
        """Count a shard that was just committed. False: it was counted before, or nothing is ready to be added to.

        Call it after the commit, with the counts of the lines that stand.
        """
        fields = {field: getattr(counts, field) for field in FIELDS}
        return self._count(key, "shard", shard, fields)

    def add_page(self, key: BatchKey, page: int, scans: int, left_out: int) -> bool:
        """Count a page of the plan that was just put. False as for `add`."""
        return self._count(key, "page", page, {"scans": scans, "left_out": left_out, "begun": 1})

    def begin_plan(self, key: BatchKey) -> None:
        """Note that a planner was here."""
        self._flag([keys.progress(key), keys.progress_pending(key)], keys.news(key), "begun")

    def end_plan(self, key: BatchKey) -> None:
        """Note that all pages stand."""
        self._flag([keys.progress(key), keys.progress_pending(key)], keys.news(key), "planned")

    def begin_rebuild(self, key: BatchKey) -> str:
        """Announce a rebuild *before* the store is read; returns the token that `rebuild` needs.

        What is committed from now on is kept aside until then. A second rebuild takes the place of the first.
        """
        token = uuid.uuid4().hex
        self._begin([keys.progress_pending(key)], token, keys.PROGRESS_SECONDS)
        return token

    def rebuild(self, key: BatchKey, token: str, whole: Whole) -> bool:
        """Set everything and `ready`, as one step. False: Redis was wiped or another rebuild began; do it again."""
        fields = {field: getattr(whole.counts, field) for field in FIELDS}
        fields |= {
            "planned": int(whole.planned),
            "begun": int(whole.begun) + len(whole.pages),
            "scans": sum(scans for scans, _ in whole.pages.values()),
            "left_out": sum(left for _, left in whole.pages.values()),
        }
        said = (json.dumps(each) for each in (fields, sorted(whole.shards), sorted(whole.pages)))
        return bool(self._ready(_all(key), keys.news(key), keys.PROGRESS_SECONDS, token, *said))

    def read(self, key: BatchKey) -> Snapshot | None:
        """Where the batch stands; None where the counts are not whole: ask the store."""
        group = keys.batch_group(key)
        asked = [keys.progress(key), keys.progress_shards(key), keys.leases(group)]
        found = self._read(asked, keys.lease(""), f"{group}/")
        if found is None:
            return None
        fields, shards, live = _pairs(found[0]), int(found[1]), [_pairs(each) for each in found[2]]
        return Snapshot(
            planned=fields.get("planned", "0") != "0",
            begun=fields.get("begun", "0") != "0",
            scans=int(fields.get("scans", 0)),
            left_out=int(fields.get("left_out", 0)),
            counts=Counts(**{field: int(fields.get(field, 0)) for field in FIELDS}),
            shards=shards,
            live=Counts(**{field: sum(int(each.get(f"n:{field}", 0)) for each in live) for field in FIELDS}),
            etag=f"{fields['ready'][:12]}-{fields['version']}",
        )

    def finish(self, key: BatchKey) -> None:
        """The batch ended: its keys go after a while. Whoever watches is told."""
        with translated(), self._client.pipeline(transaction=False) as together:
            for name in _all(key):
                together.expire(name, keys.FINISHED_SECONDS)
            together.publish(keys.news(key), "end")
            together.execute()

    def forget(self, key: BatchKey) -> None:
        """Remove everything of a batch: it was deleted, or is to be rebuilt since cancelling cut off counted pages."""
        with translated():
            self._client.delete(*_all(key))
            self._client.publish(keys.news(key), "gone")

    def tell(self, key: BatchKey) -> None:
        """Wake those who watch a batch, for a change that is not counted here (live counts, a wish to cancel)."""
        with translated():
            self._client.publish(keys.news(key), "live")

    def watch(self, key: BatchKey, seconds: float) -> Generator[bool, None, None]:
        """Wait for changes: yields True after one (or several that came together), False after `seconds` without.

        Begins with True, so that nothing between asking and watching is missed. Close it when done.
        """
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]  # redis-py's own
        with closing(pubsub) as heard:
            with translated():
                heard.subscribe(keys.news(key))
                heard.get_message(timeout=1.0)
            yield True
            while True:
                with translated():
                    yield _changed(heard, seconds)

    def _count(self, key: BatchKey, what: str, number: int, fields: Mapping[str, int]) -> bool:
        bits = keys.progress_shards(key) if what == "shard" else keys.progress_pages(key)
        asked = [keys.progress(key), bits, keys.progress_pending(key)]
        said = [part for field, count in fields.items() if count for part in (field, count)]
        return bool(self._add(asked, keys.news(key), keys.PROGRESS_SECONDS, what, number, *said))


def _changed(heard: "redis.client.PubSub", seconds: float) -> bool:
    """Whether a message came within `seconds`; takes all that wait."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if heard.get_message(timeout=left) is not None:
            while heard.get_message(timeout=0.0) is not None:
                continue
            return True
    return False


def _all(key: BatchKey) -> list[str]:
    return [
        keys.progress(key),
        keys.progress_shards(key),
        keys.progress_pages(key),
        keys.progress_pending(key),
    ]


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
