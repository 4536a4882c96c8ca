"""Memory and CPU time of the processes that a benchmark has started, seen from outside."""

from collections.abc import Iterator
from dataclasses import dataclass

import psutil

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Memory:
    """MiB that are resident, what is shared included; of several processes the largest."""

    api: float = 0.0
    supervisor: float = 0.0
    children: float = 0.0  # of the supervisor: decoders, one of which plans, and the network that does nothing
    broker: float = 0.0

    def most(self, other: "Memory") -> "Memory":
        """The larger of each."""
        return Memory(**{name: max(value, getattr(other, name)) for name, value in vars(self).items()})


def memory(api: int, worker: int) -> Memory:
    """How much they have now, by process id; what else this process has started is the broker."""
    own = psutil.Process().children()
    return Memory(
        api=max(_resident([api, *_children(api)])),
        supervisor=max(_resident([worker])),
        children=max(_resident(_children(worker))),
        broker=max(_resident([child.pid for child in own if child.pid not in (api, worker)])),
    )


def own(pid: int) -> float:
    """MiB of a process and its children that are resident and their own: without files, libraries and shared memory."""
    used = 0.0
    for each in [pid, *_children(pid)]:
        try:
            found = psutil.Process(each).memory_info()
        except psutil.NoSuchProcess:
            continue
        used += (found.rss - found.shared) / MIB
    return used


def cpu_seconds() -> float:
    """What all processes have used that descend from this one and live."""
    used = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system
    return used


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _resident(pids: list[int]) -> Iterator[float]:
    yield 0.0
    for pid in pids:
        try:
            yield psutil.Process(pid).memory_info().rss / MIB
        except psutil.NoSuchProcess:
            continue
