"""What a training process does with memory that it frees."""

import subprocess
import sys

import pytest

from models.allocating import keep_freed_memory

MIB = 1 << 20
FREED = 64 * MIB  # glibc maps arrays of this size one by one, and unmaps them when they are freed

PROGRAM = f"""
import sys, psutil
from models.allocating import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
before = psutil.Process().memory_info().rss
array = bytearray(b"1") * {FREED}  # each page is written to
assert psutil.Process().memory_info().rss - before > {FREED} * 3 / 4
del array
print(psutil.Process().memory_info().rss - before)
"""


def left(how: str) -> int:
    """Bytes by which a process is larger after it had, and freed, a large array."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_memory_that_was_freed_is_there_for_the_next_step() -> None:
    assert left("given back") < FREED / 4
    assert left("kept") > FREED * 3 / 4


def test_another_system_than_linux_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
