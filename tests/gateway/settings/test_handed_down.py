"""What a process is given is the configuration that was checked, to the last default."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from gateway.settings.file import GatewaySettings, load_gateway_settings, validated_gateway
from gateway.settings.handed_down import HandedDown, OtherConfigurationError, configuration_digest, read_handed_down

NEVER: dict[str, Any] = {
    "folder": "/var/lib/pdl1es",
    "sources": [
        {"kind": "dimse", "name": "pacs", "senders": [{"ae_title": "A", "addresses": ["10.0.0.0/8", "::1"]}]},
        {"kind": "folder", "name": "drop", "folder": "/drop"},
        {"kind": "orthanc", "name": "orthanc", "url": "https://o", "user": "u", "password_file": "/secret"},
    ],
    "retention": {"delivered_days": "never", "unfinished_days": 3},
    "send": {"destinations": [{"kind": "stow", "name": "web", "service": {"url": "https://p/web"}}]},
}


@pytest.fixture(params=["example", "never"])
def settings(request: pytest.FixtureRequest, repository: Path) -> GatewaySettings:
    if request.param == "example":
        return load_gateway_settings(repository / "docs" / "examples" / "gateway" / "gateway.yaml")
    return validated_gateway(NEVER, "gateway.yaml")


def test_every_process_reads_the_same_settings_however_often_it_starts(settings: GatewaySettings) -> None:
    handed_down = HandedDown(settings)
    try:
        for _ in range(2):
            with handed_down.opened() as first, handed_down.opened() as second:
                assert read_handed_down(first, handed_down.digest) == settings
                assert read_handed_down(second, handed_down.digest) == settings
    finally:
        handed_down.close()


def test_another_configuration_is_refused(settings: GatewaySettings) -> None:
    with pytest.raises(OtherConfigurationError):
        read_handed_down(io.BytesIO(b"{}"), configuration_digest(settings))


def test_the_digest_changes_with_a_value_and_not_with_a_default_that_is_written_out(settings: GatewaySettings) -> None:
    document = settings.model_dump(mode="json")
    same = validated_gateway(document, "gateway.yaml")
    assert configuration_digest(same) == configuration_digest(settings)
    other = validated_gateway(document | {"receivers": 2}, "gateway.yaml")
    assert configuration_digest(other) != configuration_digest(settings)
