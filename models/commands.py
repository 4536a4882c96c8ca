"""The commands `neurobatch train` and `neurobatch evaluate`; what they need is imported when they run."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurobatch.gateway import TOKEN, URL, open_gateway

if TYPE_CHECKING:
    from models.evaluate import Evaluation

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("network", type=click.Choice(["mobilenet", "resnet50v2", "unet"]), required=False)
@click.option("--data", type=FOLDER, help="Folder of sets (slices.csv or images.csv) to train on.")
@click.option("--from-pack", type=FILE, help="Train on the sets in a pack instead.")
@click.option("--pack", type=click.Path(dir_okay=False, path_type=Path), help="Write the sets of --data into a pack.")
@click.option("--quality", type=click.IntRange(1, 100), help="Of a pack's pictures (WebP).")
@click.option("--longest", type=click.IntRange(64, 1024), help="Longest side of a pack's pictures, px.")
@click.option(
    "--start",
    default="random",
    show_default=True,
    help="First weights: `imagenet` (downloads), `shipped`, `random`, or a folder with the configuration's file.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for checkpoints, logs and prepared pictures; a run there is resumed.",
)
@click.option("--config", help="Configuration instead of the network's own: a name in models/configs, or a file.")
@click.option("--split", type=click.Choice(["given", "slice", "group"]), help="Another split than the configuration's.")
@click.option("--ablate", help="Train the variants of an ablation: a name in models/configs/ablations, or a file.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop at the end of an epoch after so long, to resume.")
def train(network: str | None, pack: Path | None, **options: Any) -> None:
    """Train NETWORK and measure it, or go on where an earlier call stopped; or write a pack (--pack)."""
    if (pack is None) == (network is None):
        raise click.UsageError("Name a network to train, or a pack to write.")
    if (options["data"] is None) == (options["from_pack"] is None):
        raise click.UsageError("Name either --data or --from-pack.")
    if network is not None:
        _train(network, **options)
    elif pack is not None:
        _pack(pack, options["data"], options["quality"], options["longest"])


def _pack(file: Path, data: Path | None, quality: int | None, longest: int | None) -> None:
    from models import packs
    from models.sets import read_sets

    if data is None:
        raise click.UsageError("A pack is written from --data.")
    items = read_sets(data)
    packs.write_pack(items, file, quality=quality or packs.QUALITY, longest=longest or packs.LONGEST)
    click.echo(f"{len(items)} pictures in {file.stat().st_size / 1e6:.1f} MB")


def _train(network: str, *, data: Path | None, from_pack: Path | None, out: Path, **options: Any) -> None:
    # TensorFlow reads it when it is imported. By itself it leaves oneDNN to processors with AVX-512.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from models.ablate import ablate
    from models.configuring import find_ablation, find_config, read_config
    from models.packs import unpack
    from models.train import figures_file
    from models.train import train as run

    sets = unpack(from_pack, out / "sets") if from_pack is not None else data
    named, minutes = options["start"], float("inf") if options["minutes"] is None else options["minutes"]
    start = named if named in ("imagenet", "shipped", "random") else Path(named)
    if sets is None:
        raise click.UsageError("Name either --data or --from-pack.")
    if options["ablate"]:
        file = find_ablation(network, options["ablate"])
        place = out / file.stem
        table = ablate(file, network, data=sets, out=place, start=start, say=click.echo, minutes=minutes)
        click.echo(table.read_text(encoding="utf-8"))
        return
    file = find_config(network, options["config"])
    others = {"split": options["split"]} if options["split"] else {}
    place = out / "-".join([file.stem, *others.values()])
    config = read_config(file, data=sets, out=place, start=start, minutes=minutes, **others)
    if config.network != network:
        raise click.UsageError(f"{file.name} is about {config.network}.")
    click.echo(f"best weights: {run(config, click.echo)}")
    if figures_file(place).is_file():
        click.echo(figures_file(place).read_text(encoding="utf-8"))


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
