"""Scans over HTTP: a batch's list of them, one of them, and its artifacts."""

from itertools import islice

from apiflask import APIBlueprint
from flask import Response, request

from api.answers import attached, content, fresh
from api.document import gives
from api.listings import scan, scan_page
from api.services import key_of, services
from api.shapes import ScanPage, ScanQuery, ScanView
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import ScanKind, UploadSource
from neurobatch.taking import taken_name
from storage import names

scans = APIBlueprint("scans", __name__, url_prefix="/v1/batches/<batch>/scans", tag="scans")

HEAD = 16  # bytes that tell what a picture is

_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"BM": "image/bmp"}
_SHOWN = ("image/png", "application/json")  # a browser shows these itself


@scans.get("")
@scans.input(ScanQuery, location="query", arg_name="query")
@scans.output(ScanPage)
@scans.doc(operation_id="list_scans")
def index(batch: str, query: ScanQuery) -> Response:
    """List scans in plan order, also while the batch runs

    Filter by `state` and `finding`. A page may hold fewer scans than `limit`; go on while there is a `next`.
    """
    key = key_of(batch)
    services().ledger.batch(key)
    page = scan_page(
        services().ledger,
        key,
        limit=query.limit,
        cursor=query.cursor,
        state=query.state,
        finding=query.finding,
    )
    return fresh(request, page)


@scans.get("/<scan_id>")
@scans.output(ScanView)
@scans.doc(operation_id="get_scan")
def show(batch: str, scan_id: str) -> Response:
    """Look at one scan: its finding, extents, warnings and artifacts"""
    key = key_of(batch)
    services().ledger.batch(key)
    return fresh(request, scan(services().ledger, key, scan_id))


@scans.get("/<scan_id>/artifacts/<name>")
@scans.doc(
    operation_id="get_artifact",
    responses=gives("*/*", {200: "The file.", 206: "The range that was asked for."}),
)
def artifact(batch: str, scan_id: str, name: str) -> Response:
    """Get one file of a scan's result: mask, overlay, report

    Its ETag is its SHA-256; `Range` is understood; `?download=1` has a browser save it.
    """
    key = key_of(batch)
    services().ledger.batch(key)
    view = scan(services().ledger, key, scan_id)
    for each in view.artifacts:
        if each.name == name:
            response = content(
                request,
                services().ledger.objects,
                names.artifact(key, scan_id, names.result_digest(view.artifacts), name),
                size=each.size,
                sha256=each.sha256,
                media_type=each.media_type,
            )
            shown = each.media_type in _SHOWN and "download" not in request.args
            filename = taken_name(view.path, name).rpartition("/")[2]
            return attached(response, filename, inline=shown)
    raise Refused(Code.NOT_FOUND, "The scan has no such artifact.")


@scans.get("/<scan_id>/picture")
@scans.doc(operation_id="get_picture", responses=gives("image/*", {200: "The picture as it was uploaded."}))
def picture(batch: str, scan_id: str) -> Response:
    """Get the picture that a scan is, as it was uploaded

    Only for pictures that were uploaded by themselves and that browsers show; 404 for all others.
    """
    key = key_of(batch)
    accepted = services().ledger.batch(key)
    view = scan(services().ledger, key, scan_id)
    source = next(islice(services().ledger.sources(accepted), view.source, None), None)
    if view.kind is ScanKind.PICTURE and isinstance(source, UploadSource):
        name = names.upload(key, source.number)
        head = b"".join(services().ledger.objects.read(name, length=HEAD))
        media_type = shown_type(head)
        if media_type is not None:
            response = content(
                request,
                services().ledger.objects,
                name,
                size=source.size,
                sha256=source.sha256,
                media_type=media_type,
            )
            return attached(response, taken_name(view.path, "").rstrip("_").rpartition("/")[2], inline=True)
    raise Refused(Code.NOT_FOUND, "There is no picture of this scan that a browser could show.")


def shown_type(head: bytes) -> str | None:
    """The media type of a picture that every browser shows, told by its first bytes; None for all else."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _MAGIC.items() if head.startswith(start)), None)
