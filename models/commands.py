"""The commands `neurobatch train` and `neurobatch evaluate`; what they need is imported when they run."""

import json
from pathlib import Path

import click

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
@click.argument("network", type=click.Choice(["mobilenet", "resnet50v2", "unet"]))
@click.option("--data", type=FOLDER, required=True, help="A set (slices.csv or images.csv), or a folder of sets.")
@click.option("--split", help="Rows of this split only; all rows otherwise.")
@click.option("--engine", type=click.Choice(["auto", "openvino", "tensorflow"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write every figure here.")
def evaluate(network: str, data: Path, split: str | None, engine: str, precision: str, target: Path | None) -> None:
    """Measure the shipped NETWORK on labelled pictures."""
    from models.engines.choice import choose
    from models.evaluate import evaluate as run
    from models.registry import networks, open_weights
    from neurobatch.settings import load_settings

    chosen = choose(
        engine, load_settings().engines_folder, precision="bfloat16" if precision == "bfloat16" else "float32"
    )
    figures = run(networks()[network], open_weights(network), data, chosen, split)
    text = json.dumps(figures, indent=1)
    if target is not None:
        target.write_text(text + "\n", encoding="utf-8")
    click.echo(text)
