"""The Flask app: blueprints, who may ask, and the headers that every answer carries."""

from pathlib import Path

from apiflask import APIFlask
from flask import Response, g, request

from api import document, problems
from api.about import about
from api.batches import batches
from api.downloads import downloads
from api.pages import pages
from api.scans import scans
from api.services import EXTENSION, Services, services
from neurobatch.version import VERSION

OPEN = ("/healthz", "/readyz")  # asked by probes, which hold no token

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


def build_app(wired: Services) -> APIFlask:
    """The app over these services."""
    app = APIFlask(
        "api",
        title="neurobatch",
        version=VERSION,
        spec_path="/openapi.json",
        docs_path=None,
        json_errors=False,
        static_folder=None,  # type: ignore[arg-type]  # Flask takes None for no static files
        root_path=str(Path(__file__).parent),
    )
    app.extensions[EXTENSION] = wired
    app.url_map.strict_slashes = False
    problems.register(app)
    document.register(app)
    app.before_request(_admit)
    app.after_request(_headers)
    for blueprint in (batches, scans, downloads, about, pages):
        app.register_blueprint(blueprint)
    return app


def _admit() -> None:
    """Console pages and the document are the same for everyone; all under `/v1` belongs to a tenant."""
    door = services().door
    if request.path.startswith("/v1/"):
        g.tenant = door.admit(request)
    elif request.path not in OPEN:
        door.guard(request)


def _headers(response: Response) -> Response:
    page = response.mimetype in ("text/html", "text/javascript", "text/css", "image/svg+xml")
    response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY if page else _DATA_POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response
