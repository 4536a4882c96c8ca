"""The HTTP client: `Gateway` over the API of a server."""

import contextlib
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, Refused, Unavailable
from neurobatch.records import Artifact, Label, LeftOutLine, Options, Result, ScanState, Status, Value
from neurobatch.version import VERSION

V = TypeVar("V", bound=Value)

PAGE = 500  # items asked for at once
TIMEOUT = httpx.Timeout(10.0, read=300.0, write=300.0)  # seconds; a large upload is answered late


class Client:
    """Batches on a server. Close it, or use it in a `with` statement."""

    def __init__(self, url: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None):
        headers = {"User-Agent": f"neurobatch/{VERSION}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/") + "/v1/",
                headers=headers,
                timeout=TIMEOUT,
                transport=transport or httpx.HTTPTransport(retries=2),
            )
        except httpx.InvalidURL:
            raise Refused(Code.INVALID_FIELD, "The server's URL is not well formed.") from None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, paths: Sequence[Path], options: Options, *, label: str = "", key: str | None = None) -> Status:
        headers = {"Idempotency-Key": key} if key else {}
        fields = {"options": options.model_dump_json(), "label": label}
        with contextlib.ExitStack() as stack:
            files = [("files", part) for path in paths for part in _parts(path, stack)]
            if not files:
                raise Refused(Code.NO_SOURCES)
            return _read(Status, self._json("POST", "batches", data=fields, files=files, headers=headers))

    def batches(self) -> Iterator[Status]:
        return (_read(Status, item) for item in self._items("batches", {}))

    def status(self, batch: str) -> Status:
        return _read(Status, self._json("GET", f"batches/{_quoted(batch)}"))

    def results(self, batch: str, *, state: ScanState | None = None, finding: Label | None = None) -> Iterator[Result]:
        query = {"state": state and state.value, "finding": finding and finding.value}
        for item in self._items(f"batches/{_quoted(batch)}/scans", {k: v for k, v in query.items() if v}):
            if item["state"] != ScanState.PENDING:
                yield _read(Result, item)

    def left_out(self, batch: str) -> Iterator[LeftOutLine]:
        return (_read(LeftOutLine, item) for item in self._items(f"batches/{_quoted(batch)}/left-out", {}))

    def artifact(self, batch: str, result: Result, artifact: Artifact) -> Iterator[bytes]:
        address = f"batches/{_quoted(batch)}/scans/{result.scan}/artifacts/{artifact.name}"
        with _translated(), self._http.stream("GET", address) as response:
            _raise_problem(response)
            yield from response.iter_bytes()

    def cancel(self, batch: str) -> Status:
        return _read(Status, self._json("POST", f"batches/{_quoted(batch)}/cancel"))

    def delete(self, batch: str) -> None:
        with _translated():
            _raise_problem(self._http.delete(f"batches/{_quoted(batch)}"))

    def _items(self, address: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        asked: dict[str, Any] = {**query, "limit": PAGE}
        while True:
            page = self._json("GET", address, params=asked)
            yield from page["items"]
            if page["next"] is None:
                return
            asked["cursor"] = page["next"]

    def _json(self, method: str, address: str, **arguments: Any) -> dict[str, Any]:
        with _translated():
            response = self._http.request(method, address, **arguments)
            _raise_problem(response)
            body: dict[str, Any] = response.json()
            return body


def _read(kind: type[V], body: object) -> V:
    """A record from the server's JSON. Raises `Broken` for what is none."""
    with _translated():
        return kind.model_validate(body)


def _quoted(batch: str) -> str:
    return quote(batch, safe="")


def _parts(path: Path, stack: contextlib.ExitStack) -> Iterator[tuple[str, "_Late", str]]:
    """Name, content and media type of each file; a folder's files under its own name."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield (
                    f"{path.name}/{file.relative_to(path).as_posix()}",
                    stack.enter_context(_Late(file)),
                    _kind(file),
                )
    elif path.is_file():
        yield path.name, stack.enter_context(_Late(path)), _kind(path)
    else:
        raise Refused(Code.SOURCE_MISSING, f"There is no such file or folder: {path}")


def _kind(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


class _Late:
    """A file that is opened when it is read first and closed at its end, so that thousands are never open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._size = path.stat().st_size

    def __enter__(self) -> "_Late":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if self._file is None:
            self._file = self._path.open("rb")
        block = self._file.read(size)
        if not block:
            self._file.close()
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only to tell the size, or to begin again: what httpx asks for."""
        if whence == 2:
            return self._size
        if self._file is not None and not self._file.closed:
            return self._file.seek(offset)
        self._file = None
        return 0

    def tell(self) -> int:
        """Where it stands: at the beginning, as long as nothing was read."""
        return self._file.tell() if self._file is not None and not self._file.closed else 0


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise Unavailable(Code.SERVER_UNAVAILABLE, "It did not answer in time.") from None
    except httpx.TransportError:
        raise Unavailable(Code.SERVER_UNAVAILABLE) from None
    except (httpx.HTTPError, ValidationError, ValueError, KeyError) as error:
        raise Broken(Code.INTERNAL, f"The server's answer was not understood: {type(error).__name__}") from None


def _raise_problem(response: httpx.Response) -> None:
    """Raise the error that a problem document (RFC 9457) tells."""
    if response.is_success:
        return
    response.read()
    try:
        problem = response.json()
        code, detail = Code(problem["code"]), str(problem.get("detail") or "")
        faults = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors") or ())
    except (ValueError, KeyError, TypeError):
        raise Broken(Code.INTERNAL, f"The server answered {response.status_code} without a reason.") from None
    kind: type[NeurobatchError] = Refused if response.status_code < 500 else Broken
    if response.status_code in (429, 503, 507):
        kind = Unavailable
    raise kind(code, " ".join(part for part in (detail, faults) if part))
