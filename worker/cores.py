"""How many cores this process may use: affinity and the container's quota, not what the machine has."""

import math
import os
from pathlib import Path

_V2 = Path("/sys/fs/cgroup/cpu.max")  # "quota period" in µs, or "max period"
_V1 = Path("/sys/fs/cgroup/cpu")


def usable_cores() -> int:
    """At least one; a quota of part of a core counts as a whole one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, min(allowed, math.ceil(quota) if quota is not None else allowed))


def _quota() -> float | None:
    """Cores by the container's quota, None where there is none."""
    try:
        if _V2.exists():
            told, period = _V2.read_text().split()
            return None if told == "max" else int(told) / int(period)
        told = (_V1 / "cpu.cfs_quota_us").read_text()
        period = (_V1 / "cpu.cfs_period_us").read_text()
    except (OSError, ValueError):
        return None
    return None if int(told) <= 0 else int(told) / int(period)
