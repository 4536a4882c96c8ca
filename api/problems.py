"""Every error as `application/problem+json` (RFC 9457), with a stable code and nothing that leaks."""

import logging
import traceback
import uuid
from collections.abc import Iterable

from apiflask import APIFlask, HTTPError
from flask import Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from api.shapes import Fault, Problem
from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
_LATER = (429, 503, 507)

_BY_STATUS = {
    400: Code.BAD_REQUEST,
    401: Code.UNAUTHORISED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    406: Code.NOT_ACCEPTABLE,
    410: Code.GONE,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    422: Code.INVALID_FIELD,
    429: Code.RATE_LIMITED,
}

_log = logging.getLogger("neurobatch.api")


class Invalid(NeurobatchError):
    """Fields that are not allowed, each with its place; values are not repeated."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        super().__init__(Code.INVALID_FIELD)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, error: ValidationError, within: str = "") -> "Invalid":
        """What pydantic found wrong, below the field `within`."""
        found = error.errors(include_input=False, include_url=False, include_context=False)
        above = (within,) if within else ()
        return cls(
            Fault(pointer="".join(f"/{part}" for part in (*above, *fault["loc"])), detail=fault["msg"])
            for fault in found
        )


def problem(
    code: Code,
    detail: str | None = None,
    *,
    status: int | None = None,
    errors: tuple[Fault, ...] = (),
    incident: str | None = None,
) -> Response:
    """The response to an error."""
    status = status or code.status
    body = Problem(
        type=f"/v1/codes#{code}",
        title=code.sentence,
        status=status,
        detail=detail or None,
        code=code,
        errors=errors,
        incident=incident,
    )
    response = Response(body.model_dump_json(exclude_defaults=True), status=status, content_type=MEDIA_TYPE)
    if status in _LATER:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="neurobatch"'
    return response


def register(app: APIFlask) -> None:
    """Have every error that leaves a view, or finds none, answered as a problem."""
    app.register_error_handler(NeurobatchError, _on_purpose)
    app.register_error_handler(HTTPError, _from_apiflask)
    app.register_error_handler(HTTPException, _from_werkzeug)
    app.register_error_handler(Exception, _unexpected)


def _on_purpose(error: NeurobatchError) -> Response:
    if isinstance(error, Invalid):
        return problem(error.code, errors=error.faults)
    if isinstance(error, Broken):
        return _unexpected(error)
    return problem(error.code, error.detail)


def _from_apiflask(error: HTTPError) -> Response:
    """A query or body that its model refuses: `{location: {field: [messages]}}`."""
    if not isinstance(error.detail, dict) or error.status_code != 422:
        return problem(_BY_STATUS.get(error.status_code, Code.BAD_REQUEST), status=error.status_code)
    return problem(
        Code.INVALID_FIELD,
        errors=tuple(
            Fault(pointer=f"/{field}", detail=str(message))
            for fields in error.detail.values()
            for field, messages in dict(fields).items()
            for message in messages
        ),
    )


def _from_werkzeug(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:  # a redirect
        moved = error.get_response()
        return Response(moved.get_data(), status=status, headers=list(moved.headers))
    otherwise = Code.INTERNAL if status >= 500 else Code.BAD_REQUEST
    response = problem(_BY_STATUS.get(status, otherwise), status=status)
    response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
    return response


def _unexpected(error: Exception) -> Response:
    """The caller gets a number; the log gets where it happened, without texts that could name a patient."""
    incident = uuid.uuid4().hex[:12]
    frames = "".join(traceback.format_tb(error.__traceback__))
    told = error.message if isinstance(error, Broken) else ""
    _log.error("request_failed %s %s %s\n%s", incident, type(error).__name__, told, frames)
    code = error.code if isinstance(error, Broken) else Code.INTERNAL
    return problem(code, incident=incident)
