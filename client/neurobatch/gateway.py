"""The seam of the command line: batches on a server (`client.Client`), or in this machine's own store.

The server distribution adds the second by the entry point `local` of the group `neurobatch.gateways`, so that
what `neurobatch process` left can be looked at without a server.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Artifact, Label, LeftOutLine, Options, Result, ScanState, Status

URL = "NEUROBATCH_URL"
TOKEN = "NEUROBATCH_TOKEN"


class Gateway(Protocol):
    """What a person can ask of batches. Each method raises `Refused`, `Unavailable` or `Broken`."""

    def submit(self, paths: Sequence[Path], options: Options, *, label: str, key: str | None) -> Status:
        """Hand over files, folders and archives. `key`: an Idempotency-Key."""
        ...

    def batches(self) -> Iterator[Status]:
        """All batches, newest first."""
        ...

    def status(self, batch: str) -> Status:
        """Where a batch stands."""
        ...

    def results(self, batch: str, *, state: ScanState | None = None, finding: Label | None = None) -> Iterator[Result]:
        """Results in plan order; of a batch that runs, those that are there."""
        ...

    def left_out(self, batch: str) -> Iterator[LeftOutLine]:
        """Files that are in no scan."""
        ...

    def artifact(self, batch: str, result: Result, artifact: Artifact) -> Iterator[bytes]:
        """The bytes of one file of a result, as a stream."""
        ...

    def cancel(self, batch: str) -> Status:
        """Cancel; scans that are done keep their results."""
        ...

    def delete(self, batch: str) -> None:
        """Delete a batch and all under it."""
        ...


def open_gateway(url: str | None = None, token: str | None = None) -> Gateway:
    """The server at `url` or `NEUROBATCH_URL`, else this machine's own store.

    Raises:
        Broken: no server is named, and the server distribution is not installed here.
    """
    url = url or os.environ.get(URL)
    if url:
        from neurobatch.client import Client

        return Client(url, token or os.environ.get(TOKEN))
    for entry in entry_points(group="neurobatch.gateways", name="local"):
        return cast(Callable[[], Gateway], entry.load())()
    raise Broken(Code.BAD_SETTING, f"Name a server with --url or {URL}.")
