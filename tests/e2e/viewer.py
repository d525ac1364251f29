"""A real viewer for tests: OHIF from npm, at one version, served on the loopback interface beside the PACS's DICOMweb."""

from __future__ import annotations

import hashlib
import http.client
import json
import mimetypes
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.pacs import LOOPBACK, Pacs

PACKAGE = "@ohif/app"
VERSION = "3.13.2"
ARCHIVE = f"ohif-app-{VERSION}.tgz"
SHA256 = "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1"
FOLDER_VARIABLE = "PDL1ES_OHIF"
"""Environment variable: folder that keeps the package between runs; without it, ``out/ohif`` of the checkout."""

PROXIED = ("/dicom-web", "/wado")
NOT_FORWARDED = frozenset({"connection", "accept-encoding", "keep-alive", "transfer-encoding", "content-length"})
"""Host is forwarded: the PACS writes it into the addresses of bulk data, which have to be of the viewer's own origin."""
mimetypes.add_type("application/wasm", ".wasm")
mimetypes.add_type("text/javascript", ".js")

BROWSER_FLAGS = (
    "--no-sandbox",  # tests may run as root in a container
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
"""WebGL without a graphics card."""
WAIT = 120_000
"""Milliseconds that the viewer may take for one view on a slow machine."""


def viewer_files(npm: str, repository: Path) -> Path:
    """The viewer's files, fetched from npm where they are not there yet, and checked."""
    folder = Path(os.environ.get(FOLDER_VARIABLE, repository / "out" / "ohif"))
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"ohif-{VERSION}"
    if not (files / "index.html").is_file():
        archive = folder / ARCHIVE
        if not archive.is_file():
            command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(folder)]
            subprocess.run(command, check=True, timeout=300, capture_output=True)
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        assert found == SHA256, f"{ARCHIVE} is not the package that was tried: SHA-256 {found}"
        unpacked = folder / f"unpacked-{os.getpid()}"
        with tarfile.open(archive) as package:
            package.extractall(unpacked, filter="data")
        (unpacked / "package" / "dist").rename(files)
    return files


def viewer_settings() -> str:
    """OHIF's ``app-config.js``: one data source, on the viewer's own origin."""
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "pacs",
        "configuration": {
            "friendlyName": "Test PACS",
            "name": "pacs",
            "wadoUriRoot": "/wado",
            "qidoRoot": "/dicom-web",
            "wadoRoot": "/dicom-web",
            "qidoSupportsIncludeField": False,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": False,
            "supportsWildcard": True,
            "omitQuotationForMultipartRequest": True,
            "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        },
    }
    settings: dict[str, Any] = {
        "routerBasename": "/",
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 2,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "showLoadingIndicator": True,
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": "pacs",
        "dataSources": [source],
    }
    return f"window.config = {json.dumps(settings)};\n"


def _handler(files: Path, pacs: Pacs) -> type[BaseHTTPRequestHandler]:
    root, settings = files.resolve(), viewer_settings().encode("utf-8")

    class Handler(BaseHTTPRequestHandler):
        """The viewer's files; what goes to DICOMweb is passed on, so that everything has one origin."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.split("?", 1)[0]
            if path.startswith(PROXIED):
                self._pass_on()
            elif path == "/app-config.js":
                self._answer(200, "text/javascript", settings)
            else:
                file = (root / path.lstrip("/")).resolve()
                if not file.is_file() or root not in file.parents:
                    file = root / "index.html"  # the viewer's own routes
                self._answer(200, mimetypes.guess_type(file.name)[0] or "application/octet-stream", file.read_bytes())

        def do_POST(self) -> None:
            self._pass_on()

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            # SharedArrayBuffer, which the viewer's decoders use, needs an isolated origin.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def _pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in NOT_FORWARDED}
            upstream = http.client.HTTPConnection(LOOPBACK, pacs.http_port, timeout=60)
            try:
                upstream.request(self.command, self.path, self.rfile.read(length) if length else None, headers)
                answer = upstream.getresponse()
                body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in NOT_FORWARDED:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            finally:
                upstream.close()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def served_viewer(files: Path, pacs: Pacs) -> Iterator[str]:
    """Serve the viewer; gives its address, and the port is free again afterwards."""
    server = ThreadingHTTPServer((LOOPBACK, 0), _handler(files, pacs))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
