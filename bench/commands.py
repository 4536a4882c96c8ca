"""The commands: `python -m bench COMMAND`."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bench.report import Report
from bench.task import Task, usual_precision
from neurobatch.cli import console_for
from neurobatch.errors import NeurobatchError
from neurobatch.records import Options

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = Path("runs/bench")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """What neurobatch achieves on this machine.

    Each command answers one question: it prints a table with the ratios of one run and leaves a report in JSON.
    """


def reporting(command: Callable[..., Report]) -> Callable[..., None]:
    """Show and keep what a command reports; adds its option `--out`."""

    @click.option(
        "--out", type=click.Path(file_okay=False, path_type=Path), default=RESULTS, show_default=True,
        help="Folder for the report.",
    )  # fmt: skip
    @wraps(command)
    def run(out: Path, **given: Any) -> None:
        try:
            report = command(**given)
        except NeurobatchError as error:
            raise click.ClickException(error.message) from None
        console = console_for()
        report.show(console)
        console.print(f"report: {report.write(out)}", highlight=False)

    return run


def rounds_option(default: int) -> Callable[[Any], Any]:
    """How often each is measured."""
    return click.option("--rounds", type=click.IntRange(min=1), default=default, show_default=True,
                        help="How often each is measured.")  # fmt: skip


classifier_option = click.option("--classifier", type=click.Choice(["mobilenet", "resnet50v2", "both"]),
                                 default="mobilenet", show_default=True, help="Which network judges.")  # fmt: skip
precision_option = click.option("--precision", type=click.Choice(["float32", "mixed", "bfloat16"]),
                                default=usual_precision,
                                help="Of neurobatch's networks; default: the one that it takes here.")  # fmt: skip


def task_options(scans: int, rounds: int) -> Callable[[Any], Any]:
    """The options of a `Task`, which arrives as the keyword `task`."""

    def added(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(classifier: str, segment: str, precision: str, scans: int, rounds: int, **given: Any) -> Any:
            fields = {"classifier": classifier, "segment": segment, "precision": precision}
            return command(task=Task(options=Options.model_validate(fields), scans=scans, rounds=rounds), **given)

        options = (
            click.option("--scans", type=click.IntRange(min=1), default=scans, show_default=True,
                         help="Pictures of a round."),
            rounds_option(rounds),
            classifier_option,
            click.option("--segment", type=click.Choice(["positive", "all", "none"]), default="positive",
                         show_default=True, help="Which scans get a mask."),
            precision_option,
        )  # fmt: skip
        for option in reversed(options):
            run = option(run)
        return run

    return added


@bench.command()
@reporting
@task_options(scans=120, rounds=3)
@click.option(
    "--peer", "peers", multiple=True, type=click.Choice(["loop", "celery", "tf-data", "ray"]),
    help="Which peer; default: all. For ray an environment of its own is made in runs/peers.",
)  # fmt: skip
def throughput(task: Task, peers: tuple[str, ...]) -> Report:
    """HTTP upload to last result, against what one would write instead."""
    from bench.throughput import throughput as measure

    return measure(task, peers)


@bench.command()
@reporting
@task_options(scans=480, rounds=3)
def limit(task: Task) -> Report:
    """neurobatch against its bare kernels on all cores."""
    from bench.limit import limit as measure

    return measure(task)


@bench.command()
@reporting
@task_options(scans=120, rounds=3)
def again(task: Task) -> Report:
    """An archive that is sent a second time, and a picture that comes alone."""
    from bench.again import again as measure

    return measure(task)


@bench.command()
@reporting
@task_options(scans=128, rounds=3)
def stages(task: Task) -> Report:
    """Where the time of a scan goes."""
    from bench.stages import stages as measure

    return measure(task)


@bench.command()
@reporting
@click.option("--slices", type=click.IntRange(min=2), default=192, show_default=True, help="Of the series.")
@classifier_option
@precision_option
@rounds_option(3)
def series(slices: int, classifier: str, precision: str, rounds: int) -> Report:
    """A DICOM series from its files to the mask."""
    from bench.series import series as measure

    return measure(slices, rounds, Options.model_validate({"classifier": classifier, "precision": precision}))


@bench.command()
@reporting
@click.option("--scans", type=click.IntRange(min=1), default=2000, show_default=True, help="Scans of a batch.")
@rounds_option(3)
@click.option(
    "--by-reference",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instead: hand over N scans by reference at once, such as 1000000, and watch them being planned.",
)
def queue(scans: int, rounds: int, by_reference: int | None) -> Report:
    """What intake, queue, store and finalisation carry when the network does nothing."""
    if by_reference is not None:
        from bench.referring import referring

        return referring(by_reference)
    from bench.carrying import carrying as measure

    return measure(scans, rounds)


@bench.command()
@reporting
@click.option(
    "--workers", multiple=True, type=click.IntRange(1, 64), default=(1, 2, 4, 8), show_default=True,
    help="How many; give it several times, from few to many.",
)  # fmt: skip
@click.option("--batches", type=click.IntRange(min=1), default=30, show_default=True,
              help="Device batches for each worker.")  # fmt: skip
@click.option("--wait", type=click.FloatRange(min=0), default=1.0, show_default=True,
              help="Seconds that the network takes for one.")  # fmt: skip
@click.option("--slices", type=click.Choice(["1", "2", "4", "8", "16", "32"]), default="32", show_default=True,
              help="Of a scan; 1: pictures, which cost most beside the network.")  # fmt: skip
@rounds_option(1)
def scale(workers: tuple[int, ...], batches: int, wait: float, slices: str, rounds: int) -> Report:
    """Throughput against the number of workers, whose network is a timed wait."""
    from bench.scaling import scaling as measure

    return measure(workers, batches, rounds, slices=int(slices), wait=wait)


@bench.command()
@reporting
@click.option("--batches", type=click.IntRange(min=2), default=10, show_default=True, help="How many.")
@click.option("--scans", type=click.IntRange(min=1), default=1000, show_default=True, help="Scans of a batch.")
@precision_option
def memory(batches: int, scans: int, precision: str) -> Report:
    """Whether a worker grows with the number of scans."""
    from bench.memory import growth

    return growth(batches, scans, Options.model_validate({"precision": precision}))


@bench.command()
@reporting
@click.option("--pictures", type=click.IntRange(min=1), default=32, show_default=True, help="Pictures a round.")
@click.option("--network", "only", multiple=True, help="Which network; default: all.")
@rounds_option(3)
def engines(pictures: int, only: tuple[str, ...], rounds: int) -> Report:
    """What each engine needs for a picture."""
    from bench.engines import engines as measure

    return measure(pictures, rounds, only)


@bench.command()
@reporting
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Of a kernel in a round.")
@rounds_option(5)
def denoise(repeats: int, rounds: int) -> Report:
    """The kernels that denoise and stretch contrast."""
    from bench.denoising import denoising as measure

    return measure(repeats, rounds)


@bench.command("page")
@click.option(
    "--from", "source", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the reports of this folder over first.",
)  # fmt: skip
@click.option("--docs", type=click.Path(file_okay=False, path_type=Path), default=DOCS, help="The folder of documents.")
def write_page(source: Path | None, docs: Path) -> None:
    """Write docs/benchmarks.md, with its plots, from the reports in docs/benchmarks."""
    from bench.page import page, reports

    kept = docs / "benchmarks"
    kept.mkdir(parents=True, exist_ok=True)
    for report in [*reports(kept), *(reports(source) if source else [])]:
        report.write(kept)
    (docs / "benchmarks.md").write_text(page(reports(kept)), encoding="utf-8")
    click.echo(f"{click.format_filename(docs / 'benchmarks.md')} is written")
