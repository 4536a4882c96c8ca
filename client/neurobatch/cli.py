"""The command `neurobatch`: what it shares among its commands, and those that look at batches.

The server distribution adds its own (`process`, `serve`, `worker`, …) by entry points of the group
`neurobatch.commands`; each is imported only when it is called, or when help is asked for.

Exit codes: 0 all succeeded, 3 some scans failed or were cancelled, 2 wrong use, 1 broken.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from neurobatch.codes import DISCLAIMER
from neurobatch.display import follow, show_batch
from neurobatch.errors import NeurobatchError, Refused
from neurobatch.gateway import TOKEN, URL, Gateway, open_gateway
from neurobatch.records import BatchState, Label, Options, ScanState, Status
from neurobatch.settings import PREFIX, load_settings, origin
from neurobatch.taking import printable, take
from neurobatch.version import VERSION

WIDE = 160  # columns where no terminal says how many it has
SUCCEEDED, BROKEN, WRONG_USE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """Commands of this distribution, and those that entry points add."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        added = (entry.name for entry in entry_points(group="neurobatch.commands"))
        return sorted({*super().list_commands(ctx), *added})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for entry in entry_points(group="neurobatch.commands", name=cmd_name):
            command = entry.load()
            assert isinstance(command, click.Command)
            return command
        return None


def options_given(command: F) -> F:
    """Add the options of a batch to a command; they arrive as the keyword `options`, an `Options`."""

    def collected(*args: Any, **given: Any) -> Any:
        fields = {
            name: given.pop(name) for name in ("classifier", "segment", "profile", "threshold", "series", "queue")
        }
        return command(*args, options=Options.model_validate(fields), **given)

    collected.__name__, collected.__doc__ = command.__name__, command.__doc__
    collected.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]  # click's own place for them
    for option in reversed(_BATCH_OPTIONS):
        collected = option(collected)
    return collected  # type: ignore[return-value]  # the same but for the keywords that click fills


_BATCH_OPTIONS = (
    click.option("--classifier", type=click.Choice(["mobilenet", "resnet50v2", "both"]), default="mobilenet",
                 show_default=True, help="Which network judges."),
    click.option("--segment", type=click.Choice(["positive", "all", "none"]), default="positive", show_default=True,
                 help="Which scans get a mask: those judged positive, all, none."),
    click.option("--profile", type=click.Choice(["plain", "nlm-clahe"]), default=None,
                 help="Prepare slices otherwise than each network was trained; results say so."),
    click.option("--threshold", type=click.FloatRange(0, 1), default=None,
                 help="Probability from which a scan is positive. Default: each network's own."),
    click.option("--series", type=click.Choice(["uid", "folder"]), default="uid", show_default=True,
                 help="Group DICOM files by Series UID wherever they lie, or folder by folder."),
    click.option("--queue", type=click.Choice(["urgent", "normal", "bulk"]), default="normal", show_default=True,
                 help="How urgent the batch is."),
)  # fmt: skip

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, for programs.")
_url = click.option("--url", envvar=URL, help="The server. Default: this machine's own store.")
_token = click.option("--token", envvar=TOKEN, help="The server's token.", hidden=True)


def console_for(*, errors: bool = False) -> Console:
    """Where a person reads; a file or a pipe gets wide lines, so that no name is broken in two."""
    console = Console(stderr=errors)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(stderr=errors, width=WIDE)


def say_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    click.echo(json.dumps(value, ensure_ascii=False))


def code_of(status: Status) -> int:
    """The exit code that a batch's end has."""
    if status.state is BatchState.FAILED or status.state is BatchState.ABANDONED:
        return BROKEN
    counts = status.counts
    return SOME_FAILED if counts.failed or counts.cancelled or status.state is BatchState.CANCELLED else SUCCEEDED


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="neurobatch")
def cli() -> None:
    """Judge archives of brain MR scans: tumour findings, masks and reports.

    \b
    Exit codes: 0 all succeeded, 3 some scans failed, 2 wrong use, 1 broken.
    """


