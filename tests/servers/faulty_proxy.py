"""A real HTTP proxy before a server: it loses replies, cuts and slows streams, and answers by itself."""

import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BLOCK = 64 * 1024
HOP_BY_HOP = ("connection", "expect", "keep-alive", "transfer-encoding")
CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>conflict</Message></Error>"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request; `method` says to which."""

    method: str
    lose: bool = False  # the server does it, its reply is thrown away
    status: int = 0  # answered by the proxy, the server never hears of it
    body: bytes = b""
    cut: int | None = None  # the reply ends after so many bytes of its body
    pause: float = 0.0  # seconds, in the middle of the reply


@dataclass
class FaultyProxy:
    """Forwards to `upstream`; each of `next_faults` befalls the next request of its method."""

    upstream: str
    endpoint: str = ""
    next_faults: list[Fault] = field(default_factory=list)
    heard: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def lay(self, fault: Fault, times: int = 1) -> None:
        """Let this happen to the next requests of the fault's method."""
        with self.lock:
            self.next_faults.extend([fault] * times)

    def take(self, method: str) -> Fault | None:
        """The fault for a request, if one waits for its method."""
        with self.lock:
            found = next((fault for fault in self.next_faults if fault.method == method), None)
            if found is not None:
                self.next_faults.remove(found)
            return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultyProxy

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.heard.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        fault = self.proxy.take(self.command) or Fault(method=self.command)
        if fault.status:
            self.send_response_only(fault.status)
            self._finish([("Content-Type", "application/xml")], fault.body)
            return
        upstream = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        try:
            self._relay(upstream, body, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has gone
        finally:
            upstream.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests ask `heard`."""

    def _relay(self, upstream: http.client.HTTPConnection, body: bytes, fault: Fault) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            if key.lower() not in HOP_BY_HOP:
                upstream.putheader(key, value)
        upstream.endheaders(body)
        reply = upstream.getresponse()
        content = reply.read()
        if fault.lose:
            self.close_connection = True
            return
        self.send_response_only(reply.status, reply.reason)
        kept = [(key, value) for key, value in reply.getheaders() if key.lower() not in HOP_BY_HOP]
        self._finish(kept, content, fault)

    def _finish(self, headers: list[tuple[str, str]], content: bytes, fault: Fault | None = None) -> None:
        fault = fault or Fault(method=self.command)
        lengths = [value for key, value in headers if key.lower() == "content-length"]
        for key, value in headers:
            if key.lower() != "content-length":
                self.send_header(key, value)
        if self.command != "HEAD" or lengths:
            self.send_header("Content-Length", lengths[0] if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if fault.cut is not None and fault.cut < len(content):
            self.wfile.write(content[: fault.cut])
            self.close_connection = True
            return
        half = len(content) // 2 if fault.pause else 0
        self.wfile.write(content[:half])
        if half:
            time.sleep(fault.pause)
        self.wfile.write(content[half:])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what these tests are about."""


@contextmanager
def faulty_proxy(upstream: str, tls: ssl.SSLContext | None = None) -> Iterator[FaultyProxy]:
    """A proxy before the server at the URL `upstream`, on a port of its own; speaks TLS where `tls` is given."""
    proxy = FaultyProxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        proxy.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
