"""Where the files of pinned networks are on this machine: as installed, or fetched from the store."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from models import registry
from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing
from neurobatch.records import ModelPin
from storage.ledger import Ledger

ENDING = ".weights.h5"  # by which Keras tells a weight file


class Weights:
    """Finds files by digest; safe for threads. The store keeps those of open batches through an upgrade."""

    def __init__(self, ledger: Ledger, cache: Path) -> None:
        self._ledger, self._cache = ledger, cache
        self._lock = Lock()
        self._found: dict[str, Path] = {}

    def file(self, pin: ModelPin) -> Path:
        """The weight file with the pinned digest, which was verified once by this process.

        Raises:
            Broken: `weights_damaged`, neither installation nor store has it.
            Unavailable: the store does not answer.
        """
        return self._file(pin.name, pin.sha256, lambda: _installed_weights(pin))

    def check(self, pin: ModelPin) -> Path | None:
        """The file of the pinned check of odd slices; None where the pin has none. Raises as `file` does."""
        check = pin.oddness
        if check is None:
            return None
        return self._file(pin.name, check.sha256, lambda: _installed_check(pin.name, check.sha256))

    def _file(self, name: str, sha256: str, installed: Callable[[], Path | None]) -> Path:
        with self._lock:
            if sha256 not in self._found:
                self._found[sha256] = _undamaged(installed) or self._kept(name, sha256)
            return self._found[sha256]

    def _kept(self, name: str, sha256: str) -> Path:
        place = self._cache / f"{sha256}{ENDING}"
        if not place.is_file() or _digest(place) != sha256:
            self._fetch(name, sha256, place)
        return place

    def _fetch(self, network: str, sha256: str, place: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._cache, prefix=".fetching-")
        try:
            with os.fdopen(descriptor, "wb") as draft:
                for chunk in self._ledger.read_model(sha256):
                    draft.write(chunk)
            if _digest(Path(name)) != sha256:
                raise Broken(Code.WEIGHTS_DAMAGED, f"a kept file of {network} has another digest")
            Path(name).replace(place)
        except Missing as error:
            raise Broken(Code.WEIGHTS_DAMAGED, f"a pinned file of {network} is nowhere") from error
        finally:
            Path(name).unlink(missing_ok=True)


def _installed_weights(pin: ModelPin) -> Path | None:
    shipped = registry.networks().get(pin.name)
    return registry.open_weights(pin.name) if shipped and shipped.sha256 == pin.sha256 else None


def _installed_check(name: str, sha256: str) -> Path | None:
    shipped = registry.networks().get(name)
    check = shipped.oddness if shipped else None
    return registry.open_check(name) if check and check.sha256 == sha256 else None


def _undamaged(installed: Callable[[], Path | None]) -> Path | None:
    """None also where the installation is damaged: the store may have the file."""
    try:
        return installed()
    except Broken:
        return None


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
