"""What the supervisor keeps of a task while children work on it; touched by the supervisor's own thread
only.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from worker.arena import Slots
from worker.messages import Network, Numbers, Output, Run, Start


@dataclass(eq=False, kw_only=True)
class Part:
    """Some slices of a task, in slots of the arena."""

    task: "Task"
    number: int  # index of its first slice in the feed
    slots: tuple[int, ...]
    networks: tuple[Network, ...] = ()
    outputs: list[list[Numbers]] = field(default_factory=list)  # by network and slice; masks lie in the slots
    left: int = 0  # verdicts still to come
    at_device: int = 0  # slices in batches that were sent and not yet answered
    over: bool = False  # its slots are free, or will be when the device gives them back

    def begin(self, networks: tuple[Network, ...]) -> None:
        """The decoder has filled it for these networks."""
        self.networks = networks
        self.outputs = [[()] * len(self.slots) for _ in networks]
        self.left = len(self.slots) * len(networks)

    def answers(self) -> tuple[Output, ...]:
        """What the decoder is told when all have judged."""
        return tuple(
            None if network.segments else tuple(said) for network, said in zip(self.networks, self.outputs, strict=True)
        )

    def release(self, slots: Slots) -> None:
        """Nobody needs it any more; what the device still holds is freed when it comes back."""
        if not self.over:
            self.over = True
            self._settle(slots)

    def returned(self, slots: Slots) -> None:
        """One slice came back from the device, judged or not."""
        self.at_device -= 1
        if self.over:
            self._settle(slots)

    def _settle(self, slots: Slots) -> None:
        if self.at_device == 0:
            slots.give(self.slots)


@dataclass(eq=False, kw_only=True)
class Task:
    """A scan to judge or a function to call."""

    number: int
    order: Callable[[int], Start | Run]
    future: Future[Any]
    seconds: float  # of work in a decoder, waiting apart
    alone: bool  # shares its decoder with no other: what kills the decoder then is this task
    spent: float = 0.0  # seconds of work so far
    parts: dict[int, Part] = field(default_factory=dict)
    over: bool = False  # nobody waits for it any more

    @property
    def message(self) -> Start | Run:
        """What tells a decoder to do it."""
        return self.order(self.number)
