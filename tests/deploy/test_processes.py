"""Child processes: stopped by us, gone when we are, and their last words are shown."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.local.processes import Process
from neurobatch.errors import Broken

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def wait_until(said: Process, word: str) -> None:
    end = time.monotonic() + 30
    while word not in said.tail():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_process_is_stopped_when_asked(tmp_path: Path) -> None:
    process = Process("sleeper", SLEEP, log=tmp_path / "a.log", env={})
    wait_until(process, "up")
    process.check()
    process.stop(10)
    assert process.exit_code == -signal.SIGTERM


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = Process("stubborn", STUBBORN, log=tmp_path / "a.log", env={})
    wait_until(process, "up")
    process.stop(0.2)
    assert process.exit_code == -signal.SIGKILL


def test_the_last_words_of_one_that_died_are_shown(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['WORD']); raise SystemExit(7)"]
    process = Process("speaker", command, log=tmp_path / "logs" / "a.log", env={"WORD": "farewell"})
    assert process.wait(30) == 7
    with pytest.raises(Broken, match=r"(?s)speaker ended with 7.*farewell"):
        process.check()


def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    process = Process("sleeper", SLEEP, log=tmp_path / "a.log", env={})
    assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    process.stop(10)


def test_it_ends_when_we_are_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom deploy.local.processes import Process\n"
        f"process = Process('child', {SLEEP!r}, log=Path({str(tmp_path / 'a.log')!r}), env={{}})\n"
        "print(process.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    end = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < end
        time.sleep(0.02)
