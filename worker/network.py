"""The network process: runs device batches over slots of the arena, as many at once as it has streams. One a device.

Every batch has the device's fixed shape, short ones padded with black, so what a slice comes to does not
depend on its neighbours. Which slices go together is decided in the supervisor (`worker.device`).
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from neurobatch.errors import NeurobatchError
from worker.arena import COLOURS, MASK_STEPS, Arena
from worker.children import Link, fatal, resolve
from worker.messages import (
    FromNetwork,
    Judge,
    Judged,
    Loaded,
    Loading,
    Network,
    NetworkConfig,
    Numbers,
    Ran,
    Ready,
    Warm,
)

Runs = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Runs a network: `(B, size, size, 3)` uint8 to what a classifier says `(B, numbers)` or masks `(B, size, size, 2)`.
One that prepares takes `(B, n)` uint8, slots as they are, see `pipeline.prepare.packed`.
"""

Loader = Callable[[Network, int], tuple[Runs, Ran]]
"""From a network and the device batch B to what runs it. Raises `Broken` where it cannot run here."""


def main(link: Link, config: NetworkConfig) -> None:
    """Work until the supervisor is gone."""
    device = _Device(link, config)
    device.tell(Ready())
    while True:
        message = link.receive()
        match message:
            case Warm():
                for network in message.networks:
                    device.load(network)
            case Judge():
                device.begin(message)


class _Own(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.inputs: dict[tuple[int, ...], NDArray[np.uint8]] = {}


class _Device:
    def __init__(self, link: Link, config: NetworkConfig) -> None:
        self._link, self._telling = link, threading.Lock()
        self._batch = config.batch
        self._load: Loader = resolve(config.load)(config.settings)
        self._arena = Arena.attach(config.arena)
        self._loaded: dict[Network, Runs] = {}
        self._running = ThreadPoolExecutor(config.streams, thread_name_prefix="stream")
        self._begun: set[Future[None]] = set()
        self._own = _Own()

    def tell(self, message: FromNetwork) -> None:
        """Say something to the supervisor, from any thread."""
        with self._telling:
            self._link.send(message)

    def load(self, network: Network) -> bool:
        """Load a network unless it is; whether it can run. The supervisor is told either way."""
        if network in self._loaded:
            return True
        self.tell(Loading(network=network))
        try:
            run, ran = self._load(network, self._batch)
            run(self._filled(network, ()))  # the first run compiles and allocates
        except NeurobatchError as error:
            self.tell(Loaded(network=network, ran=None, error=error))
            return False
        self._loaded[network] = run
        self.tell(Loaded(network=network, ran=ran))
        return True

    def begin(self, order: Judge) -> None:
        """Have one batch run; the supervisor answers those of a network that could not be loaded by itself."""
        if order.network not in self._loaded:
            wait(self._begun)  # a slice that ends the process is not to be taken for a network that cannot be loaded
        if self.load(order.network):
            self._begun = {begun for begun in self._begun if not begun.done()}
            self._begun.add(self._running.submit(self._judge, order))

    def _judge(self, order: Judge) -> None:
        try:
            begun = time.monotonic()
            said = self._run(order)
            self.tell(Judged(number=order.number, said=said, seconds=time.monotonic() - begun))
        except BaseException as error:  # noqa: BLE001  the edge of a thread: the process ends, as for its main thread
            fatal(error)

    def _run(self, order: Judge) -> tuple[Numbers, ...] | None:
        network = order.network
        output = self._loaded[network](self._filled(network, order.slots))
        if not network.segments:
            rows = output.reshape(self._batch, network.numbers)[: len(order.slots)]
            return tuple(tuple(map(float, row)) for row in rows)
        for row, slot in enumerate(order.slots):
            self._arena.mask(slot, network.size)[:] = in_steps(output[row])
        return None

    def _filled(self, network: Network, slots: tuple[int, ...]) -> NDArray[np.uint8]:
        """A batch with what lies in the slots, filled up with black."""
        whole = self._arena.plan.side**2 * COLOURS
        shape = (network.size, network.size, COLOURS) if network.prepares is None else (whole,)
        if shape not in self._own.inputs:
            self._own.inputs[shape] = np.zeros((self._batch, *shape), np.uint8)
        batch = self._own.inputs[shape]
        for row, slot in enumerate(slots):
            batch[row] = self._arena.held(slot, shape)
        batch[len(slots) :] = 0
        return batch


def in_steps(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities in 255ths, rounded: what passes through the arena, a byte each; no number becomes 0."""
    steps = np.nan_to_num(probabilities, nan=0.0) * np.float32(MASK_STEPS)
    return np.asarray(np.rint(np.clip(steps, 0, MASK_STEPS)), np.uint8)
