"""`bench limit`: what the hardware allows, and how much of it neurobatch reaches."""

from contextlib import ExitStack
from pathlib import Path

from bench.asking import Program
from bench.ratios import alternate
from bench.report import Report, Row
from bench.served import Served, served
from bench.task import Measurement, Task, files_of, place_for
from neurobatch.records import Options
from worker.cores import usable_cores
from worker.engines import device_batch

OURS, BARE = "neurobatch", "bare kernels"


def limit(task: Task) -> Report:
    """Run the same scans through neurobatch and through the kernels alone, in turn."""
    begun, cores = Measurement(), usable_cores()
    with place_for(task) as place, ExitStack() as held:
        ours = held.enter_context(served(place.folder / "home"))
        ours.judge([place.warm], task.options)
        bare = [held.enter_context(bare_kernels(task.options, ours)) for _ in range(cores)]
        through(bare, place.warm)
        contestants = {
            OURS: lambda number: task.scans / ours.judge([place.rounds[number]], task.options).seconds,
            BARE: lambda number: task.scans / through(bare, place.rounds[number]),
        }
        rates = alternate(contestants, task.rounds)
    return begun.report(
        name=task.named("limit"),
        title="Limit: neurobatch against its bare kernels on all cores (read, prepare, networks)",
        ratio="of the limit",
        sizes=task.sizes,
        rows=tuple(Row.of(name, "scans/s", values, rates[BARE]) for name, values in rates.items()),
        notes=(f"Bare kernels: {cores} processes with one thread each; no queue, store, mask file, overlay, report.",),
        rounds=task.rounds,
    )


def through(bare: list[Program], folder: Path) -> float:
    """Share a folder's scans among the processes; seconds from the first that began to the last that ended."""
    scans = [str(path) for path in files_of(folder)]
    for index, process in enumerate(bare):
        process.tell(scans=scans[index :: len(bare)])
    said = [process.hear() for process in bare]
    return float(max(one["ended"] for one in said) - min(one["begun"] for one in said))


def bare_kernels(options: Options, ours: Served) -> Program:
    """A process with the same networks on the same engine, in one thread."""
    settings = ours.settings
    arguments = (options.model_dump_json(), settings.engine, str(settings.engines_folder), str(device_batch(settings)))
    return Program.module("bench.kernels", *arguments, env={"OMP_NUM_THREADS": "1"})
