"""Results to take away: all lines as JSON Lines or CSV, or all as one zip that is made while it is sent."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from apiflask import APIBlueprint
from flask import Response, request
from stream_zip import ZIP_AUTO, Method, stream_zip

from api.answers import attached, content
from api.document import gives
from api.services import key_of, services
from neurobatch.codes import DISCLAIMER, Code
from neurobatch.errors import Refused
from neurobatch.records import Batch, DuplicateLine, End, LeftOutLine, NamedFile, Result
from neurobatch.tables import duplicates_header, duplicates_row, left_out_header, left_out_row
from neurobatch.taking import TakenNames, safe_segment, taken_name
from storage import names
from storage.ledger import Ledger, split_lines
from storage.names import BatchKey

downloads = APIBlueprint("downloads", __name__, url_prefix="/v1/batches/<batch>", tag="results")

_FILE_MODE = 0o100644

Member = tuple[str, datetime, int, Method, Iterable[bytes]]


@downloads.get("/results.jsonl")
@downloads.doc(
    operation_id="get_results_jsonl",
    responses=gives("application/jsonl", {200: "One result a line, in plan order."}),
)
def results_jsonl(batch: str) -> Response:
    """Get all results as JSON Lines, once the batch is finished"""
    return _file(batch, "results", "jsonl", "application/jsonl")


@downloads.get("/results.csv")
@downloads.doc(operation_id="get_results_csv", responses=gives("text/csv", {200: "One row a scan, in plan order."}))
def results_csv(batch: str) -> Response:
    """Get all results as a table, once the batch is finished"""
    return _file(batch, "table", "csv", "text/csv; charset=utf-8")


@downloads.get("/results.zip")
@downloads.doc(operation_id="get_results_zip", responses=gives("application/zip", {200: "All tables and artifacts."}))
def results_zip(batch: str) -> Response:
    """Get tables and all artifacts as one zip, once the batch is finished

    Artifacts lie under the source's own path, with `_mask.png`, `_overlay.png`, `_report.json` behind it.
    """
    accepted, key, end = _finished(batch)
    chunks = stream_zip(_members(services().ledger, key, end)) if request.method != "HEAD" else ()
    response = Response(chunks, content_type="application/zip")
    response.headers["Cache-Control"] = "private, no-cache"
    return attached(response, _filename(accepted, "zip"))


def _file(batch: str, field: str, ending: str, media_type: str) -> Response:
    accepted, key, end = _finished(batch)
    file: NamedFile | None = getattr(end, field)
    if file is None:
        raise Refused(Code.NOT_FOUND, "The batch has no results.")
    response = content(
        request,
        services().ledger.objects,
        key.prefix + file.name,
        size=file.size,
        sha256=file.sha256,
        media_type=media_type,
    )
    return attached(response, _filename(accepted, ending))


def _finished(batch: str) -> tuple[Batch, BatchKey, End]:
    key = key_of(batch)
    accepted = services().ledger.batch(key)
    end = services().ledger.end(key)
    if end is None:
        raise Refused(Code.NOT_FINISHED)
    return accepted, key, end


def _filename(batch: Batch, ending: str) -> str:
    label = safe_segment(batch.label.replace("/", "_")) if batch.label else "neurobatch"
    return f"{label}-{batch.id[-6:]}-results.{ending}"


def _members(ledger: Ledger, key: BatchKey, end: End) -> Iterator[Member]:
    at = end.finished
    yield _member("README.txt", at, DISCLAIMER.encode() + b"\n", None)
    for name, file in (("results.jsonl", end.results), ("results.csv", end.table)):
        if file is not None:
            yield _member(name, at, ledger.objects.read(key.prefix + file.name), file.size)
    if end.left_out_list is not None:
        yield _member("left-out.csv", at, _left_out_table(ledger, key, end.left_out_list), end.left_out_list.size)
    if end.duplicates is not None:
        yield _member("duplicates.csv", at, _duplicates_table(ledger, key, end.duplicates), end.duplicates.size)
    if end.results is None:
        return
    given = TakenNames()
    for line in split_lines(ledger.objects.read(key.prefix + end.results.name)):
        result = Result.load(line)
        above = given.above(result)
        for artifact in result.artifacts:
            name = names.artifact(key, result.scan, names.result_digest(result.artifacts), artifact.name)
            shown = above + taken_name(result.path, artifact.name)
            yield _member(shown, at, ledger.objects.read(name), artifact.size)


def _left_out_table(ledger: Ledger, key: BatchKey, file: NamedFile) -> Iterator[bytes]:
    yield left_out_header()
    for line in split_lines(ledger.objects.read(key.prefix + file.name)):
        yield left_out_row(LeftOutLine.load(line))


def _duplicates_table(ledger: Ledger, key: BatchKey, file: NamedFile) -> Iterator[bytes]:
    yield duplicates_header()
    for line in split_lines(ledger.objects.read(key.prefix + file.name)):
        yield duplicates_row(DuplicateLine.load(line))


def _member(name: str, at: datetime, body: bytes | Iterable[bytes], size: int | None) -> Member:
    """A file of the zip; pictures are compressed already, so that little effort is right."""
    if isinstance(body, bytes):
        body, size = (body,), len(body)
    return name, at, _FILE_MODE, ZIP_AUTO(size or 0, level=1), body
