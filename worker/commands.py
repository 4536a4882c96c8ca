"""The commands `neurobatch worker` and `neurobatch recover`."""

import signal
from types import FrameType

import click

from neurobatch.cli import json_option, say_json
from neurobatch.settings import load_settings
from worker.log import log_to_stderr


@click.command()
def worker() -> None:
    """Work on batches until told to stop.

    Needs NEUROBATCH_BROKER and the same store as the API. Ctrl-C and SIGTERM end it within 30 seconds: what is under
    way is finished or handed back. A second Ctrl-C ends it at once; nothing is lost by that either.
    """
    from pipeline.prepare.compiled import keep_in
    from worker.app import Worker

    settings = load_settings()
    keep_in(settings.engines_folder)
    log_to_stderr(settings.log_level)
    running = Worker(settings)

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        running.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    running.run()


@click.command()
@json_option
def recover(as_json: bool) -> None:
    """Look once for work that was lost, and ring for it. Workers do so by themselves every few seconds."""
    from worker.app import Parts

    look = Parts.of(load_settings()).recovery().look()
    if as_json:
        rung = [{"task": task, "batch": batch, "number": number} for task, batch, number in look.rung]
        say_json({"open": look.batches, "rung": rung, "recounted": look.recounted, "broken": look.broken})
        return
    click.echo(f"{look.batches} open batches; {len(look.rung)} bells rung; {look.recounted} counted anew")
    for task, batch, number in look.rung:
        click.echo(f"  {task} {batch}" + (f" {number}" if task == "shard" else ""))
    for batch in look.broken:
        click.echo(f"  broken {batch}: see the log")
