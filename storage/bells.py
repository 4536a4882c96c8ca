"""The record of bells: which have been rung and wait to be heard, so that none is rung twice while it waits.

A bell may wait in a long queue for hours, and may also be lost: its hearer dies between taking and hearing it. Age
does not tell the two apart, order does. Each bell draws a ticket from its queue; queues are heard in order; so a bell
with a lower ticket than one that was heard already is lost, and so is one whose queue is empty. The record then lets
it be rung again, after a grace for what overtakes by little.

All bells may ring twice: the record saves work, it guards nothing. Ringing itself is the worker's.
"""

from collections.abc import Sequence

import redis

from storage import keys
from storage.broker import script, translated
from storage.names import BatchKey

ASKED_AT_ONCE = 1_000  # bells, so that Redis stops for nobody longer than a few milliseconds
GRACE = 15  # seconds in which a bell is never held to be lost, and in which one that was heard takes its lease

_MARK = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local at = tonumber(redis.call('HGET', KEYS[1], 'at') or '-1')
if at >= 0 and now - at < tonumber(ARGV[1]) then return 0 end
local ticket = tonumber(redis.call('HGET', KEYS[1], 'ticket') or '0')
local queue = redis.call('HGET', KEYS[1], 'queue') or ARGV[3]
local heard = tonumber(redis.call('HGET', ARGV[4] .. queue, 'heard') or '0')
if ticket > heard and redis.call('LLEN', ARGV[5] .. queue) > 0 then return 0 end
local tickets = ARGV[4] .. ARGV[3]
redis.call('HSET', KEYS[1], 'at', now, 'queue', ARGV[3], 'ticket', redis.call('HINCRBY', tickets, 'given', 1))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', tickets, ARGV[2] * 2)
return 1
"""

_HEARD = """
local time = redis.call('TIME')
local ticket = tonumber(redis.call('HGET', KEYS[1], 'ticket') or '0')
if ticket > 0 then
  local tickets = ARGV[2] .. redis.call('HGET', KEYS[1], 'queue')
  local heard = tonumber(redis.call('HGET', tickets, 'heard') or '0')
  if ticket > heard then redis.call('HSET', tickets, 'heard', ticket) end
end
redis.call('HSET', KEYS[1], 'at', time[1] + time[2] / 1e6, 'ticket', 0)
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[1]))
return ticket
"""

_WAITING = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local function waits(bell)
  local at = tonumber(redis.call('HGET', bell, 'at') or '-1')
  if at >= 0 and now - at < tonumber(ARGV[1]) then return 1 end
  local ticket = tonumber(redis.call('HGET', bell, 'ticket') or '0')
  if ticket == 0 then return 0 end
  local queue = redis.call('HGET', bell, 'queue')
  local heard = tonumber(redis.call('HGET', ARGV[2] .. queue, 'heard') or '0')
  if ticket > heard and redis.call('LLEN', ARGV[3] .. queue) > 0 then return 1 end
  return 0
end
local found = {}
for at, bell in ipairs(KEYS) do found[at] = waits(bell) end
return found
"""


class Bells:
    """The record of bells waiting. All methods raise `Unavailable` where Redis does not answer."""

    def __init__(self, client: "redis.Redis", grace: float = GRACE) -> None:
        self._client = client
        self._grace = grace
        self._mark = script(client, _MARK)
        self._heard = script(client, _HEARD)
        self._waiting = script(client, _WAITING)

    def mark(self, task: str, key: BatchKey, number: int = 0, *, queue: str = "normal") -> bool:
        """Note that a bell is about to be rung. False: one waits already, so do not ring.

        `number` is the shard's or the page's. If the ringing fails afterwards, call `unmark`.
        """
        places = (keys.tickets(""), keys.queue(""))
        return bool(self._mark([keys.bell(task, key, number)], self._grace, keys.BELL_SECONDS, queue, *places))

    def unmark(self, task: str, key: BatchKey, number: int = 0) -> None:
        """Forget a bell, so that it may be rung again at once: it could not be rung, or its work was handed back."""
        with translated():
            self._client.delete(keys.bell(task, key, number))

    def heard(self, task: str, key: BatchKey, number: int = 0) -> None:
        """Note that a bell was heard. For a short grace it counts as waiting still: its hearer takes the lease."""
        self._heard([keys.bell(task, key, number)], max(1, self._grace), keys.tickets(""))

    def waiting(self, task: str, key: BatchKey, number: int = 0) -> bool:
        """Whether a bell waits to be heard, as far as the record knows."""
        return not self.silent(task, key, [number])

    def silent(self, task: str, key: BatchKey, numbers: Sequence[int]) -> list[int]:
        """Those of the numbers for which no bell waits, in their order; asks once for many."""
        places = (keys.tickets(""), keys.queue(""))
        found: list[int] = []
        for start in range(0, len(numbers), ASKED_AT_ONCE):
            asked = numbers[start : start + ASKED_AT_ONCE]
            waits = self._waiting([keys.bell(task, key, number) for number in asked], self._grace, *places)
            found += [number for number, there in zip(asked, waits, strict=True) if not there]
        return found
