"""A container's health check finds the gateway where its own settings put it."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gateway.health import probe
from gateway.health.settings import WebSettings


@pytest.fixture(autouse=True)
def _records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for temporary files is the test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


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


@pytest.mark.parametrize("edited", ["web: {port: 1}", "web: [", "web: {port: none}", None])
def test_a_gateway_that_runs_is_asked_where_it_was_started_whatever_became_of_the_file(
    edited: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("web: {port: 9000}")
    record = probe.record_address(file, WebSettings(port=9000))
    if edited is None:
        file.unlink()
    else:
        file.write_text(edited)
    assert probe.address_of(file) == "http://127.0.0.1:9000/health/live"
    record.unlink()
    file.write_text("web: {port: 9001}")
    assert probe.address_of(file) == "http://127.0.0.1:9001/health/live", "nothing is recorded"


def test_two_gateways_on_one_machine_have_records_of_their_own(tmp_path: Path) -> None:
    for port in (9000, 9001):
        probe.record_address(tmp_path / f"{port}.yaml", WebSettings(port=port))
    assert probe.address_of(tmp_path / "9000.yaml") == "http://127.0.0.1:9000/health/live"


def test_a_link_that_lies_in_the_place_of_the_record_is_not_followed(tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "gateway.yaml", tmp_path / "elsewhere"
    file.write_text("")
    record = probe.record_address(file, WebSettings(port=9000))
    record.rename(elsewhere)
    record.symlink_to(elsewhere)
    assert probe.address_of(file) == "http://127.0.0.1:8080/health/live"


def test_a_file_at_fault_of_which_nothing_is_recorded_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("web: [")
    monkeypatch.setenv("PDL1ES_GATEWAY_CONFIG", str(file))
    assert probe.main() == 1
    assert capsys.readouterr().err == "no gateway has recorded that it runs, and gateway.yaml is at fault\n"


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