cli.epilog = DISCLAIMER


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--label", default="", help="Your own word for the batch.")
@click.option("--key", help="Idempotency-Key: the same submission sent again makes one batch.")
@click.option("--wait", is_flag=True, help="Show progress until the batch ends.")
@_url
@_token
@json_option
@options_given
def submit(
    paths: tuple[Path, ...],
    options: Options,
    label: str,
    key: str | None,
    wait: bool,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> int:
    """Hand files, folders and archives over to a server."""
    gateway = open_gateway(url, token)
    status = gateway.submit(paths, options, label=label, key=key)
    if wait:
        status = follow(lambda: gateway.status(status.id), console_for(errors=True))
    if as_json:
        say_json(status.model_dump(mode="json"))
    elif wait:
        show_batch(console_for(), status, gateway.results(status.id))
    else:
        click.echo(status.id)
    return code_of(status)


@cli.command()
@click.argument("batch", required=False)
@click.option("--watch", is_flag=True, help="Show progress until the batch ends.")
@_url
@_token
@json_option
def status(batch: str | None, watch: bool, url: str | None, token: str | None, as_json: bool) -> int:
    """Show where a batch stands, or list all batches."""
    gateway = open_gateway(url, token)
    if batch is None:
        _list_batches(gateway.batches(), as_json)
        return SUCCEEDED
    found = follow(lambda: gateway.status(batch), console_for(errors=True)) if watch else gateway.status(batch)
    if as_json:
        say_json(found.model_dump(mode="json"))
    else:
        show_batch(console_for(), found, gateway.results(batch))
    return code_of(found)


def _list_batches(batches: Iterable[Status], as_json: bool) -> None:
    if as_json:
        say_json([status.model_dump(mode="json") for status in batches])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("batch", "created", "state", "scans", "tumour", "failed", "label"):
        table.add_column(name, justify="right" if name in ("scans", "tumour", "failed") else "left")
    for each in batches:
        counts = each.counts
        table.add_row(
            each.id, f"{each.created:%Y-%m-%d %H:%M}", each.state.value,
            f"{counts.done}/{each.scans}", str(counts.tumour), str(counts.failed), printable(each.label),
        )  # fmt: skip
    console_for().print(table)


@cli.command()
@click.argument("batch")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="Copy all results there.")
@click.option("--state", type=click.Choice([state.value for state in ScanState][1:]), help="Only scans in this state.")
@click.option("--finding", type=click.Choice([label.value for label in Label]), help="Only scans with this finding.")
@click.option("--left-out", "left_out", is_flag=True, help="List the files that are in no scan instead.")
@_url
@_token
@json_option
def results(
    batch: str,
    folder: Path | None,
    state: str | None,
    finding: str | None,
    left_out: bool,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> int:
    """Show a batch's results, or copy them into a folder."""
    gateway = open_gateway(url, token)
    found = gateway.status(batch)
    if folder is not None:
        taken = take(gateway, batch, folder)
        click.echo(f"{taken} files copied to {folder}", err=as_json)
    elif left_out:
        for line in gateway.left_out(batch):
            click.echo(line.dump() if as_json else f"{line.code.value}\t{printable(line.path)}")
    else:
        _show_results(gateway, found, state, finding, as_json)
    return code_of(found)


def _show_results(gateway: Gateway, found: Status, state: str | None, finding: str | None, as_json: bool) -> None:
    chosen = gateway.results(
        found.id, state=ScanState(state) if state else None, finding=Label(finding) if finding else None
    )
    if as_json:
        for result in chosen:
            click.echo(result.dump())
    else:
        show_batch(console_for(), found, chosen, rows=1_000_000)


@cli.command()
@click.argument("batch")
@_url
@_token
@json_option
def cancel(batch: str, url: str | None, token: str | None, as_json: bool) -> int:
    """Cancel a batch; scans that are done keep their results."""
    found = open_gateway(url, token).cancel(batch)
    if as_json:
        say_json(found.model_dump(mode="json"))
    else:
        click.echo("cancelled" if found.state is BatchState.CANCELLED else "cancelling")
    return SUCCEEDED


@cli.command()
@click.argument("batch")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_url
@_token
def delete(batch: str, yes: bool, url: str | None, token: str | None) -> int:
    """Delete a batch and all its results; one that still runs is cancelled first."""
    if not yes and not click.confirm("Delete the batch and all its results?"):
        return WRONG_USE
    open_gateway(url, token).delete(batch)
    click.echo("deleted")
    return SUCCEEDED


@cli.command()
@json_option
def settings(as_json: bool) -> int:
    """Show every setting in force, and whence it comes."""
    found = load_settings()
    rows = [
        (PREFIX + name.upper(), _shown(getattr(found, name)), origin(name, found)) for name in type(found).model_fields
    ]
    if as_json:
        say_json({name: {"value": value, "from": whence} for name, value, whence in rows})
        return SUCCEEDED
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console_for().print(table)
    return SUCCEEDED


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "**********"
    if isinstance(value, dict):
        return ",".join(f"{name}={_shown(each)}" for name, each in value.items())
    return "" if value is None else str(value)


def main() -> NoReturn:
    """Run the command; a user's mistake is one line on standard error, never a stack trace."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_USE)
    except NeurobatchError as error:
        _tell(error)
        sys.exit(WRONG_USE if isinstance(error, Refused) else BROKEN)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `neurobatch … | head`
        sys.stdout = None  # nothing is flushed into the closed pipe at exit
        sys.exit(SUCCEEDED)
    sys.exit(code if isinstance(code, int) else SUCCEEDED)


def _tell(error: NeurobatchError) -> None:
    if "--json" in sys.argv:
        say_json({"code": error.code, "title": error.code.sentence, "detail": error.detail})
    else:
        click.echo(f"neurobatch: {error.message} ({error.code})", err=True)
