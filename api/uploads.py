"""Bodies of `POST /v1/batches`: files, streamed to the store as they come; or names below a root.

Neither memory nor a temporary file ever holds an upload: a part's bytes go from the socket to the store.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO

from flask import Request
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Event,
    Field,
    File,
    MultipartDecoder,
    NeedData,
)

from api.intake import Handover, Wish
from api.problems import Invalid
from api.shapes import Fault, Named, Submission
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import Options, RootSource
from storage.roots import Roots

READ = 256 << 10  # bytes taken from the socket at once
LARGEST_FIELD = 64 << 10  # bytes of one form field, or of one part's headers
LARGEST_JSON = 1 << 20  # bytes
LONGEST_KEY = 255  # characters
FIELDS = ("options", "label", "expires")

_EXPIRES: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


def idempotency_key(request: Request) -> str | None:
    """The `Idempotency-Key`, where one was sent. Raises `Refused(invalid_field)`."""
    sent = request.headers.get("Idempotency-Key")
    if sent is not None and not (sent.isascii() and sent.isprintable() and 0 < len(sent) <= LONGEST_KEY):
        raise Refused(Code.INVALID_FIELD, f"Idempotency-Key: 1 to {LONGEST_KEY} printable ASCII characters.")
    return sent


def from_form(request: Request, handover: Handover) -> Wish:
    """Stream every file of a multipart body into the handover; returns what else was asked.

    Raises:
        Refused: `bad_request` for what is no multipart; `too_large`, `too_many_files`, `invalid_field`.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary:
        raise Refused(Code.BAD_REQUEST, "The multipart body names no boundary.")
    form = _Form(request.stream, boundary)
    told: dict[str, str] = {}
    for part in form.parts():
        if isinstance(part, File):
            _take_file(form, part, handover)
        elif part.name not in FIELDS:
            raise Invalid([Fault(pointer="/" + str(part.name)[:64], detail=f"fields are {', '.join(FIELDS)}")])
        else:
            told[part.name] = form.text()
            _wish(told, None)  # what is wrong is said before the files are taken
    return _wish(told, idempotency_key(request))


def from_json(request: Request, handover: Handover, roots: Roots) -> Wish:
    """Name what lies below the operator's roots. Raises `Refused`: `bad_request`, `outside_roots`, …"""
    try:
        asked = Submission.model_validate(_json_body(request))
    except ValidationError as error:
        raise Invalid.of(error) from None
    for number, named in enumerate(asked.sources):
        handover.refer(_admitted(named, number, roots))
    return Wish(
        options=asked.options,
        label=asked.label,
        expires=asked.expires,
        idempotency_key=idempotency_key(request),
    )


def _admitted(named: Named, number: int, roots: Roots) -> RootSource:
    if (named.root is None) == (named.place is None):
        raise Invalid([Fault(pointer=f"/sources/{number}", detail="either root (and path) or place is given")])
    if named.place is not None:
        return roots.locate(named.place)
    try:
        return roots.admit(RootSource(root=named.root or "", path=named.path))
    except ValidationError as error:
        raise Invalid.of(error, f"sources/{number}") from None


def _json_body(request: Request) -> object:
    data = request.stream.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise Refused(Code.TOO_LARGE, f"A JSON body has at most {LARGEST_JSON} bytes.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(Code.BAD_REQUEST, "The body is not JSON.") from None


def _wish(told: Mapping[str, str], key: str | None) -> Wish:
    try:
        options = Options.model_validate_json(told.get("options") or "{}")
    except ValidationError as error:
        raise Invalid.of(error, "options") from None
    try:
        expires = _EXPIRES.validate_python(told["expires"]) if told.get("expires") else None
    except ValidationError as error:
        raise Invalid.of(error, "expires") from None
    label = told.get("label", "")
    if len(label) > 200:
        raise Invalid([Fault(pointer="/label", detail="at most 200 characters")])
    return Wish(options=options, label=label, expires=expires, idempotency_key=key)


def _take_file(form: "_Form", part: File, handover: Handover) -> None:
    chunks = form.chunks()
    first = next(chunks, b"")
    if not part.filename and not first:
        return  # a browser's file field in which nothing was chosen
    handover.upload(part.filename, _after(first, chunks))


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


class _Form:
    """A multipart body as it comes: parts in order, and the bytes of the part that is open."""

    def __init__(self, stream: IO[bytes], boundary: str) -> None:
        self._stream = stream
        self._decoder = MultipartDecoder(boundary.encode("latin-1", "replace"))
        self._open = False  # a part whose bytes have not all been taken

    def parts(self) -> Iterator[Field | File]:
        """Parts; what a caller leaves of one is passed over."""
        while True:
            event = self._next()
            if isinstance(event, Epilogue):
                return
            if isinstance(event, Field | File):
                self._open = True
                yield event
                for _ in self.chunks():
                    pass

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the open part."""
        while self._open:
            event = self._next()
            assert isinstance(event, Data), "only data follow a part's head"  # the decoder's promise
            self._open = event.more_data
            if event.data:
                yield event.data

    def text(self) -> str:
        """The open part as text. Raises `Refused`."""
        data = b""
        for chunk in self.chunks():
            data += chunk
            if len(data) > LARGEST_FIELD:
                raise Refused(Code.TOO_LARGE, f"A field has at most {LARGEST_FIELD} bytes.")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Refused(Code.BAD_REQUEST, "A field is not UTF-8.") from None

    def _read(self) -> bytes | None:
        try:
            return self._stream.read(READ) or None
        except OSError:  # how gunicorn says that the client went away
            raise Refused(Code.BAD_REQUEST, "The body was cut short.") from None

    def _next(self) -> Event:
        while True:
            try:
                event = self._decoder.next_event()
                if not isinstance(event, NeedData):
                    return event
                if not self._open and len(self._decoder.buffer) > LARGEST_FIELD + READ:
                    raise Refused(Code.BAD_REQUEST, "A part's head is too long.")
                self._decoder.receive_data(self._read())
            except (ValueError, RequestEntityTooLarge, AttributeError):
                raise Refused(Code.BAD_REQUEST, "The multipart body is damaged or cut short.") from None
