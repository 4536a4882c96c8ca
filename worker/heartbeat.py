"""The sign of life: a small file that says whether scans move. A process that only answers pings is not
alive.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

BEAT_SECONDS = 2.0  # between two writes
SILENT_SECONDS = 30.0  # after which a supervisor that wrote nothing is stuck


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """How a worker does, at one moment."""

    pid: int
    at: float  # Unix time of this beat
    under_way: int  # scans and calls that wait or are worked on
    stuck: float  # seconds since the last of them ended, the first came or a network was loaded; 0 without any
    done: int  # scans and calls ended so far
    slices: int  # judged so far, once for each network
    batches: int  # of the device, so far


class Heartbeat:
    """Writes `worker-{pid}.json` into a folder, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / f"worker-{os.getpid()}.json"

    def beat(self, pulse: Pulse) -> None:
        """Write it; a folder that cannot be written makes the worker look dead, and is no reason to die."""
        draft = self._file.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(asdict(pulse)), encoding="ascii")
            draft.replace(self._file)
        except OSError:
            return

    def stop(self) -> None:
        """The worker ended by itself."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError:
            return


def pulses(folder: Path) -> list[Pulse]:
    """The last beats of all workers that wrote into a folder; what is no beat is left out."""
    found = []
    for file in sorted(folder.glob("worker-*.json")):
        try:
            found.append(Pulse(**json.loads(file.read_text(encoding="ascii"))))
        except (OSError, ValueError, TypeError):
            continue
    return found


def moves(pulse: Pulse, *, limit: float, now: float | None = None) -> bool:
    """Whether scans move in that worker: it beats, and nothing waited for more than `limit` seconds."""
    silent = (time.time() if now is None else now) - pulse.at
    return silent <= SILENT_SECONDS and pulse.stuck <= limit
