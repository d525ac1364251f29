"""``gateway.yaml``: what may be left out, and every mistake at once, in the file's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.settings.file import load_gateway_settings, validated_gateway
from pdl1es.settings_file import SettingsError

SHORT: dict[str, Any] = {"folder": "/var/lib/pdl1es", "sources": [{"kind": "dimse", "name": "ct"}]}
PACS: dict[str, Any] = {
    "kind": "dicom",
    "name": "pacs",
    "node": {"ae_title": "PACS", "host": "pacs.example", "port": 104},
}


def told(document: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        validated_gateway(document, "gateway.yaml")
    return str(caught.value)


def test_folder_and_a_source_are_enough_and_only_this_machine_may_send_then() -> None:
    settings = validated_gateway(SHORT, "gateway.yaml")
    (source,) = settings.sources
    assert source.kind == "dimse"
    assert source.bind == "127.0.0.1"
    assert not settings.allow_demonstration
    assert settings.web.bind == "127.0.0.1"
    assert settings.database_url == "sqlite:////var/lib/pdl1es/gateway.sqlite"
    assert settings.workflow_database_url == "sqlite:////var/lib/pdl1es/workflow.sqlite"


def test_every_mistake_is_told_at_once() -> None:
    text = told(
        SHORT
        | {
            "worker": {"count": 2},
            "workers": {"count": 0},
            "send": {"destinations": [{**PACS, "retries": {}}], "rules": [{"to": []}]},
            "retention": {"delivered_days": "soon"},
        }
    )
    assert "worker = {'count': 2}: there is no such key; did you mean 'workers'?" in text
    assert "workers.count = 0" in text
    assert "send.destinations.0.dicom.retries = {}: there is no such key; did you mean 'retry'?" in text
    assert "send.rules.0.to" in text
    assert "retention.delivered_days" in text


def test_names_that_do_not_fit_each_other_are_told() -> None:
    text = told(
        SHORT
        | {
            "sources": [{"kind": "dimse", "name": "ct"}, {"kind": "folder", "name": "ct", "folder": "/in"}],
            "send": {"destinations": [PACS], "rules": [{"to": ["pacs"], "sources": ["mr"]}]},
            "database": "no url",
        }
    )
    assert "two sources are called ct" in text
    assert "send.rules[1] names the source mr, and no source is called so" in text
    assert "database is no URL of a database" in text


def test_a_rule_to_an_unknown_destination_is_told() -> None:
    assert "a rule names archive" in told(SHORT | {"send": {"destinations": [PACS], "rules": [{"to": ["archive"]}]}})


def test_empty_keys_are_left_out_and_the_file_is_read_with_limits(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("folder: /data\nworkers:\nsources: [{kind: dimse, name: ct}]\n")
    assert load_gateway_settings(file).workers.count == 1
    file.write_text("folder: &a [*a]\n")
    with pytest.raises(SettingsError, match="alias"):
        load_gateway_settings(file)
