"""`bench throughput`: from HTTP upload to the last result in the store, against what one would write instead."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.agreeing import NEAR, SHARE, Said, agreeing
from bench.competing import Competitors
from bench.ratios import Rounds, alternate, times_as_fast
from bench.report import Report, Row
from bench.served import Handled, served
from bench.task import Measurement, Task, place_for

OURS = "neurobatch"


def throughput(task: Task, wanted: tuple[str, ...] = ()) -> Report:
    """Hand the same scans to neurobatch and to the peers, in turn.

    Args:
        task: which scans, judged how.
        wanted: words for peers, `bench.competing.PEERS`; none: all.

    Raises:
        Broken: something died, or a peer found something else.
    """
    begun = Measurement()
    with place_for(task) as place, ExitStack() as held:
        ours = held.enter_context(served(place.folder / "home"))
        peers = Competitors(wanted, task.options, ours, held)
        ours.judge([place.warm], task.options)
        for name in peers.names:
            peers.judge(name, place, place.warm)
        handled: list[Handled] = []
        found: dict[str, dict[str, Any]] = {name: {} for name in peers.names}

        def by_us(number: int) -> float:
            handled.append(ours.judge([place.rounds[number]], task.options))
            return task.scans / handled[-1].seconds

        def by(name: str, number: int) -> float:
            seconds, said = peers.judge(name, place, place.rounds[number])
            found[name] |= {f"{number}/{scan}": each for scan, each in said.items()}
            return task.scans / seconds

        rates = alternate({OURS: by_us, **{name: partial(by, name) for name in peers.names}}, task.rounds)
    precision = task.options.precision
    same = {
        name: agreeing(name, _said(handled), said, precision) for name, said in found.items() if peers.must_agree(name)
    }
    return begun.report(
        name=task.named("throughput"),
        title="Throughput: HTTP upload to the last result in the store, against what one would write instead",
        ratio="neurobatch is × as fast",
        sizes=task.sizes,
        rows=tuple(_row(name, values, rates[OURS]) for name, values in rates.items()),
        absent=peers.absent,
        notes=_notes(handled, same, precision),
        rounds=task.rounds,
    )


def _row(name: str, values: Rounds, ours: Rounds) -> Row:
    row = Row.of(name, "scans/s", values)
    return row.model_copy(update={"ratio": round(times_as_fast(ours, values, rate=True), 3)})


def _said(handled: Sequence[Handled]) -> dict[str, Said]:
    """What neurobatch found of each scan of each round."""
    return {
        f"{number}/{Path(result.path).name}": said
        for number, batch in enumerate(handled)
        for result in batch.results
        if (said := Said.by_us(result)) is not None
    }


def _notes(handled: Sequence[Handled], same: Mapping[str, int], precision: str) -> tuple[str, ...]:
    used = sorted({(result.engine, result.precision) for batch in handled for result in batch.results})
    uploading = fmean(each.accepted / each.seconds for each in handled)
    scans = sum(len(each.results) for each in handled)
    engines = ", ".join(f"{engine} {precision}" for engine, precision in used)
    agreed = "; ".join(f"{name}: {count}" for name, count in same.items())
    near = f"{NEAR[precision]} and {SHARE[precision]:.0%}"
    return (
        f"neurobatch ran on {engines}; uploading took {uploading:.0%} of its time.",
        "Peers read the files in place and have float32 networks; all was loaded and warm.",
        f"Of {scans} scans the same finding, probability and size of mask as neurobatch's (within {near}): {agreed}.",
    )
