"""What a measurement is asked to do, and how its report begins."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import this_machine
from bench.report import Report
from bench.scans import pictures
from models.engines.choice import precision_of
from neurobatch.records import Arithmetic, Options
from neurobatch.settings import load_settings

WARM = 8  # scans that everyone judges before the first round


def usual_precision() -> Arithmetic:
    """The precision that a batch gets on this machine if nobody asks for one."""
    settings = load_settings()
    return precision_of(Options().precision, settings.precision, settings.engine)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Which scans, judged how, how often."""

    options: Options
    scans: int  # of one round
    rounds: int

    @property
    def sizes(self) -> dict[str, str | int | float]:
        """As the report tells it."""
        options = self.options
        named = {"classifier": options.classifier, "segment": options.segment, "precision": options.precision}
        return {"scans": self.scans, "rounds": self.rounds, **named}

    def named(self, command: str) -> str:
        """The report's name: other options than the defaults stand in it."""
        options, usual = self.options, Options()
        parts = [command]
        if options.classifier != usual.classifier or options.segment != usual.segment:
            parts.append(f"{options.classifier}-{options.segment}")
        if options.precision != usual_precision():
            parts.append(options.precision)
        return "-".join(parts)


class Measurement:
    """Begins with a look at the machine and ends with a report."""

    def __init__(self) -> None:
        self._machine, self._begun = this_machine(), time.monotonic()

    def report(self, **fields: Any) -> Report:
        """What was found: the fields of `Report` but for time and machine."""
        return Report(
            **fields,
            seconds=round(time.monotonic() - self._begun, 1),
            measured=datetime.now(UTC).date(),
            machine=self._machine,
        )


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that is thrown away, with the scans of each round in it."""

    folder: Path
    rounds: tuple[Path, ...]  # folders of scans
    warm: Path  # a folder of scans that no round has


@contextmanager
def place_for(task: Task) -> Iterator[Place]:
    """Make the scans of all rounds. The folder lies where Python puts temporary files (`TMPDIR`)."""
    with tempfile.TemporaryDirectory(prefix="neurobatch-bench-") as name:
        folder = Path(name)
        rounds = tuple(folder / f"round-{number}" for number in range(task.rounds))
        for number, round_folder in enumerate(rounds):
            pictures(round_folder, task.scans, round_number=number)
        pictures(folder / "warm", WARM, round_number=task.rounds)
        yield Place(folder=folder, rounds=rounds, warm=folder / "warm")


def files_of(folder: Path) -> list[Path]:
    """A round's scans, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_file())
