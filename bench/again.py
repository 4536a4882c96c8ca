"""`bench again`: what an archive costs that is sent a second time, and how long a picture takes that comes alone."""

from bench.report import Report, Row
from bench.scans import pictures
from bench.served import served
from bench.task import Measurement, Task, place_for
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import End

FIRST, AGAIN = "the first time", "sent again"
ALONE = "one picture alone, upload to result"
ALONE_GOAL = 1.0  # seconds, on a warm system


def again(task: Task) -> Report:
    """Hand in each round's scans twice, and a picture by itself."""
    begun = Measurement()
    rates: dict[str, list[float]] = {FIRST: [], AGAIN: []}
    waits: list[float] = []
    with place_for(task) as place, served(place.folder / "home", fields={"reuse": "true"}) as ours:
        ours.judge([place.warm], task.options)
        for number, folder in enumerate(place.rounds):
            pictures(place.folder / f"alone-{number}", 1, round_number=task.rounds + 1 + number)
            waits.append(ours.judge([place.folder / f"alone-{number}"], task.options).seconds)
            for turn in (FIRST, AGAIN):
                handled = ours.judge([folder], task.options)
                rates[turn].append(task.scans / handled.seconds)
            _check(ours.end(handled.key), task.scans)
    return begun.report(
        name=task.named("again"),
        title="Again: an archive that is sent a second time",
        ratio="× the first time",
        sizes=task.sizes,
        rows=(
            *(Row.of(turn, "scans/s", values, rates[FIRST]) for turn, values in rates.items()),
            Row.of(ALONE, "s", waits),
        ),
        notes=(
            "Results are taken over where pixels, networks and options are the same; each has a report of its own.",
            f"The picture alone is on a warm system, judged by all networks; asked for is {ALONE_GOAL:.0f} s.",
        ),
        rounds=task.rounds,
    )


def _check(end: End, scans: int) -> None:
    if end.reused != scans:
        raise Broken(Code.INTERNAL, f"Of {scans} scans that were sent again {end.reused} were taken over.")
