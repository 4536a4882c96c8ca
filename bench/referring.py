"""`bench queue --by-reference N`: a very large batch by reference, watched until it is planned and well under way."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.carrying import IDLE, SIDE, carry, client, hand_over, most_within, told
from bench.report import Report, Row
from bench.scans import copies, pictures
from bench.served import Served, served
from bench.task import Measurement
from bench.watched import Memory, cpu_seconds, memory

ASK_SECONDS = 0.2  # between two questions for the status
FOLDER = 1_000  # files of one folder
LINKS = 50_000  # hard links to one file; ext4 has at most 65,000
WELL_UNDER_WAY = 10_000  # results, up to which the supervisor's memory is watched
EARLY = 1_000  # results, after which it should grow no more

# What is asked for.
ACCEPTED, FIRST, PLANNED = 60.0, 10.0, 600.0  # seconds until accepted, from then on, and until a million are planned
MEMORY = 500.0  # MiB of any process


@dataclass(kw_only=True)
class Seen:
    """What was seen of the batch so far; seconds from the request on."""

    accepted: float = 0.0
    first: float = 0.0  # result
    planned: float = 0.0
    cpu_planned: float = 0.0  # seconds that all processes used until then
    done_planned: int = 0  # results until then
    waits: list[float] = field(default_factory=list)  # for a status
    most: Memory = field(default_factory=Memory)
    supervisor: dict[int, float] = field(default_factory=dict)  # MiB, when so many results were there


def referring(scans: int) -> Report:
    """Hand over a tree of small pictures, hard links of a few, and watch; the batch is then thrown away."""
    begun = Measurement()
    with tempfile.TemporaryDirectory(prefix="neurobatch-bench-") as name:
        place = Path(name)
        copies(place / "warm", 64, side=SIDE)
        tree(place, scans)
        with served(place / "home", roots={"warm": place / "warm", "scans": place / "scans"}, worker=IDLE) as up:
            carry(up, "warm", 64)
            seen = watch(up, scans)
    return begun.report(
        name="queue-by-reference",
        title=f"Queue: {scans:,} scans by reference; the network does nothing",
        ratio="of what is asked for",
        sizes={"by-reference": scans, "side": SIDE},
        rows=_rows(seen, scans),
        notes=_notes(seen),
        rounds=1,
    )


def tree(place: Path, scans: int, distinct: int = 8) -> None:
    """Make folders of small pictures below `place/scans`: hard links, so that a million fit anywhere."""
    firsts: list[Path] = []
    for number in range(scans):
        if number % (distinct * LINKS) == 0:
            firsts = list(pictures(place / f"first-{number}", distinct, side=SIDE))
        folder = place / "scans" / f"{number // FOLDER:05d}"
        if number % FOLDER == 0:
            folder.mkdir(parents=True)
        first = firsts[number % distinct]
        os.link(first, folder / f"{number:07d}{first.suffix}")


def watch(up: Served, scans: int) -> Seen:
    """One batch, as a client sees it, until it is planned and well under way."""
    seen, begun, used = Seen(), time.monotonic(), cpu_seconds()
    enough = min(scans, WELL_UNDER_WAY)
    with client(up) as http:
        key = hand_over(http, up, "scans")
        seen.accepted = time.monotonic() - begun
        done = 0
        while not seen.planned or done < enough:
            up.check()
            sent = time.monotonic()
            status = http.get(f"/{key.batch}").json()
            now = time.monotonic()
            done = status["counts"]["succeeded"]
            seen.first = seen.first or (now - begun if done else 0.0)
            held = memory(up.api.pid, up.worker.pid)
            seen.most = seen.most.most(held)
            for results in (EARLY, WELL_UNDER_WAY):
                if done >= results:
                    seen.supervisor.setdefault(results, held.supervisor)
            if not seen.planned:
                seen.waits.append(now - sent)
                if status["planned"]:
                    seen.planned, seen.done_planned = now - begun, done
                    seen.cpu_planned = cpu_seconds() - used
            time.sleep(ASK_SECONDS)
    return seen


def _rows(seen: Seen, scans: int) -> tuple[Row, ...]:
    within = PLANNED * scans / 1_000_000
    most = max(vars(seen.most).values())
    rows = [
        Row.of("accepted", "s", [seen.accepted], [ACCEPTED]),
        Row.of("first result after that", "s", [seen.first - seen.accepted], [FIRST]),
        Row.of("planned and queued", "s", [seen.planned], [within]),
        Row.of("planned and queued a second", "scans/s", [scans / seen.planned], [scans / within]),
        Row.of("CPU of all processes until then", "s", [seen.cpu_planned]),
        Row.of("results until then", "scans", [float(seen.done_planned)]),
        Row.of("status until then, 95 of 100 within", "ms", [1000 * most_within(seen.waits)]),
        Row.of("status until then, longest", "ms", [1000 * max(seen.waits)]),
        Row.of("largest process", "MiB", [most], [MEMORY]),
    ]
    rows += [Row.of(f"supervisor after {n:,} results", "MiB", [mib]) for n, mib in sorted(seen.supervisor.items())]
    return tuple(rows)


def _notes(seen: Seen) -> Sequence[str]:
    asked = (
        f"Asked for: accepted within {ACCEPTED:.0f} s, a first result within {FIRST:.0f} s of that, a million planned "
        f"in {PLANNED:.0f} s, no process above {MEMORY:.0f} MiB but the networks."
    )
    return (
        "Small pictures without a tumour, hard links below a root, 1,000 in a folder; the store is a folder.",
        "Times are from the request on. The batch was watched until it was planned and 10,000 results were there.",
        asked,
        told(seen.most),
    )
