"""Programs that are measured from outside: each stays up between rounds and answers one JSON line with another.

What is loaded and warm stays so, and costs nothing while another is measured.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Self

from neurobatch.codes import Code
from neurobatch.errors import Broken

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}  # for programs with Keras in them
TAIL = 8  # lines of what it said on standard error that are shown when it died
STOP_SECONDS = 10.0


class Program:
    """A module of this repository (or any command) as such a program. A context manager."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._command, self._env = list(command), {**os.environ, **(env or {})}

    @classmethod
    def module(cls, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> "Program":
        """`python -m name arguments`, in this interpreter's environment."""
        return cls([sys.executable, "-m", name, *arguments], env)

    def __enter__(self) -> Self:
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def ask(self, **question: Any) -> Any:
        """Its answer. Raises `Broken` where it has died."""
        self.tell(**question)
        return self.hear()

    def tell(self, **question: Any) -> None:
        """Ask, and do not wait."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._dead() from None

    def hear(self) -> Any:
        """The answer to what was told. Raises `Broken` where it has died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._dead()
        return json.loads(line)

    def _dead(self) -> Broken:
        self._errors.seek(0)
        last = "\n".join(self._errors.read().decode("utf-8", "replace").splitlines()[-TAIL:])
        return Broken(Code.INTERNAL, f"{' '.join(self._command[-3:])} has died. It last said:\n{last}")


def answer(make: Callable[[], Callable[..., Any]]) -> None:
    """Be such a program: make what answers, once, then answer until standard input ends.

    What libraries print goes to standard error.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answering = make()
    for line in sys.stdin:
        out.write(json.dumps(answering(**json.loads(line))) + "\n")
        out.flush()
