"""How fast this machine was, and how much it wrote: remembered after each run, for the next forecast."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "pace.json"  # in the data folder
LEAST = 8  # slices of a run, below which it says nothing about the pace


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What one run needed."""

    slices: int
    seconds: float
    scans: int
    bytes: int  # of artifacts


def remember_pace(home: Path, pace: Pace) -> None:
    """Keep it, if the run was long enough to say something."""
    if pace.slices >= LEAST and pace.seconds > 0:
        home.mkdir(parents=True, exist_ok=True)
        (home / FILE).write_text(json.dumps(asdict(pace)))


def last_pace(home: Path) -> Pace | None:
    """The last run's, None where there was none."""
    try:
        return Pace(**json.loads((home / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
