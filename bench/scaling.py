"""`bench scale`: throughput against the number of workers, whose network is a timed wait: a few cores carry them all.

Real worker processes, each with a decoder and a network process of its own, on one broker and one store. What is
measured is everything that they share; not how fast a machine computes.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from bench.carrying import IDLE, SIDE, carry
from bench.ratios import Rounds, alternate
from bench.report import Report, Row
from bench.scans import copies
from bench.served import served
from bench.task import Measurement
from neurobatch.records import Options

WAIT = 1.0  # seconds that the network takes for a device batch
BATCH = 32  # slices of it
OPTIONS = Options(segment="none", slices_per_shard=BATCH)  # so that all workers end at about the same time
FIELDS = {"device_batch": str(BATCH), "decoders": "1", "arena": str(64 << 20)}
GOAL = 0.95  # of linear


def scaling(counts: Sequence[int], batches: int, rounds: int, *, slices: int = BATCH, wait: float = WAIT) -> Report:
    """Give each number of workers a batch with as many scans for each worker, in turn.

    Args:
        counts: of workers, from few to many.
        batches: device batches for each worker.
        rounds: how often.
        slices: of a scan, 1 for pictures, at most those of a device batch.
        wait: seconds that the network takes for a device batch.
    """
    begun = Measurement()
    with tempfile.TemporaryDirectory(prefix="neurobatch-bench-") as name:
        place = Path(name)
        for count in counts:
            copies(place / f"warm-{count}", count * BATCH // slices, slices=slices, side=SIDE)
            copies(place / f"scans-{count}", count * batches * BATCH // slices, slices=slices, side=SIDE)
        contestants = {str(count): partial(_carried, place, count, batches, slices, wait) for count in counts}
        rates = alternate(contestants, rounds)
    return begun.report(
        name="scale" if slices > 1 else "scale-pictures",
        title=f"Scale: workers whose network waits {wait:g} s for {BATCH} slices; {_kind(slices)}",
        ratio="of linear",
        sizes={"batches": batches, "slices": slices, "rounds": rounds, "side": SIDE},
        rows=tuple(_row(count, rates[str(count)], counts[0], rates[str(counts[0])]) for count in counts),
        notes=_notes(counts[-1], rates[str(counts[-1])], wait),
        rounds=rounds,
    )


def _carried(place: Path, count: int, batches: int, slices: int, wait: float, number: int) -> float:
    """Slices a second, from the request on."""
    roots = {folder: place / f"{folder}-{count}" for folder in ("warm", "scans")}
    home, scans = place / f"home-{count}-{number}", count * batches * BATCH // slices
    with served(home, roots=roots, worker=(*IDLE, str(wait)), workers=count, fields=FIELDS) as up:
        carry(up, "warm", count * BATCH // slices, OPTIONS)
        return scans * slices / carry(up, "scans", scans, OPTIONS).ended


def _row(count: int, values: Rounds, first: int, base: Rounds) -> Row:
    linear = [value * count / first for value in base]
    name = f"{count} worker{'s' if count > 1 else ''}"
    return Row.of(name, "slices/s", values, linear).model_copy(update={"at": count})


def _notes(most: int, values: Rounds, wait: float) -> tuple[str, ...]:
    waits = most * BATCH / wait
    return (
        "Each worker is a supervisor with one decoder and one network process; broker, store and API are one.",
        f"Scans without a tumour, by reference, as many for each worker; asked for is {GOAL} of linear.",
        f"Waits alone would allow {most} workers {waits:.0f} slices/s; they reach {median(values) / waits:.0%} of it.",
    )


def _kind(slices: int) -> str:
    return f"volumes of {slices} slices" if slices > 1 else "pictures"
