"""Where the weight files of pinned networks are on this machine: as installed, or fetched from the store."""

import hashlib
import os
import tempfile
from pathlib import Path
from threading import Lock

from models import registry
from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing
from neurobatch.records import ModelPin
from storage.ledger import Ledger

ENDING = ".weights.h5"  # by which Keras tells a weight file


class Weights:
    """Finds weight files by digest; safe for threads. The store keeps those of open batches through an upgrade."""

    def __init__(self, ledger: Ledger, cache: Path) -> None:
        self._ledger, self._cache = ledger, cache
        self._lock = Lock()
        self._found: dict[str, Path] = {}

    def file(self, pin: ModelPin) -> Path:
        """The file with the pinned digest, which was verified once by this process.

        Raises:
            Broken: `weights_damaged`, neither installation nor store has it.
            Unavailable: the store does not answer.
        """
        with self._lock:
            if pin.sha256 not in self._found:
                self._found[pin.sha256] = self._installed(pin) or self._kept(pin)
            return self._found[pin.sha256]

    def _installed(self, pin: ModelPin) -> Path | None:
        """None also where the installation is damaged: the store may have the file."""
        try:
            shipped = registry.networks().get(pin.name)
            return registry.open_weights(pin.name) if shipped and shipped.sha256 == pin.sha256 else None
        except Broken:
            return None

    def _kept(self, pin: ModelPin) -> Path:
        place = self._cache / f"{pin.sha256}{ENDING}"
        if not place.is_file() or _digest(place) != pin.sha256:
            self._fetch(pin, place)
        return place

    def _fetch(self, pin: ModelPin, place: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._cache, prefix=".fetching-")
        try:
            with os.fdopen(descriptor, "wb") as draft:
                for chunk in self._ledger.read_model(pin.sha256):
                    draft.write(chunk)
            if _digest(Path(name)) != pin.sha256:
                raise Broken(Code.WEIGHTS_DAMAGED, f"the kept weight file of {pin.name} has another digest")
            Path(name).replace(place)
        except Missing as error:
            raise Broken(Code.WEIGHTS_DAMAGED, f"the pinned weight file of {pin.name} is nowhere") from error
        finally:
            Path(name).unlink(missing_ok=True)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
