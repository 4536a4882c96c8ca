"""Real servers as ordinary processes: free ports of loopback, one folder each, gone when the test is."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class DidNotStart(Exception):
    """A server ended, or was not ready in time. The message has the end of its log."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    with socket.socket() as each:
        each.settimeout(1)
        return each.connect_ex(("127.0.0.1", port)) == 0


def find(program: str) -> str | None:
    """The program's path, beside this interpreter (from a wheel) or on PATH; None where it is missing."""
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program)


def wait_for(ready: Callable[[], bool], seconds: float, process: "subprocess.Popen[bytes] | None" = None) -> bool:
    """Ask `ready` until it says so, the time is over or the process has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.05)
    return False


def stop(process: "subprocess.Popen[bytes]", seconds: float = 10) -> None:
    """End the process and its group: asked first, killed after `seconds`."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait(10)


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    ready: Callable[[], bool],
    *,
    seconds: float = 60,
    patience: float = 10,
    env: Mapping[str, str] | None = None,
) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a command in `folder`, wait until it is ready, and end it with its children afterwards.

    It gets a process group of its own, dies when this process does, and logs into `<program>.log` there.
    `seconds` is the time for becoming ready, `patience` that for ending when asked, before it is killed.
    """
    log = folder / f"{Path(command[0]).name}.log"
    wrapped = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            wrapped,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    try:
        if not wait_for(ready, seconds, process):
            tail = log.read_bytes()[-4000:].decode(errors="replace")
            raise DidNotStart(f"{Path(command[0]).name} (status {process.poll()}) was not ready:\n{tail}")
        yield process
    finally:
        stop(process, patience)


@contextmanager
def folder_for(name: str) -> Iterator[Path]:
    """A temporary folder for a server; kept, and its place told, when the server's user fails."""
    folder = Path(tempfile.mkdtemp(prefix=f"neurobatch-{name}-"))
    try:
        yield folder
    except BaseException as fault:
        fault.add_note(f"logs of {name}: {folder}")
        raise
    else:
        shutil.rmtree(folder, ignore_errors=True)
