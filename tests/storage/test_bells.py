"""The record of bells, on real Valkey and redis-server. The queue is the list that Celery would use."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from storage.bells import Bells
from storage.broker import connect
from storage.names import BatchKey

KEY = BatchKey("lab", "0190a0a0-0000-7000-8000-000000000001")


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return connect(redis_url)


@pytest.fixture
def bells(client: "redis.Redis") -> Bells:
    """A record whose grace has always passed."""
    return Bells(client, grace=0)


class Queue:
    """What Celery does: push left, pop right."""

    def __init__(self, client: "redis.Redis", name: str = "normal") -> None:
        self.client = client
        self.name = name

    def ring(self, bells: Bells, number: int) -> bool:
        rung = bells.mark("shard", KEY, number, queue=self.name)
        if rung:
            self.client.lpush(self.name, str(number))
        return rung

    def take(self) -> int:
        return int(str(self.client.rpop(self.name)))


def test_many_bells_are_asked_for_at_once(client: "redis.Redis") -> None:
    bells, queue = Bells(client, grace=0), Queue(client)
    for number in range(0, 2500, 2):
        assert queue.ring(bells, number)
    assert bells.silent("shard", KEY, range(2500)) == list(range(1, 2500, 2))
    bells.heard("shard", KEY, queue.take())
    assert bells.silent("shard", KEY, [2, 0, 1]) == [0, 1]
    assert bells.silent("shard", KEY, []) == []


def test_a_waiting_bell_is_not_rung_again(bells: Bells, client: "redis.Redis") -> None:
    queue = Queue(client)
    assert queue.ring(bells, 1)
    assert [queue.ring(bells, 1) for _ in range(5)] == [False] * 5
    assert bells.waiting("shard", KEY, 1)
    assert client.llen("normal") == 1


def test_one_of_many_rings(bells: Bells, client: "redis.Redis") -> None:
    client.lpush("normal", "something")
    with ThreadPoolExecutor(16) as pool:
        rung = list(pool.map(lambda _: bells.mark("shard", KEY, 1), range(200)))
    assert rung.count(True) == 1


def test_bells_of_other_tasks_shards_and_batches_are_others(bells: Bells, client: "redis.Redis") -> None:
    client.lpush("normal", "something")
    assert bells.mark("shard", KEY, 1)
    assert bells.mark("shard", KEY, 2)
    assert bells.mark("plan", KEY, 1)
    assert bells.mark("shard", BatchKey("other", KEY.batch), 1)
    assert not bells.mark("shard", KEY, 1)


def test_a_heard_bell_may_ring_again(bells: Bells, client: "redis.Redis") -> None:
    queue = Queue(client)
    queue.ring(bells, 1)
    bells.heard("shard", KEY, queue.take())
    assert not bells.waiting("shard", KEY, 1)
    assert queue.ring(bells, 1)


def test_who_hears_a_bell_has_time_to_take_the_lease(client: "redis.Redis") -> None:
    bells = Bells(client, grace=3)
    queue = Queue(client)
    queue.ring(bells, 1)
    bells.heard("shard", KEY, queue.take())
    assert bells.waiting("shard", KEY, 1)
    assert not queue.ring(bells, 1)
    time.sleep(3.1)
    assert queue.ring(bells, 1)


def test_a_bell_that_was_taken_and_never_heard_is_rung_again(bells: Bells, client: "redis.Redis") -> None:
    queue = Queue(client)
    for number in (1, 2, 3):
        queue.ring(bells, number)
    assert queue.take() == 1  # and its taker dies
    assert not queue.ring(bells, 1)  # nobody can know yet
    bells.heard("shard", KEY, queue.take())  # 2 is heard: 1 must have been lost
    assert bells.waiting("shard", KEY, 3)
    assert not queue.ring(bells, 3)
    assert not bells.waiting("shard", KEY, 1)
    assert queue.ring(bells, 1)


def test_the_last_bell_of_a_queue_is_found_lost_too(bells: Bells, client: "redis.Redis") -> None:
    queue = Queue(client)
    queue.ring(bells, 1)
    queue.take()
    assert not bells.waiting("shard", KEY, 1)
    assert queue.ring(bells, 1)


def test_within_the_grace_no_bell_is_held_lost(client: "redis.Redis") -> None:
    bells = Bells(client, grace=60)
    queue = Queue(client)
    queue.ring(bells, 1)
    queue.take()
    assert bells.waiting("shard", KEY, 1)
    assert not queue.ring(bells, 1)


def test_queues_do_not_overtake_each_other(bells: Bells, client: "redis.Redis") -> None:
    bulk, urgent = Queue(client, "bulk"), Queue(client, "urgent")
    bulk.ring(bells, 1)
    for number in range(10, 20):
        urgent.ring(bells, number)
        bells.heard("shard", KEY, urgent.take())
    assert bells.waiting("shard", KEY, 1)
    assert not bulk.ring(bells, 1)


def test_a_bell_that_could_not_be_rung_is_forgotten(bells: Bells, client: "redis.Redis") -> None:
    client.lpush("normal", "something")
    assert bells.mark("shard", KEY, 1)
    bells.unmark("shard", KEY, 1)
    assert not bells.waiting("shard", KEY, 1)
    assert bells.mark("shard", KEY, 1)


def test_wiping_redis_lets_every_bell_ring_again(bells: Bells, client: "redis.Redis") -> None:
    queue = Queue(client)
    for number in range(10):
        queue.ring(bells, number)
    client.flushall()
    assert [queue.ring(bells, number) for number in range(10)] == [True] * 10
    assert [queue.ring(bells, number) for number in range(10)] == [False] * 10
    bells.heard("shard", KEY, queue.take())
    assert not bells.waiting("shard", KEY, 0)
