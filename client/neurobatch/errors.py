"""The error tree. Each class says what the program does about it; the code says what happened.

    NeurobatchError
    ├── Refused          a user's mistake: answered with the code's status, exit 2, never tried again
    ├── Missing          what was named is not in the store (or no longer): 404
    ├── ScanFailed       this scan cannot be judged: it becomes a result of state `failed`, nothing else is lost
    ├── LeftOut          this file is in no scan: it becomes a line of the left-out list
    ├── Unavailable      a service does not answer: tried again (503, Retry-After)
    └── Broken           the installation or the program is at fault: 500, exit 1

Foreign errors (botocore, redis, pydicom, …) are translated at the edge of the room that imports the library.
"""

from neurobatch.codes import Code


class NeurobatchError(Exception):
    """Base of all errors that neurobatch raises on purpose.

    Attributes:
        code: the stable code.
        detail: what happened this time; holds no secret, no patient's data and no file's name.
    """

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code}: {detail or code.sentence}")
        self.code = code
        self.detail = detail

    @property
    def message(self) -> str:
        """The code's sentence, and the detail where there is one."""
        return f"{self.code.sentence} {self.detail}".strip()

    def __reduce__(self) -> tuple[type["NeurobatchError"], tuple[Code, str]]:
        return type(self), (self.code, self.detail)


class Refused(NeurobatchError):
    """A request or an argument that is wrong in itself; trying again will not help."""


class Missing(NeurobatchError):
    """What was named is not there: an object of the store, a batch, a scan."""


class ScanFailed(NeurobatchError):
    """One scan cannot be judged. Raised by `pipeline`; becomes that scan's result."""


class LeftOut(NeurobatchError):
    """One file belongs to no scan. Raised by `pipeline.read`; becomes a line of the left-out list."""


class Unavailable(NeurobatchError):
    """A service does not answer now. Callers may try again, bounded in attempts and time."""


class Broken(NeurobatchError):
    """The installation, its settings or the program itself is at fault."""
