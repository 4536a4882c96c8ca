"""`bench engines`: what each engine needs for a picture, one at a time and in batches.

Time of all cores together: that is what counts when all are busy, and a machine where others work does not hide it.
"""

from contextlib import ExitStack
from functools import partial

from bench.asking import QUIET, Program
from bench.machine import this_machine
from bench.ratios import Rounds, alternate
from bench.report import Report, Row
from bench.runtimes import installed
from bench.served import engines_cache
from bench.task import Measurement
from models.registry import networks

BATCHES = (1, 16)
MULTIPLIES_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # features of processors for which bfloat16 is worth a try
KERAS = ("keras", "float32")

Contender = tuple[str, str, int]  # engine, precision, device batch


def engines(pictures: int, rounds: int, only: tuple[str, ...] = ()) -> Report:
    """Time every engine that runs here, in turn, for each network."""
    begun, cache = Measurement(), str(engines_cache())
    names = only or tuple(sorted(networks()))
    rows: list[Row] = []
    with ExitStack() as held:
        running = {
            engine: held.enter_context(Program.module(module, *engine, cache, env=QUIET))
            for module, which in (
                ("bench.predicting", contenders(frozenset(this_machine().features))),
                ("bench.runtimes", installed()),
            )
            for engine in which
        }
        for network in names:
            rows += _rows(network, _measured(running, network, pictures, rounds))
    return begun.report(
        name="engines",
        title="Engines: milliseconds of CPU a picture of 224 × 224 px, all cores together",
        ratio="× Keras, one picture",
        sizes={"pictures": pictures, "rounds": rounds},
        rows=tuple(rows),
        notes=(
            "Keras is `predict`; tensorflow is the engine of that name: a traced function, deterministic kernels.",
            "onnxruntime, litert and int8 are no engines of neurobatch: measured where their packages are installed.",
        ),
        rounds=rounds,
    )


def contenders(features: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Engines with their precisions, Keras first."""
    plain = (KERAS, ("tensorflow", "float32"), ("openvino", "float32"))
    return (*plain, ("openvino", "bfloat16")) if features & MULTIPLIES_BF16 else plain


def _measured(
    running: dict[tuple[str, str], Program], network: str, pictures: int, rounds: int
) -> dict[Contender, Rounds]:
    asked = [(*engine, batch) for engine in running for batch in BATCHES]

    def measure(contender: Contender, _: int) -> float:
        *engine, batch = contender
        count = max(pictures, batch)
        said = running[engine[0], engine[1]].ask(network=network, batch=batch, pictures=count)
        return 1000 * float(said) / count

    for contender in asked:
        measure(contender, 0)  # loads and warms
    found = alternate({str(contender): partial(measure, contender) for contender in asked}, rounds)
    return {contender: found[str(contender)] for contender in asked}


def _rows(network: str, found: dict[Contender, Rounds]) -> list[Row]:
    base = found[(*KERAS, 1)]
    return [
        Row.of(f"{network}: {engine} {precision}, batch {batch}", "ms", values, base)
        for (engine, precision, batch), values in found.items()
    ]
