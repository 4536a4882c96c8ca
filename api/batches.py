"""Batches over HTTP: hand over, list, look, cancel, delete."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

from apiflask import APIBlueprint
from flask import Response, request

from api.answers import answer, fresh
from api.listings import left_out_page, newest_batches
from api.services import key_of, services, tenant
from api.shapes import BatchPage, LeftOutPage, ListQuery
from api.uploads import from_form, from_json
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import Batch, Status
from storage.names import BatchKey, batch_key
from storage.status import StatusReader

READERS = 8  # statuses that one list reads from the store at a time

batches = APIBlueprint("batches", __name__, url_prefix="/v1/batches", tag="batches")


@batches.post("")
@batches.output(Status, status_code=202, description="The batch is accepted; it is worked on from now.")
@batches.doc(operation_id="submit_batch")
def submit() -> Response:
    """Hand over a batch

    Either `multipart/form-data` with files (scans, .zip, .tar, .tar.gz; a file name may carry its path) and the
    fields `options` (JSON), `label`, `expires`; or `application/json` that names folders, files, prefixes or
    objects below the operator's roots. With an `Idempotency-Key` the same request may be sent again and makes
    one batch.
    """
    intake = services().intake
    if request.content_length and request.content_length > services().settings.upload_limit + (64 << 20):
        raise Refused(Code.TOO_LARGE)
    with intake.begin(tenant()) as handover:
        if request.mimetype == "multipart/form-data":
            wish = from_form(request, handover)
        elif request.mimetype == "application/json":
            wish = from_json(request, handover, services().roots)
        else:
            raise Refused(Code.UNSUPPORTED_MEDIA_TYPE, "Send multipart/form-data or application/json.")
        return _accepted(handover.accept(wish))


def _accepted(batch: Batch) -> Response:
    response = answer(services().status.read(key_of(batch.id)), 202)
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    return response


@batches.get("")
@batches.input(ListQuery, location="query", arg_name="query")
@batches.output(BatchPage)
@batches.doc(operation_id="list_batches")
def index(query: ListQuery) -> Response:
    """List batches, newest first"""
    ledger = services().ledger
    before = batch_key(tenant(), query.cursor).batch if query.cursor else None
    found = list(islice(newest_batches(ledger, tenant(), before), query.limit + 1))
    keys = [key_of(batch) for batch in found[: query.limit]]
    with ThreadPoolExecutor(READERS) as pool:
        read = pool.map(partial(_status_of, services().status), keys)
        items = tuple(status for status in read if status is not None)
    more = found[query.limit - 1] if len(found) > query.limit else None
    return fresh(request, BatchPage(items=items, next=more))


def _status_of(reader: StatusReader, key: BatchKey) -> Status | None:
    try:
        return reader.read(key)
    except Refused:  # being handed over, or being deleted
        return None


@batches.get("/<batch>")
@batches.output(Status)
@batches.doc(operation_id="get_batch")
def show(batch: str) -> Response:
    """Look where a batch stands

    Cheap to ask again: send the `ETag` back as `If-None-Match`, and 304 says that nothing has changed.
    """
    return fresh(request, services().status.read(key_of(batch)))


@batches.post("/<batch>/cancel")
@batches.output(Status, status_code=202)
@batches.doc(operation_id="cancel_batch")
def cancel(batch: str) -> Response:
    """Cancel a batch

    Scans that are done keep their results; all others become `cancelled`. `cancelling` is true until then.
    """
    key = key_of(batch)
    services().intake.cancel(key)
    return answer(services().status.read(key, look=True), 202)


@batches.delete("/<batch>")
@batches.doc(operation_id="delete_batch", responses={202: "The batch is gone; its bytes follow."})
def delete(batch: str) -> Response:
    """Delete a batch and all under it

    One that still runs is cancelled first. From now on it answers 410, and 404 once nothing is left of it.
    """
    key = key_of(batch)
    services().intake.delete(key)
    services().status.forget(key)
    return Response(status=202)


@batches.get("/<batch>/left-out")
@batches.input(ListQuery, location="query", arg_name="query")
@batches.output(LeftOutPage)
@batches.doc(operation_id="list_left_out")
def left_out(batch: str, query: ListQuery) -> Response:
    """List the files that are in no scan, and why"""
    key = key_of(batch)
    services().ledger.batch(key)
    return fresh(request, left_out_page(services().ledger, key, limit=query.limit, cursor=query.cursor))
