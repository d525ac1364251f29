"""A container's health check finds the gateway where its own settings put it."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gateway.health import probe


@pytest.mark.parametrize(
    ("web", "address"),
    [
        ("", "http://127.0.0.1:8080/health/live"),
        ("web: {bind: 0.0.0.0, port: 9000}", "http://127.0.0.1:9000/health/live"),
        ("web: {bind: '::'}", "http://[::1]:8080/health/live"),
        ("web: {bind: 10.1.2.3}", "http://10.1.2.3:8080/health/live"),
    ],
)
def test_it_asks_where_the_settings_say(web: str, address: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"folder: /data\n{web}\n", encoding="utf-8")
    assert probe.address_of(file) == address


class _Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_it_ends_with_0_while_the_gateway_answers_and_with_1_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), _Alive) as server:
        file = tmp_path / "gateway.yaml"
        file.write_text(f"web: {{port: {server.server_address[1]}}}\n", encoding="utf-8")
        monkeypatch.setenv("PDL1ES_GATEWAY_CONFIG", str(file))
        thread = Thread(target=server.serve_forever)
        thread.start()
        assert probe.main() == 0
        server.shutdown()
        thread.join()
    assert probe.main() == 1
