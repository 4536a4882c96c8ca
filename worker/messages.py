"""What passes between the supervisor and its children: small frozen records; pixels go through the arena.

The supervisor numbers tasks. To a decoder it says `Start` or `Run`, `Clear`, `Grant`, `Answer`, `Drop`; the decoder
says `Ready` once, `At` whenever its work changes, `Claimed`, `Want`, `Filled`, `Taken`, and one of `Done`, `Failed`,
`Dropped` as the last word on a task. To a network it says `Warm` and `Judge`, and hears `Ready`, `Loading`,
`Loaded`, `Judged`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.choice import prepares
from neurobatch.errors import NeurobatchError
from neurobatch.records import ModelPin
from worker.arena import ArenaPlan

Numbers = tuple[float, ...]
"""What a classifier said of a slice: a logit, and how odd the slice is where the network has a check for that."""

Output = tuple[Numbers, ...] | None
"""What a network said of the slices of a part, or None where masks lie in their slots."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """How a decoder works."""

    arena: ArenaPlan
    part: int  # slices of a feed that go through the arena together
    flow: str  # "module:function" that makes a scan's flow from (context, job)
    context: str  # "module:function" that makes from `settings`, once, what all flows of a process share
    settings: Any


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """How a network process works."""

    arena: ArenaPlan
    batch: int  # slices, fixed
    streams: int  # batches that run at once
    load: str  # "module:function" that makes from `settings` a `worker.network.Loader`
    settings: Any


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What ran a network: it stands in every result line."""

    engine: str
    precision: str
    processor: str  # class of processor, within which outputs are the same bytes


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network as a worker runs it: loaded once, and shared by all batches that agree in all of it."""

    name: str
    sha256: str
    size: int  # px, side of its square input
    segments: bool  # gives masks, not a logit
    weights: Path  # the file, its digest verified
    check: Path | None = None  # file of its check of odd slices, its digest verified; None: it has none
    engine: str
    precision: str
    prepares: str | None = None  # profile that is left to the network process; None: slices come prepared

    def __hash__(self) -> int:
        """Of what tells almost all apart: it is looked up for every slice, and paths are slow to hash."""
        return hash((self.name, self.sha256, self.engine, self.precision))

    @property
    def numbers(self) -> int:
        """How many numbers a classifier gives of a slice."""
        return 1 if self.check is None else 2

    @classmethod
    def of(cls, pin: ModelPin, weights: Path, check: Path | None, engine: str, precision: str) -> "Network":
        """The network that a batch is pinned to."""
        return cls(
            name=pin.name,
            sha256=pin.sha256,
            size=pin.size,
            segments=pin.kind == "segmenter",
            weights=weights,
            check=check,
            engine=engine,
            precision=precision,
            prepares=pin.profile if prepares(engine, pin.profile) else None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """Slices that a scan's flow sends through networks; it goes on with a `Verdict` for each network."""

    networks: tuple[Network, ...]  # of one size
    count: int  # slices, at least one
    prepare: Callable[[int], NDArray[np.uint8]]  # slice index to (size, size, 3) uint8; (n,) where networks prepare
    held: int  # bytes that the flow keeps meanwhile


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a scan's flow yields before it does what others may be at for the same result.

    It goes on, when nobody else is, with whether it had to wait: then what it needs may be there by now.
    """

    key: str
    held: int  # bytes that the flow keeps meanwhile


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """What one network said of all slices of a feed."""

    network: Network
    ran: Ran
    values: NDArray[Any]  # (count, network.numbers) float32, or masks (count, size, size, 2) uint8 in 255ths


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a flow came to."""

    value: Any
    size: int  # bytes that wait in the supervisor until they are put away


# -- to a decoder --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Start:
    """Judge a scan: run the flow on `job`."""

    task: int
    job: Any


@dataclass(frozen=True, kw_only=True)
class Run:
    """Call a plain function."""

    task: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Clear:
    """Nobody else works for the result that a task claimed, any more or yet."""

    task: int
    waited: bool


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The slots that were wanted for a part."""

    task: int
    part: int
    slots: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All networks have judged a part."""

    task: int
    part: int
    slots: tuple[int, ...]
    outputs: tuple[Output, ...]  # one a network, in the feed's order
    ran: tuple[Ran, ...]  # likewise


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Forget a task; `Dropped` follows, unless its last word was on the way already."""

    task: int


# -- from a decoder ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The process is up."""


@dataclass(frozen=True, kw_only=True)
class At:
    """Which task is being worked on from now; None: all that was heard is done."""

    task: int | None
    heard: int  # messages taken from the pipe so far
    held: int  # bytes that all flows keep


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A task waits until nobody else works for this result."""

    task: int
    key: str


@dataclass(frozen=True, kw_only=True)
class Want:
    """A part needs `count` slots."""

    task: int
    part: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The granted slots of a part hold slices for these networks."""

    task: int
    part: int
    slots: tuple[int, ...]
    networks: tuple[Network, ...]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The answer on a part was taken: its slots are free."""

    task: int
    part: int


@dataclass(frozen=True, kw_only=True)
class Done:
    """A task's value."""

    task: int
    value: Any


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Why a task has no value."""

    task: int
    error: NeurobatchError


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A task was forgotten: its slots are touched no more."""

    task: int


# -- to and from a network -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Warm:
    """Load networks before they are needed."""

    networks: tuple[Network, ...]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Run one device batch; at most the fixed size, and padded to it."""

    number: int
    network: Network
    slots: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """A network is being loaded; what dies meanwhile is no scan's fault."""

    network: Network


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network is loaded, or why it cannot be."""

    network: Network
    ran: Ran | None
    error: NeurobatchError | None = None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A device batch is done; a classifier's numbers for each slot, or None where masks were written."""

    number: int
    said: Sequence[Numbers] | None
    seconds: float  # that it took


FromDecoder = Ready | At | Claimed | Want | Filled | Taken | Done | Failed | Dropped
FromNetwork = Ready | Loading | Loaded | Judged
