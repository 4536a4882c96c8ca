"""How the C library's allocator treats the large arrays of a training step on a processor."""

import ctypes
import sys

_M_MMAP_MAX = -4  # malloc.h of the GNU C library
_M_TRIM_THRESHOLD = -1
_NEVER = 2**31 - 1  # bytes, the largest that it takes


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for the next arrays of that size; False where the C library cannot.

    A step frees and asks for the same gigabyte again; as glibc comes, each array is given back to the system and each
    of its pages is cleared when it is asked for anew. The process stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
