"""The settings in docs/examples are settings of this version, and the files that go together fit."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.receive.access import AccessRules
from gateway.receive.settings import DimseSource
from gateway.settings.file import GatewaySettings, load_gateway_settings, validated_gateway
from pdl1es.settings import load_settings

PAUSE_S = 30
"""What `pdl1es serve` gives its processes beyond ``stop_seconds``."""


@pytest.fixture
def examples(repository: Path) -> Path:
    """The gateway's examples."""
    return repository / "docs" / "examples" / "gateway"


def dimse(settings: GatewaySettings) -> DimseSource:
    """The one port of an example."""
    (source,) = settings.sources
    assert isinstance(source, DimseSource)
    return source


def test_compose_gateway_and_test_pacs_know_each_other(examples: Path) -> None:
    compose = yaml.safe_load((examples / "compose.yaml").read_text(encoding="utf-8"))
    settings = load_gateway_settings(examples / "gateway.yaml")
    orthanc = json.loads((examples / "orthanc.json").read_text(encoding="utf-8"))
    services = compose["services"]
    assert f"@database/{services['database']['environment']['POSTGRES_DB']}" in settings.database_url
    made = set(load_settings(examples / "app.yaml").outputs)
    assert {kind for rule in settings.send.rules for kind in rule.outputs} <= made
    assert "./app.yaml:/var/holoscan/app.yaml:ro" in services["gateway"]["volumes"]
    (sender,) = dimse(settings).senders
    assert sender.ae_title == orthanc["DicomAet"]
    assert list(sender.addresses) == [one["subnet"] for one in compose["networks"]["default"]["ipam"]["config"]]
    known = orthanc["DicomModalities"]["pdl1es"]
    assert (known["AET"], known["Host"], known["Port"]) == (dimse(settings).ae_title, "gateway", dimse(settings).port)
    (destination,) = settings.send.destinations
    assert destination.kind == "dicom"
    assert (destination.node.host, destination.node.port) == ("pacs", orthanc["DicomPort"])
    assert services["gateway"]["read_only"]
    assert int(services["gateway"]["stop_grace_period"].removesuffix("s")) > settings.stop_seconds + PAUSE_S
    for volume in (*services["gateway"]["volumes"], *services["pacs"]["volumes"]):
        source = volume.partition(":")[0]
        assert source in compose["volumes"] or (examples / source).exists()


def test_the_manifests_hold_settings_and_name_what_they_mount(examples: Path, tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((examples / "kubernetes.yaml").read_text(encoding="utf-8")))
    kinds: Mapping[str, Any] = {document["kind"]: document for document in documents}
    data = kinds["ConfigMap"]["data"]
    settings = validated_gateway(yaml.safe_load(data["gateway.yaml"]), "gateway.yaml")
    (tmp_path / "app.yaml").write_text(data["app.yaml"], encoding="utf-8")
    outputs = set(load_settings(tmp_path / "app.yaml").outputs)
    assert {kind for rule in settings.send.rules for kind in rule.outputs} <= outputs
    pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    claims = [claim["metadata"]["name"] for claim in kinds["StatefulSet"]["spec"]["volumeClaimTemplates"]]
    volumes = {*claims, *(volume["name"] for volume in pod["volumes"])}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(settings.folder), str(settings.application.model)} <= mounted
    assert {port["containerPort"] for port in container["ports"]} == {dimse(settings).port, settings.web.port}
    assert pod["terminationGracePeriodSeconds"] > settings.stop_seconds + PAUSE_S


def test_the_unit_stops_the_gateway_in_order(examples: Path) -> None:
    text = (examples / "pdl1es-gateway.service").read_text(encoding="utf-8")
    keys = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    assert keys["KillMode"] == "mixed"
    assert int(keys["TimeoutStopSec"]) > GatewaySettings.model_fields["stop_seconds"].default + PAUSE_S
    assert keys["ExecStart"].endswith("serve --config /etc/pdl1es/gateway.yaml")


def test_the_first_try_in_the_docs_sends_where_its_settings_listen(repository: Path) -> None:
    text = (repository / "docs" / "gateway.md").read_text(encoding="utf-8")
    part = text.partition("## Try it in five minutes")[2].partition("\n## ")[0]
    settings = validated_gateway(yaml.safe_load(part.partition("```yaml")[2].partition("```")[0]), "gateway.yaml")
    (line,) = [line for line in part.splitlines() if line.startswith("/usr/bin/storescu ")]
    words = shlex.split(line)
    source = dimse(settings)
    assert words[words.index("-aec") + 1] == source.ae_title
    assert words[-3:] == ["127.0.0.1", str(source.port), "study"]
    assert {"-R", "+r", "+sd"} <= set(words)  # else no segmentation, and nothing of the folders below
    assert AccessRules(source.ae_title, source.senders).judge("127.0.0.1", "PDL1ES", "STORESCU") is None
    assert f"ls {settings.folder}/results/*" in part.splitlines()
