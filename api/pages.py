"""The console and the pages of the API: files of this package, nothing from elsewhere."""

from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, request

from neurobatch.codes import Code
from neurobatch.errors import Refused

pages = APIBlueprint("pages", __name__, enable_openapi=False)

CONSOLE = Path(__file__).parent / "console"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@pages.get("/")
def console() -> Response:
    """The console."""
    return _page("index.html")


@pages.get("/docs")
def reference() -> Response:
    """The API's reference, drawn from its OpenAPI document."""
    return _page("docs.html")


@pages.get("/console/<name>")
def asset(name: str) -> Response:
    """A part of the console."""
    return _page(name)


@pages.get("/favicon.ico")
def favicon() -> Response:
    """The mark of the console."""
    return _page("mark.svg")


def _page(name: str) -> Response:
    file = CONSOLE / name
    if file.suffix not in _TYPES or file.parent != CONSOLE or not file.is_file():
        raise Refused(Code.NOT_FOUND)
    response = Response(file.read_bytes(), content_type=_TYPES[file.suffix])
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]  # returns the response itself
