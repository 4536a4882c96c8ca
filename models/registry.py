"""The shipped networks: names, files, digests, and what turns their outputs into a verdict.

Read from `weights/registry.json`, which `python -m models.publish` writes, and from `series.json`, which holds the
rules by which a classifier's slices make the verdict on a series. Imports no TensorFlow, OpenCV or pydicom.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import ModelPin, SeriesRule

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "weights"
CARDS = FOLDER / "cards"
TABLE = WEIGHTS / "registry.json"
SERIES = FOLDER / "series.json"  # `python -m models.series` writes it


@dataclass(frozen=True, kw_only=True)
class Check:
    """What tells how unlike its training pictures a network finds a slice; see `models.oddness`."""

    file: str  # in `weights/`
    sha256: str  # of the file
    bytes: int  # length of the file
    threshold: float  # distance from which a slice is odd


@dataclass(frozen=True, kw_only=True)
class Network:
    """One shipped network."""

    name: str
    kind: Literal["classifier", "segmenter"]
    file: str  # in `weights/`
    sha256: str  # of the file
    bytes: int  # length of the file
    profile: str  # how its slices are prepared
    size: int  # px, side of its square
    temperature: float  # a logit is divided by it before it becomes a probability
    threshold: float  # calibrated probability from which a slice is positive; of a pixel for a segmenter
    review_low: float  # calibrated probabilities from here …
    review_high: float  # … to here need review
    channels: tuple[str, ...]  # what each mask channel means; empty for classifiers
    licence: str  # of the weights
    oddness: Check | None = None  # None: every picture passes

    @property
    def card(self) -> Path:
        """What is known of the network: data, figures, limits."""
        return CARDS / f"{self.name}.md"

    def probability(self, logit: float) -> float:
        """A classifier's calibrated probability of tumour."""
        return 0.5 * (1.0 + math.tanh(logit / self.temperature / 2))

    def pin(self, profile: str | None = None) -> ModelPin:
        """The network as a batch is pinned to it; with a `profile` that the batch forces, or its own."""
        return ModelPin.model_validate(
            {
                "name": self.name,
                "kind": self.kind,
                "sha256": self.sha256,
                "profile": profile or self.profile,
                "size": self.size,
                "temperature": self.temperature,
                "threshold": self.threshold,
                "review_low": self.review_low,
                "review_high": self.review_high,
                "channels": self.channels,
                "forced": profile is not None and profile != self.profile,
                "series": series_rules().get(self.name),
                "oddness": self._pinned_check(profile),
            }
        )

    def _pinned_check(self, profile: str | None) -> dict[str, Any] | None:
        """The check knows pictures that were prepared as the network's own; of others it says nothing."""
        if self.oddness is None or profile not in (None, self.profile):
            return None
        return {"sha256": self.oddness.sha256, "threshold": self.oddness.threshold}


@cache
def networks() -> dict[str, Network]:
    """All shipped networks by name.

    Raises:
        Broken: `weights_damaged`, the table is missing or not well formed.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))["networks"]
        return {row["name"]: _network(row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Broken(Code.WEIGHTS_DAMAGED, "the table of networks is missing or damaged") from error


@cache
def series_rules(file: Path = SERIES) -> dict[str, SeriesRule]:
    """The fitted rules for series by classifier.

    Raises:
        Broken: `weights_damaged`, the file is missing or not well formed.
    """
    try:
        rules: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["rules"]
        return {name: SeriesRule.model_validate(rule) for name, rule in rules.items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Broken(Code.WEIGHTS_DAMAGED, "the rules for series are missing or damaged") from error


def open_weights(name: str, folder: Path = WEIGHTS) -> Path:
    """The weight file of a shipped network, after its digest was checked.

    Raises:
        Broken: `weights_damaged`, the file is missing or differs from the table.
        KeyError: there is no such network.
    """
    network = networks()[name]
    return _verified(folder / network.file, network.sha256, f"the weight file of {name}")


def open_check(name: str, folder: Path = WEIGHTS) -> Path | None:
    """The file of a shipped network's check, after its digest was checked; None where the network has no check.

    Raises:
        Broken: `weights_damaged`, the file is missing or differs from the table.
        KeyError: there is no such network.
    """
    check = networks()[name].oddness
    return None if check is None else _verified(folder / check.file, check.sha256, f"the oddness file of {name}")


def _network(row: Mapping[str, Any]) -> Network:
    check = row.get("oddness")
    return Network(**{**row, "channels": tuple(row["channels"]), "oddness": Check(**check) if check else None})


def _verified(file: Path, sha256: str, what: str) -> Path:
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise Broken(Code.WEIGHTS_DAMAGED, f"{what} is missing or not the one that was published")
    return file
