"""Leases, on real Valkey and redis-server."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from storage.broker import connect
from storage.leases import Leases


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return connect(redis_url)


@pytest.fixture
def leases(client: "redis.Redis") -> Leases:
    return Leases(client)


def test_a_lease_has_one_holder(leases: Leases) -> None:
    assert leases.take("t/b/1", "one")
    assert not leases.take("t/b/1", "two")
    assert leases.take("t/b/1", "one")
    assert leases.holder("t/b/1") == "one"
    assert leases.take("t/b/2", "two")


def test_one_of_many_takes_it(leases: Leases) -> None:
    with ThreadPoolExecutor(16) as pool:
        for number in range(50):
            taken = list(pool.map(lambda who, n=number: leases.take(f"t/b/{n}", str(who)), range(16)))
            assert taken.count(True) == 1
            assert leases.holder(f"t/b/{number}") == str(taken.index(True))


def test_a_lease_ends_when_its_holder_is_silent(leases: Leases) -> None:
    assert leases.take("t/b/1", "one", seconds=0.2)
    time.sleep(0.3)
    assert leases.holder("t/b/1") is None
    assert leases.group("t/b") == []
    assert leases.take("t/b/1", "two")
    assert not leases.renew("t/b/1", "one")
    assert not leases.release("t/b/1", "one")
    assert leases.holder("t/b/1") == "two"


def test_a_renewed_lease_stays(leases: Leases) -> None:
    assert leases.take("t/b/1", "one", seconds=0.4)
    for _ in range(4):
        time.sleep(0.2)
        assert leases.renew("t/b/1", "one", seconds=0.4)
    assert leases.holder("t/b/1") == "one"


def test_a_released_lease_is_free(leases: Leases) -> None:
    leases.take("t/b/1", "one")
    assert leases.release("t/b/1", "one")
    assert leases.alive(["t/b/1"]) == set()
    assert leases.take("t/b/1", "two")


def test_the_living_are_told_from_the_dead(leases: Leases) -> None:
    for number in range(100):
        leases.take(f"t/b/{number}", "one", seconds=0.2 if number % 2 else 15)
    time.sleep(0.3)
    assert leases.alive(f"t/b/{number}" for number in range(150)) == {f"t/b/{n}" for n in range(0, 100, 2)}
    assert {lease.name for lease in leases.group("t/b")} == {f"t/b/{n}" for n in range(0, 100, 2)}
    assert leases.alive([]) == set()


def test_live_counts_stand_in_the_lease(leases: Leases) -> None:
    leases.take("t/b/1", "one")
    leases.take("t/b/2", "two")
    leases.take("t/bb/3", "three")
    leases.renew("t/b/1", "one", {"succeeded": 3, "slices": 40})
    leases.renew("t/b/1", "one", {"succeeded": 5})
    found = {lease.name: (lease.holder, dict(lease.counts)) for lease in leases.group("t/b")}
    assert found == {"t/b/1": ("one", {"succeeded": 5, "slices": 40}), "t/b/2": ("two", {})}


def test_wiping_redis_ends_all_leases_and_harms_nobody(leases: Leases, client: "redis.Redis") -> None:
    leases.take("t/b/1", "one")
    client.flushall()
    client.script_flush()
    assert not leases.renew("t/b/1", "one", {"succeeded": 1})
    assert leases.group("t/b") == []
    assert leases.take("t/b/1", "two")
