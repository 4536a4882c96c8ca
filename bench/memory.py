"""`bench memory`: whether a worker grows with the number of scans that it has judged."""

import tempfile
from pathlib import Path

from bench.carrying import client, hand_over
from bench.report import Report, Row
from bench.scans import SIDE, copies
from bench.served import served
from bench.task import Measurement
from bench.watched import own
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Options

GOAL = 1.05  # × of that after the first batch, at most


def growth(batches: int, scans: int, options: Options) -> Report:
    """Hand over the same pictures by reference again and again; every scan is judged, nothing is taken over."""
    begun = Measurement()
    found: list[float] = []
    with tempfile.TemporaryDirectory(prefix="neurobatch-bench-") as name:
        place = Path(name)
        copies(place / "scans", scans, side=SIDE)
        roots = {"scans": place / "scans"}
        with served(place / "home", roots=roots, fields={"reuse": "false"}) as up, client(up) as http:
            for _ in range(batches):
                end = up.end(hand_over(http, up, "scans", options))
                if end.counts.succeeded != scans:
                    raise Broken(Code.INTERNAL, f"Not all of {scans} scans succeeded.")
                found.append(own(up.worker.pid))
    return begun.report(
        name="memory",
        title="Memory: a worker after many scans",
        ratio=f"of that after {scans:,}",
        sizes={"batches": batches, "scans": scans, "segment": options.segment},
        rows=tuple(_row(number * scans, memory, found[0]) for number, memory in enumerate(found, start=1)),
        notes=(
            "Memory of supervisor, decoders and network together that is their own, at the end of each batch.",
            f"Asked for is no more than {GOAL:g} of what it was after {scans:,} scans.",
        ),
        rounds=1,
    )


def _row(judged: int, memory: float, first: float) -> Row:
    row = Row.of(f"after {judged:,} scans", "MiB", [memory])
    return row.model_copy(update={"ratio": round(memory / first, 3), "at": judged})
