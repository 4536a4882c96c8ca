"""Where machine code of kernels is kept, so that it is made once and not in the middle of a run."""

import os
from pathlib import Path

NUMBA = "NUMBA_CACHE_DIR"  # numba's own setting, read when it is imported


def keep_in(folder: Path) -> None:
    """Keep it below this folder, in this process and in those that it starts, unless the environment names another.

    To be called before the first plane is denoised. Without it, numba takes the package's folder or, where that is
    read-only, the user's cache folder.
    """
    os.environ.setdefault(NUMBA, str(folder.absolute() / "kernels"))
