"""Scans over HTTP: a batch's list of them, one of them, and its artifacts."""

from apiflask import APIBlueprint
from flask import Response, request

from api.answers import attached, content, fresh
from api.document import gives
from api.downloads import taken_name
from api.listings import scan, scan_page
from api.services import key_of, services
from api.shapes import ScanPage, ScanQuery, ScanView
from neurobatch.codes import Code
from neurobatch.errors import Refused
from storage import names

scans = APIBlueprint("scans", __name__, url_prefix="/v1/batches/<batch>/scans", tag="scans")

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
