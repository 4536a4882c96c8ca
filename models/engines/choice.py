"""Which engine a process uses, decided once, by the function that wires it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import cast

from models.engines.processor import multiplies_bfloat16
from models.engines.seam import Engine, Precision
from models.registry import networks, open_check, open_weights
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Arithmetic

GPU = Path("/dev/nvidia0")  # there where the driver sees a card, in containers too


def choose(
    name: str,
    cache: Path,
    *,
    precision: Precision = "float32",
    threads: int | None = None,
    streams: int = 1,
    gpu: Path = GPU,
) -> Engine:
    """Make the engine of this name; importing its library is left to this moment.

    Args:
        name: `openvino`, `tensorflow`, `timed`, or `auto`: TensorFlow where there is an NVIDIA GPU and its libraries,
            else OpenVINO, else TensorFlow.
        cache: folder for converted networks.
        precision: `float32`, or `bfloat16` (faster where the processor multiplies it; differs in the third digit).
        threads: threads that networks have together, None for the library's own choice.
        streams: batches that may run at once, where the engine can do that (OpenVINO).
        gpu: the device file that says that there is a GPU.

    Raises:
        Broken: `no_engine`, there is no such engine or its library is not installed.
    """
    wanted = resolved(name, gpu)
    makers: dict[str, Callable[[], Engine]] = {
        "openvino": lambda: _openvino(cache, precision, threads, streams),
        "tensorflow": lambda: _tensorflow(precision, threads),
        "timed": _timed,
    }
    if wanted not in makers:
        raise Broken(Code.NO_ENGINE, f"there is no engine {wanted!r}")
    try:
        return makers[wanted]()
    except ImportError as error:
        raise Broken(Code.NO_ENGINE, f"{wanted} cannot be imported: {error.name}") from error


def resolved(name: str, gpu: Path = GPU) -> str:
    """The engine that `auto` means on this machine; any other name as it is."""
    if name != "auto":
        return name
    if has_gpu(gpu) and importlib.util.find_spec("tensorflow"):
        return "tensorflow"
    return "openvino" if importlib.util.find_spec("openvino") else "tensorflow"


def precision_of(asked: str, site: str, engine: str, gpu: Path = GPU) -> Arithmetic:
    """The precision that a batch asks for, or else the site does.

    `auto` of the site is bfloat16 for what says the same in it, where that is faster (docs/decisions/0087): classifiers
    on OpenVINO, where the processor multiplies it.
    """
    wanted = site if asked == "auto" else asked
    if wanted == "auto":
        return "mixed" if resolved(engine, gpu) == "openvino" and multiplies_bfloat16() else "float32"
    return cast(Arithmetic, wanted)


def precision_for(kind: str, batch: Arithmetic) -> Precision:
    """The precision of a classifier or a segmenter in a batch."""
    if batch == "mixed":
        return "bfloat16" if kind == "classifier" else "float32"
    return batch


def has_gpu(gpu: Path = GPU) -> bool:
    """Whether there are a card and TensorFlow's libraries for it."""
    return gpu.exists() and importlib.util.find_spec("nvidia") is not None


def prepares(name: str, profile: str, gpu: Path = GPU) -> bool:
    """Whether the engine of this name prepares slices itself: TensorFlow with a GPU those that are to be denoised."""
    if resolved(name, gpu) != "tensorflow" or not has_gpu(gpu):
        return False
    from pipeline.prepare.profiles import PROFILES

    return PROFILES[profile].denoises


def prepare_engines(cache: Path, engine: str = "auto") -> list[str]:
    """Convert all shipped networks ahead, as an installation does; gives their names.

    Raises:
        Broken: a weight file is damaged, or the engine cannot run here.
    """
    chosen = choose(engine, cache)
    for name in networks():
        chosen.load(name, open_weights(name), batch=1, check=open_check(name))
    return sorted(networks())


def _openvino(cache: Path, precision: Precision, threads: int | None, streams: int) -> Engine:
    from models.engines.openvino import OpenVino

    if not multiplies_bfloat16():
        precision = "float32"  # which is what OpenVINO would take, whatever it is told; results shall say so
    return OpenVino(cache=cache, precision=precision, threads=threads, streams=streams)


def _tensorflow(precision: Precision, threads: int | None) -> Engine:
    from models.engines.tensorflow import TensorFlow

    return TensorFlow(precision=precision, threads=threads)


def _timed() -> Engine:
    from models.engines.timed import Timed

    return Timed()
