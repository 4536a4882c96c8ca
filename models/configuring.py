"""What a training run depends on, read from small TOML files."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.augment import Ranges
from models.losses import Terms
from models.splits import Split
from neurobatch.codes import Code
from neurobatch.errors import Refused

CONFIGS = Path(__file__).parent / "configs"
ABLATIONS = CONFIGS / "ablations"

Start = Path | Literal["imagenet", "shipped", "random"]  # a folder with ImageNet weights; download; our own; none


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training at one picture size."""

    side: int  # px
    epochs: int
    steps: int  # batches an epoch
    rate: float
    schedule: Literal["cosine", "constant"] = "cosine"  # falls from `rate` to nothing along a cosine, or stays
    patience: int = 6  # epochs without a better validation before the phase ends
    learns: str = "all"  # of the backbone: `all`, `none`, `top N` (its last N layers) or `from LAYER`


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that a training run depends on."""

    name: str  # file name of the configuration
    network: str
    profile: str
    seed: int
    batch: dict[str, int]  # kind of picture: how many a batch
    phases: tuple[Phase, ...]
    data: Path  # sets to train on
    out: Path  # checkpoints and log; prepared pictures go beside it
    start: Start = "random"
    backbone: str = ""  # file name of the backbone's ImageNet weights in a folder
    locates: str = ""  # layer of a classifier that also learns where the tumour lies, from outlines; none: no layer
    size: int = 224  # px, side of the prepared pictures
    sizes: dict[str, Any] = field(default_factory=dict)  # of the network, where they are not the shipped ones
    sets: tuple[str, ...] = ()  # sources that take part; none named: all
    split: Split = "given"
    parts: tuple[float, ...] = (0.75, 0.15, 0.10)  # of a split that is drawn: train, val, test
    alike: bool = True  # each patient, or group of near-duplicates, is drawn as often as any other; else each picture
    every: dict[str, int] = field(default_factory=dict)  # of a source's pictures only every so many-th is prepared
    ranges: Ranges = field(default_factory=Ranges)
    loss: Terms = field(default_factory=Terms)
    decay: float = 1e-4  # of the weights (AdamW); 0: Adam
    average: float = 0.0  # momentum of the weights' moving average, with which each epoch ends; 0: none
    minutes: float = float("inf")  # after which the run stops at the end of an epoch, to be resumed


def find_config(network: str, named: str | None) -> Path:
    """The file of a configuration: a path, a name among those that come with the program, or the network's own.

    Raises:
        Refused: `invalid_field`, there is none of this name.
    """
    return _found(CONFIGS / f"{named or network}.toml", named)


def find_ablation(network: str, named: str) -> Path:
    """The file of an ablation: a path, or a name among those that come with the program.

    Raises:
        Refused: `invalid_field`, there is none of this name.
    """
    return _found(ABLATIONS / f"{network}-{named}.toml", named)


def _found(own: Path, named: str | None) -> Path:
    if own.is_file():
        return own
    if named and Path(named).is_file():
        return Path(named)
    raise Refused(Code.INVALID_FIELD, "There is no configuration of this name.")


def read_config(file: Path, *, data: Path, out: Path, start: Start = "random", **others: Any) -> Config:
    """Read a configuration (TOML); folders are not part of it.

    Args:
        file: the configuration.
        data: a folder of sets.
        out: folder for checkpoints and log.
        start: where the first weights come from.
        others: values that go before those of the file, as they stand in TOML.

    Raises:
        Refused: `invalid_field`, a value is missing or unknown.
    """
    return make_config({**read_text(file), **others}, file.name, data=data, out=out, start=start)


def read_text(file: Path) -> dict[str, Any]:
    """The values of a TOML file. Raises `Refused(invalid_field)` where it is not well formed."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(Code.INVALID_FIELD, f"{file.name}: {error}") from None


def read_variants(file: Path) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Read an ablation: the configuration that it starts from, and by name what each variant does otherwise.

    Raises:
        Refused: `invalid_field`, a value is missing.
    """
    text = read_text(file)
    try:
        base = file.parent / text["base"]
        variants = {entry["name"]: {key: entry[key] for key in entry if key != "name"} for entry in text["variants"]}
    except (KeyError, TypeError):
        raise Refused(Code.INVALID_FIELD, f"{file.name}: base, and variants with names, are needed.") from None
    return base, variants


def make_config(text: Mapping[str, Any], name: str, *, data: Path, out: Path, start: Start) -> Config:
    """A configuration from the values of its file. Raises `Refused(invalid_field)`."""
    values = dict(text)
    try:
        for key, kind in (("ranges", Ranges), ("loss", Terms)):
            values[key] = kind(**values.get(key, {}))
        for key in ("sets", "parts"):
            if key in values:
                values[key] = tuple(values[key])
        values["phases"] = tuple(Phase(**phase) for phase in values["phases"])
        return Config(name=name, data=data, out=out, start=start, **values)
    except (KeyError, TypeError) as error:
        raise Refused(Code.INVALID_FIELD, f"{name}: {error}") from None
