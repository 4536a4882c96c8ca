"""Answers that can be asked for again: JSON with an ETag, and objects of the store with ETag and Range."""

import hashlib
from collections.abc import Iterator
from urllib.parse import quote

from flask import Request, Response
from pydantic import BaseModel

from storage.objects import Objects

JSON = "application/json"


def answer(body: BaseModel, status: int = 200) -> Response:
    """A record as JSON."""
    return Response(body.model_dump_json(), status=status, content_type=JSON)


def fresh(request: Request, body: BaseModel) -> Response:
    """A record as JSON with an ETag over it; 304 where the caller has just this."""
    response = answer(body)
    response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request)  # type: ignore[return-value]  # returns the response itself


def attached(response: Response, filename: str, *, inline: bool = False) -> Response:
    """Say under which name a download is to be saved (RFC 6266)."""
    plain = "".join(letter if letter.isascii() and letter not in '"\\%;' else "_" for letter in filename)
    kind = "inline" if inline else "attachment"
    response.headers["Content-Disposition"] = (
        f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
    )
    return response


def content(request: Request, store: Objects, name: str, *, size: int, sha256: str, media_type: str) -> Response:
    """An object as it lies in the store, streamed; whole, or the one range that was asked for.

    Raises:
        Missing: the object is not there.
    """
    start, length, status = 0, size, 200
    if request.if_none_match.contains(sha256):
        return _described(Response(status=304), sha256)
    asked = request.range if request.if_range.etag in (None, sha256) and request.if_range.date is None else None
    if asked is not None and asked.units == "bytes" and len(asked.ranges) == 1:
        found = asked.range_for_length(size)
        if found is None:
            response = Response(status=416)
            response.headers["Content-Range"] = f"bytes */{size}"
            return response
        start, length, status = found[0], found[1] - found[0], 206
    chunks: Iterator[bytes] = store.read(name, start=start, length=length)
    response = Response(() if request.method == "HEAD" else chunks, status=status, content_type=media_type)
    response.headers["Content-Length"] = str(length)
    if status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return _described(response, sha256)


def _described(response: Response, sha256: str) -> Response:
    response.set_etag(sha256)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    return response
