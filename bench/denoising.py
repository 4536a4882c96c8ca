"""`bench denoise`: the kernels that prepare a slice for the networks that want it denoised, on one core."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.ratios import Rounds, alternate, times_as_fast
from bench.report import Report, Row
from bench.scans import SEED, SIDE
from bench.task import Measurement
from phantom.scan import Scan
from phantom.scanner import to_uint8
from phantom.sequences import Look
from pipeline.prepare.contrast import stretch
from pipeline.prepare.denoise import SEARCH, STRENGTH, denoise
from pipeline.prepare.profiles import prepare

Plane = NDArray[np.uint8]

OPENCV, OURS, CONTRAST = "OpenCV", "neurobatch", "contrast"
PROFILE, FITTED = "nlm-clahe", 224  # px of the network's square
ONE_BY_ONE, BATCHED = f"{PROFILE}, grey, kernels", f"{PROFILE}, grey, batch operations"
BATCH = 8
WIDE = 21  # px: OpenCV's own default of the search window


def denoising(repeats: int, rounds: int, side: int = SIDE) -> Report:
    """Time each kernel on one grey and one colour slice, in turn."""
    begun = Measurement()
    kernels = {name: _timed(kernel, plane, repeats) for name, (kernel, plane) in _kernels(side).items()}
    kernels |= _whole_profile(side, repeats)
    with one_thread():
        for measure in kernels.values():
            measure(0)
        found = alternate(kernels, rounds)
    return begun.report(
        name="denoise",
        title=f"Denoising and contrast: one slice of {side} × {side} px on one core",
        ratio="× as fast as OpenCV",
        sizes={"repeats": repeats, "rounds": rounds, "side": side},
        rows=tuple(Row.of(name, "ms", values, _base(name, found)) for name, values in found.items()),
        notes=(
            f"neurobatch takes {_shares(found)} of OpenCV's time; grey levels are the same.",
            f"The profile nlm-clahe takes a window of {SEARCH} px, and a grey slice as the one plane that it is.",
            f"Batch operations, here in batches of {BATCH} on the processor, are for GPUs: no other worker runs them.",
        ),
        rounds=rounds,
    )


def _base(name: str, found: Mapping[str, Rounds]) -> Rounds | None:
    """OpenCV on the same slice with the same window; contrast and profile have nothing to be compared with there."""
    if name.startswith(PROFILE):
        return found[ONE_BY_ONE]
    return None if name.startswith(CONTRAST) else found[name.replace(OURS, OPENCV)]


def _shares(found: Mapping[str, Rounds]) -> str:
    """Our time as a share of OpenCV's, which says best how near the goal of 0.4 is."""
    shares = {
        name.removeprefix(f"{OURS}, "): 1 / times_as_fast(values, found[name.replace(OURS, OPENCV)], rate=False)
        for name, values in found.items()
        if name.startswith(OURS)
    }
    return "; ".join(f"{share:.2f} ({name})" for name, share in shares.items())


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV works as it does in a decoder."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _kernels(side: int) -> dict[str, tuple[Callable[[Plane], Any], Plane]]:
    grey, colour = slices(side)
    kernels: dict[str, tuple[Callable[[Plane], Any], Plane]] = {}
    for search in (WIDE, SEARCH):
        theirs = functools.partial(cv2.fastNlMeansDenoising, h=STRENGTH, searchWindowSize=search)
        theirs_coloured = functools.partial(
            cv2.fastNlMeansDenoisingColored, h=STRENGTH, hColor=STRENGTH, searchWindowSize=search
        )
        ours = functools.partial(denoise, search=search)
        kernels |= {
            f"{OPENCV}, grey, window {search}": (theirs, grey),
            f"{OURS}, grey, window {search}": (ours, grey),
            f"{OPENCV}, colour, window {search}": (theirs_coloured, colour),
            f"{OURS}, colour, window {search}": (ours, colour),
        }
    return kernels | {f"{CONTRAST}, grey": (stretch, grey), f"{CONTRAST}, colour": (stretch, colour)}


def _whole_profile(side: int, repeats: int) -> dict[str, Callable[[int], float]]:
    """A grey slice prepared by a decoder's way, and by the batch operations: time of all cores together, a slice."""
    import tensorflow as tf

    from models.prepare.profiles import Preparation

    grey, _ = slices(side)
    batched = tf.function(Preparation(PROFILE, channels=1, side=FITTED))
    planes = tf.constant(np.repeat(grey[None, :, :, None], BATCH, axis=0))
    sizes, boxes = (tf.constant([[length, length]] * BATCH, tf.float32) for length in (side, FITTED))
    return {
        ONE_BY_ONE: _timed(functools.partial(prepare, profile=PROFILE, size=FITTED), grey, repeats),
        BATCHED: lambda _: _processor_ms(lambda: batched(planes, sizes, boxes).numpy()) / BATCH,
    }


def _processor_ms(run: Callable[[], Any]) -> float:
    """Time that all threads of this process had a core."""
    begun = time.process_time()
    run()
    return 1000 * (time.process_time() - begun)


def slices(side: int) -> tuple[Plane, Plane]:
    """A phantom's slice in grey `(side, side)` and one in colour `(side, side, 3)`."""
    planes = []
    for look in (Look.FLAIR, Look.COMPOSITE):
        scan = Scan.draw(SEED, look=look, lesion=True, size=side)
        channels = [to_uint8(channel) for channel in scan.image(scan.best_level()).channels]
        planes.append(channels[0] if len(channels) == 1 else np.ascontiguousarray(np.dstack(channels)))
    return planes[0], planes[1]


def _timed(kernel: Callable[[Plane], Any], plane: Plane, repeats: int) -> Callable[[int], float]:
    """Time that the thread had a core, since a busy machine takes it away now and then."""

    def measure(_: int) -> float:
        begun = time.thread_time()
        for _ in range(repeats):
            kernel(plane)
        return 1000 * (time.thread_time() - begun) / repeats

    return measure
