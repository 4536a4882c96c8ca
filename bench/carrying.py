"""`bench queue`: what intake, queue, store and finalisation carry when the network does nothing."""

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.report import Report, Row
from bench.scans import copies
from bench.served import Served, served
from bench.task import Measurement
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Options
from storage.names import BatchKey

GOAL = 500.0  # scans a second that the queue alone should carry
SIDE = 64  # px, so that decoding costs next to nothing
ROOT = "bench"
ASK_SECONDS = 0.05  # between two questions for the status
OPTIONS = Options(segment="none")


@dataclass(frozen=True, kw_only=True)
class Carried:
    """One batch by reference; seconds from the request on."""

    accepted: float
    planned: float
    first: float  # result
    ended: float
    status: float  # seconds that one status in twenty took longer than, meanwhile
    memory: tuple[float, float]  # MiB: most that the API's processes and the supervisor had


def carrying(scans: int, rounds: int) -> Report:
    """Hand over a folder of small pictures by reference, several times."""
    begun = Measurement()
    with tempfile.TemporaryDirectory(prefix="neurobatch-bench-") as name:
        place = Path(name)
        for folder, count in (("warm", 64), ("scans", scans)):
            copies(place / folder, count, side=SIDE)
        roots = {"warm": place / "warm", ROOT: place / "scans"}
        with served(place / "home", roots=roots, worker=("-m", "bench.idle")) as up:
            carry(up, "warm", 64)
            found = [carry(up, ROOT, scans) for _ in range(rounds)]
    most = [max(memory) for memory in zip(*(each.memory for each in found), strict=True)]
    return begun.report(
        name="queue",
        title="Queue: what intake, queue, store and finalisation carry; the network does nothing",
        ratio=f"of {GOAL:.0f} a second",
        sizes={"scans": scans, "rounds": rounds, "side": SIDE},
        rows=_rows(found, scans),
        notes=(
            "Small pictures without a tumour, by reference; the store is a folder. Times are from the request on.",
            f"Memory at most: API {most[0]:.0f} MiB, supervisor {most[1]:.0f} MiB.",
        ),
        rounds=rounds,
    )


def carry(up: Served, root: str, scans: int) -> Carried:
    """One batch, watched through the API as a client would."""
    begun, planned, first = time.monotonic(), 0.0, 0.0
    waits: list[float] = []
    most = [0.0, 0.0]
    with httpx.Client(base_url=f"{up.url}/v1/batches", timeout=60.0) as http:
        asked = {"sources": [{"root": root}], "options": OPTIONS.model_dump(mode="json")}
        answered = http.post("", json=asked)
        if answered.status_code != 202:
            raise Broken(Code.INTERNAL, f"The API answered {answered.status_code}.")
        accepted = time.monotonic() - begun
        key = BatchKey(up.settings.tenant, answered.json()["id"])
        while up.ledger.end(key) is None:
            up.check()
            sent = time.monotonic()
            status = http.get(f"/{key.batch}").json()
            now = time.monotonic()
            waits.append(now - sent)
            planned = planned or (now - begun if status["planned"] else 0.0)
            first = first or (now - begun if status["counts"]["succeeded"] else 0.0)
            most = [max(pair) for pair in zip(most, (_memory(up.api.pid), _memory(up.worker.pid)), strict=True)]
            time.sleep(ASK_SECONDS)
    ended = time.monotonic() - begun
    end = up.ledger.end(key)
    if end is None or end.counts.succeeded != scans:
        raise Broken(Code.INTERNAL, f"Not all of {scans} scans succeeded.")
    status_seconds = sorted(waits)[min(len(waits) - 1, int(0.95 * len(waits)))]
    return Carried(
        accepted=accepted,
        planned=planned or ended,
        first=first or ended,
        ended=ended,
        status=status_seconds,
        memory=(most[0], most[1]),
    )


def _memory(pid: int) -> float:
    """MiB of a process; of gunicorn's master with its workers."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children()] if "gunicorn" in " ".join(process.cmdline()) else [process]
        return sum(each.memory_info().rss for each in family) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def _rows(found: Sequence[Carried], scans: int) -> tuple[Row, ...]:
    rates = [scans / each.ended for each in found]
    return (
        Row.of("scans from request to end", "scans/s", rates, [GOAL] * len(rates)),
        _seconds("accepted", (each.accepted for each in found)),
        _seconds("first result", (each.first for each in found)),
        _seconds("planned", (each.planned for each in found)),
        _seconds("ended", (each.ended for each in found)),
        Row.of("status, 95 of 100 within", "ms", [1000 * each.status for each in found]),
    )


def _seconds(name: str, values: Iterable[float]) -> Row:
    return Row.of(name, "s", list(values))
