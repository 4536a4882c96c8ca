"""The commands `neurobatch train` and `neurobatch evaluate`; what they need is imported when they run."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurobatch.gateway import TOKEN, URL, open_gateway

if TYPE_CHECKING:
    from models.evaluate import Evaluation

CONFIGS = Path(__file__).parent / "configs"
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("network", type=click.Choice(["mobilenet", "resnet50v2", "unet"]))
@click.option("--data", type=FOLDER, required=True, help="Folder of sets (slices.csv or images.csv) to train on.")
@click.option("--start", type=FOLDER, help="Folder with the ImageNet weights that the configuration names.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for checkpoints, log and prepared pictures; a run there is resumed.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration (TOML) instead of the network's own.",
)
def train(network: str, data: Path, start: Path | None, out: Path, config: Path | None) -> None:
    """Train NETWORK, or go on where an earlier call stopped."""
    from models.train import read_config
    from models.train import train as run

    file = config or CONFIGS / f"{network}.toml"
    best = run(read_config(file, data=data, start=start, out=out / network), click.echo)
    click.echo(f"best weights: {best}")


@click.command()
@click.argument("network", required=False, type=click.Choice(["mobilenet", "resnet50v2", "unet"]))
@click.option("--data", type=FOLDER, help="A set (slices.csv or images.csv), or a folder of sets.")
@click.option("--split", help="Rows of this split only; all rows otherwise.")
@click.option("--engine", type=click.Choice(["auto", "openvino", "tensorflow"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--batch", help="Compare a finished batch with --labels instead.")
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV: path,label[,mask]; labels tumour, no_tumour, yes, no, 1, 0.",
)
@click.option("--url", envvar=URL, help="The server that has the batch. Default: this machine's own store.")
@click.option("--token", envvar=TOKEN, help="The server's token.", hidden=True)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write report, tables, plots and the worst cases there.",
)
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write every figure here.")
def evaluate(
    network: str | None,
    data: Path | None,
    batch: str | None,
    labels: Path | None,
    folder: Path | None,
    target: Path | None,
    split: str | None,
    engine: str,
    precision: str,
    url: str | None,
    token: str | None,
) -> None:
    """Measure the shipped NETWORK on labelled pictures (--data), or a finished batch on your labels (--batch)."""
    if network is not None and data is not None and batch is None and labels is None:
        found = _on_sets(network, data, split, engine, precision, cases=folder is not None)
    elif batch is not None and labels is not None and network is None and data is None:
        found = _on_batch(batch, labels, url, token, cases=folder is not None)
    else:
        raise click.UsageError("Give NETWORK and --data, or --batch and --labels.")
    from models.summary import as_json, as_text, tables

    if target is not None:
        target.write_text(as_json(found.figures), encoding="utf-8")
    click.echo("\n\n".join(as_text(table) for table in tables(found.figures)))
    if folder is not None:
        from models.page import write_report

        click.echo(f"report: {write_report(found, folder)}", err=True)


def _on_sets(network: str, data: Path, split: str | None, engine: str, precision: str, *, cases: bool) -> "Evaluation":
    from models.engines.choice import choose
    from models.evaluate import evaluate as run
    from models.registry import networks, open_weights
    from neurobatch.settings import load_settings

    chosen = choose(
        engine, load_settings().engines_folder, precision="bfloat16" if precision == "bfloat16" else "float32"
    )
    say = partial(click.echo, err=True)
    return run(networks()[network], open_weights(network), data, chosen, split, cases=cases, say=say)


def _on_batch(batch: str, labels: Path, url: str | None, token: str | None, *, cases: bool) -> "Evaluation":
    from models.comparing import compare
    from models.labels import read_labels

    return compare(open_gateway(url, token), batch, read_labels(labels), cases=cases)
