"""The commands that run a stack on this machine, and those that look after its store."""

from datetime import UTC, datetime
from pathlib import Path

import click

from neurobatch.cli import SUCCEEDED, code_of, console_for, json_option, options_given, say_json
from neurobatch.codes import DISCLAIMER
from neurobatch.display import show_batch
from neurobatch.records import Options
from neurobatch.settings import load_settings


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Copy all results into this folder.")
@click.option("--new", is_flag=True, help="Begin afresh, also where the same command was given before.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.option("--label", default="", help="Your own word for the batch.")
@json_option
@options_given
def process(
    paths: tuple[Path, ...], options: Options, to: Path | None, new: bool, dry_run: bool, label: str, as_json: bool
) -> int:
    """Judge folders, archives (.zip, .tar, .tar.gz) or files on this machine.

    They are read in place. Ctrl-C stops; the same command goes on where it stopped, or shows the results.
    """
    from deploy.local.forecast import forecast, show_forecast
    from deploy.local.gateway import open_local
    from deploy.local.processing import Asked
    from deploy.local.processing import process as run

    settings = load_settings()
    console = console_for(errors=as_json)
    if dry_run:
        told = forecast(paths, options, settings)
        say_json(told.model_dump(mode="json")) if as_json else show_forecast(console, told)
        return SUCCEEDED
    status = run(Asked(paths=paths, options=options, to=to, new=new, label=label), settings, console)
    gateway = open_local(settings)
    if as_json:
        say_json(status.model_dump(mode="json"))
    else:
        show_batch(console, status, gateway.results(status.id))
        for line in gateway.places(status.id, taken=to is not None):
            console.print(line, highlight=False, soft_wrap=True)
    return code_of(status)


@click.command()
@click.option("--host", help="Address to bind to. Beyond loopback a token is needed (NEUROBATCH_TOKENS).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 for any free one.")
@click.option("--browser", is_flag=True, help="Open the console in a browser.")
def serve(host: str | None, port: int | None, browser: bool) -> int:
    """Serve API and console on this machine, with a worker and a broker, until Ctrl-C."""
    from deploy.local.serving import serve as run

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    click.echo(DISCLAIMER, err=True)
    run(load_settings(**given), lambda line: click.echo(line, err=True), browser=browser)
    return SUCCEEDED


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@json_option
def gc(dry_run: bool, as_json: bool) -> int:
    """Remove expired batches, remains of deleted ones, and artifacts of tries that lost."""
    from deploy.local.gateway import open_ledger
    from storage.gc import sweep

    settings = load_settings()
    swept = sweep(open_ledger(settings), settings.tenant, datetime.now(UTC), dry_run=dry_run)
    if as_json:
        say_json({"objects": swept.objects, "bytes": swept.size, "expired": swept.expired, "dry_run": dry_run})
    else:
        word = "would be removed" if dry_run else "removed"
        click.echo(f"{swept.objects} objects ({swept.size / 1e6:.1f} MB) and {swept.expired} expired batches {word}")
    return SUCCEEDED


@click.command("prepare-engines")
def prepare_engines() -> int:
    """Make what the engines need from the weights, and compile kernels, ahead of the first run."""
    from models.engines.choice import prepare_engines as prepare
    from pipeline.prepare.compiled import keep_in
    from pipeline.prepare.denoise import warm

    settings = load_settings()
    keep_in(settings.engines_folder)
    warm()
    click.echo("the denoiser is ready", err=True)
    for name in prepare(settings.engines_folder, settings.engine):
        click.echo(f"{name} is ready", err=True)
    return SUCCEEDED
