"""The class of this machine's processor: libraries choose their kernels by it, and so the last bits of every output."""

import platform
from pathlib import Path

from models.engines.seam import Precision

# The x86-64 psABI's micro-architecture levels, each by flags that tell it from the one below.
LEVELS = (
    ("v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("v3", {"avx2", "bmi2", "fma", "movbe"}),
    ("v2", {"sse4_2", "popcnt", "ssse3"}),
)
BFLOAT16 = ("amx_bf16", "avx512_bf16")


def processor_class(precision: Precision, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Such as `x86-64-v4`; with bfloat16 also what multiplies it, such as `x86-64-v4+avx512_bf16`."""
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64"):
        return machine
    flags = _flags(cpuinfo)
    level = next((name for name, needed in LEVELS if needed <= flags), "v1")
    unit = next((flag for flag in BFLOAT16 if flag in flags), "") if precision == "bfloat16" else ""
    return f"x86-64-{level}" + (f"+{unit}" if unit else "")


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for it; elsewhere it would be slower than float32."""
    return not _flags(cpuinfo).isdisjoint(BFLOAT16)


def _flags(cpuinfo: Path) -> set[str]:
    if not cpuinfo.is_file():
        return set()
    for line in cpuinfo.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return set()
