"""Whether the worker of this container is alive: `python -m deploy.docker.moving` ends with 0 if scans move, else 1."""

import sys
from pathlib import Path

from neurobatch.settings import load_settings
from worker.heartbeat import moves, pulses


def moving(home: Path, limit: float) -> bool:
    """Whether a worker over this data folder beats, and nothing has waited in it for more than `limit` seconds."""
    return any(moves(pulse, limit=limit) for pulse in pulses(home / "run"))


if __name__ == "__main__":
    settings = load_settings()
    sys.exit(not moving(settings.home, limit=2 * settings.scan_seconds))
