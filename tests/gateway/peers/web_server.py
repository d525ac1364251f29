"""An HTTP server for tests that answers as it is told and keeps what it was asked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Said:
    """One answer; a body that is an iterator is sent without its length."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    content_type: str = "application/dicom+json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class WebServer:
    """Where it is, how it answers, and what it was asked."""

    port: int
    answer: Callable[[Asked], Said]
    asked: list[Asked] = field(default_factory=list)
    scheme: str = "http"

    @property
    def root(self) -> str:
        """Root of its DICOMweb services."""
        return f"{self.scheme}://127.0.0.1:{self.port}/dicom-web"


@contextmanager
def web_server(answer: Callable[[Asked], Said], tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Run it on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
            server.asked.append(asked)
            said = server.answer(asked)
            self.send_response(said.status)
            self.send_header("Content-Type", said.content_type)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if isinstance(said.body, bytes):
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)
                return
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for part in said.body:
                    self.wfile.write(part)
            except OSError:
                return  # the client has heard enough

        do_GET = do_POST = _serve

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    listener.daemon_threads = True
    server = WebServer(listener.server_address[1], answer, scheme="http" if tls is None else "https")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
