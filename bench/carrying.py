"""`bench queue`: what intake, queue, store and finalisation carry when the network does nothing."""

import functools
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.report import Report, Row
from bench.scans import copies
from bench.served import Served, served
from bench.task import Measurement
from bench.watched import Memory, cpu_seconds, memory
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Options
from storage.names import BatchKey

GOAL = 500.0  # scans a second that the queue alone should carry
SIDE = 64  # px, so that decoding costs next to nothing
FIRST_GOAL = 1.0  # seconds until the first result of a batch of one picture
ASK_SECONDS = 0.05  # between two questions for the status
OPTIONS = Options(segment="none")
IDLE = ("-m", "bench.idle")  # the worker's command


@dataclass(frozen=True, kw_only=True)
class Carried:
    """One batch by reference; seconds from the request on."""

    accepted: float
    planned: float
    first: float  # result
    ended: float
    status: float  # seconds that one status in twenty took longer than, meanwhile
    cpu: float  # seconds that all processes used
    memory: Memory  # at most


def carrying(scans: int, rounds: int) -> Report:
    """Hand over a folder of small pictures by reference, several times."""
    begun = Measurement()
    with tempfile.TemporaryDirectory(prefix="neurobatch-bench-") as name:
        place = Path(name)
        sizes = {"warm": 64, "one": 1, "scans": scans}
        for folder, count in sizes.items():
            copies(place / folder, count, side=SIDE)
        roots = {folder: place / folder for folder in sizes}
        with served(place / "home", roots=roots, worker=IDLE) as up:
            carry(up, "warm", 64)
            alone = [carry(up, "one", 1).first for _ in range(rounds)]
            found = [carry(up, "scans", scans) for _ in range(rounds)]
    most = functools.reduce(Memory.most, (each.memory for each in found))
    return begun.report(
        name="queue",
        title="Queue: what intake, queue, store and finalisation carry; the network does nothing",
        ratio="of what is asked for",
        sizes={"scans": scans, "rounds": rounds, "side": SIDE},
        rows=_rows(found, alone, scans),
        notes=(
            "Small pictures without a tumour, by reference; the store is a folder. Times are from the request on.",
            f"Asked for are {GOAL:.0f} scans a second, and the result of a picture alone within {FIRST_GOAL:.0f} s.",
            told(most),
        ),
        rounds=rounds,
    )


def carry(up: Served, root: str, scans: int, options: Options = OPTIONS) -> Carried:
    """One batch, watched through the API as a client would."""
    begun, planned, first = time.monotonic(), 0.0, 0.0
    used = cpu_seconds()
    waits: list[float] = []
    most = Memory()
    with client(up) as http:
        key = hand_over(http, up, root, options)
        accepted = time.monotonic() - begun
        while up.ledger.end(key) is None:
            up.check()
            sent = time.monotonic()
            status = http.get(f"/{key.batch}").json()
            now = time.monotonic()
            waits.append(now - sent)
            planned = planned or (now - begun if status["planned"] else 0.0)
            first = first or (now - begun if status["counts"]["succeeded"] else 0.0)
            most = most.most(memory(up.api.pid, up.worker.pid))
            time.sleep(ASK_SECONDS)
    ended = time.monotonic() - begun
    end = up.ledger.end(key)
    if end is None or end.counts.succeeded != scans:
        raise Broken(Code.INTERNAL, f"Not all of {scans} scans succeeded.")
    return Carried(
        accepted=accepted,
        planned=planned or ended,
        first=first or ended,
        ended=ended,
        status=most_within(waits),
        cpu=cpu_seconds() - used,
        memory=most,
    )


def client(up: Served) -> httpx.Client:
    """A client of the API's batches."""
    return httpx.Client(base_url=f"{up.url}/v1/batches", timeout=60.0)


def hand_over(http: httpx.Client, up: Served, root: str, options: Options = OPTIONS) -> BatchKey:
    """Submit all that lies below a root. Raises `Broken` where the API does not accept it."""
    answered = http.post("", json={"sources": [{"root": root}], "options": options.model_dump(mode="json")})
    if answered.status_code != 202:
        raise Broken(Code.INTERNAL, f"The API answered {answered.status_code}.")
    return BatchKey(up.settings.tenant, answered.json()["id"])


def most_within(waits: Sequence[float]) -> float:
    """What one in twenty took longer than."""
    return sorted(waits)[min(len(waits) - 1, int(0.95 * len(waits)))]


def told(most: Memory) -> str:
    """For the notes of a report."""
    return (
        f"Memory at most: a process of the API {most.api:.0f} MiB, supervisor {most.supervisor:.0f} MiB, "
        f"one of its children {most.children:.0f} MiB, broker {most.broker:.0f} MiB."
    )


def _rows(found: Sequence[Carried], alone: Sequence[float], scans: int) -> tuple[Row, ...]:
    rates = [scans / each.ended for each in found]
    return (
        Row.of("scans from request to end", "scans/s", rates, [GOAL] * len(rates)),
        Row.of("CPU of all processes a scan", "ms", [1000 * each.cpu / scans for each in found]),
        _seconds("accepted", (each.accepted for each in found)),
        _seconds("first result", (each.first for each in found)),
        _seconds("planned", (each.planned for each in found)),
        _seconds("ended", (each.ended for each in found)),
        Row.of("status, 95 of 100 within", "ms", [1000 * each.status for each in found]),
        Row.of("one picture alone, until its result", "s", alone, [FIRST_GOAL] * len(alone)),
    )


def _seconds(name: str, values: Iterable[float]) -> Row:
    return Row.of(name, "s", list(values))
