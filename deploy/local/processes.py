"""Child processes of a stack: started apart from the terminal's signals, stopped by us, gone when we are."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurobatch.codes import Code
from neurobatch.errors import Broken

PR_SET_PDEATHSIG = 1  # Linux, prctl(2): the signal that a child gets when its parent dies
LOG_LIMIT = 10 << 20  # bytes; a longer log is put aside as `.old` when the process starts
TAIL = 12  # lines of a log that are shown when its process died

_libc = ctypes.CDLL(None, use_errno=True)


class Process:
    """One child process with a log file."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> None:
        """Start it. Ctrl-C in the terminal does not reach it; our end does."""
        self.name = name
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".old"))
        with log.open("ab") as out:
            self._start = out.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **env},
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  one call into libc, no lock is taken
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise `Broken`, with the end of its log, where it has died."""
        if self.exit_code is not None:
            raise Broken(Code.INTERNAL, f"The {self.name} ended with {self.exit_code}. Its log ends:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines that it logged since it was started."""
        with self._log.open("rb") as log:
            log.seek(self._start)
            lines = log.read()[-20_000:].decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-TAIL:])

    def stop(self, seconds: float) -> None:
        """Ask it to end, and make it after `seconds`; its whole group goes."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None if it still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.exit_code


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
