"""Where machine code of kernels is kept, so that it is made once and not in the middle of a run."""

import hashlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

NUMBA = "NUMBA_CACHE_DIR"  # numba's own setting, read when it is imported
CPUINFO = Path("/proc/cpuinfo")


def keep_in(folder: Path) -> None:
    """Keep it below this folder, in this process and in those that it starts, unless the environment names another.

    To be called before the first plane is denoised. Without it, numba takes the package's folder or, where that is
    read-only, the user's cache folder.
    """
    os.environ.setdefault(NUMBA, str(folder.absolute() / "kernels"))


def mark_of(source: Path) -> Path | None:
    """The file whose presence says that a kernel was compiled from this source, by this numba for this processor.

    None where nobody said where to keep it.
    """
    folder = os.environ.get(NUMBA)
    if not folder:
        return None
    parts = [source.read_bytes(), sys.version.encode(), _numba().encode(), _processor().encode()]
    return Path(folder) / f"{hashlib.sha256(b' '.join(parts)).hexdigest()[:32]}.compiled"


def _numba() -> str:
    try:
        return metadata.version("numba")
    except metadata.PackageNotFoundError:
        return "none"


def _processor() -> str:
    """Model and instruction sets of the first processor."""
    try:
        lines = CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    told = dict(line.partition(":")[::2] for line in reversed(lines))
    return "".join(text for name, text in told.items() if name.strip() in {"model name", "flags", "Features"})
