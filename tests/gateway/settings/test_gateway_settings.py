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
    assert "send.rules.0.to: at least 1 must be given" in text
    assert "workers.count = 0" in text
    assert "send.destinations.0.retries = {}: there is no such key; did you mean 'retry'?" in text
    assert "send.rules.0.to" in text
    assert "retention.delivered_days" in text


def test_a_mistakes_place_is_as_it_stands_in_the_file_and_a_key_that_is_nearly_one_is_named() -> None:
    port = {"kind": "dimse", "name": "pacs", "aet": "PDL1ES", "port": 0.5}
    text = told(SHORT | {"sources": [port], "retention": {"delivered_days": -1}})
    assert "sources.0.aet = 'PDL1ES': there is no such key; did you mean 'ae_title'?" in text
    assert "  sources.0.port = 0.5: " in text
    assert "  retention.delivered_days = -1: " in text
    assert "dimse" not in text
    assert "constrained-float" not in text


def test_names_that_do_not_fit_each_other_are_told() -> None:
    files = {"kind": "folder", "name": "files", "path": "/x"}
    text = told(
        SHORT
        | {
            "sources": [{"kind": "dimse", "name": "ct"}, {"kind": "folder", "name": "ct", "folder": "/in"}],
            "send": {
                "destinations": [PACS, files, files, {**files, "name": "sender"}],
                "rules": [
                    {"to": ["pacs", "sender"], "sources": ["mr"]},
                    {"to": ["archive"]},
                    {"to": ["pacs"], "outputs": ["json"]},
                ],
            },
            "fetch": {"archives": [{"kind": "dicom", "name": "a", "node": PACS["node"], "sources": ["us"]}]},
            "web": {"port": 11112},
            "database": "no url",
            "workflow_database": "mysql://host/name",
        }
    )
    assert text.splitlines()[1:] == [
        "  sources: 2 are called ct; a name is given once",
        "  destinations: 2 are called files; a name is given once",
        "  send.destinations: none can be called sender; in a rule it means where the study came from",
        "  send.rules.0.sources names mr, and no source is called so",
        "  send.rules.1.to names archive, and no destination is called so",
        "  send.rules.2.outputs: pacs takes DICOM objects alone, and this rule sends it none",
        "  fetch.archives.0.sources names us, and no source is called so",
        "  port 11112 is given to 2 of sources and web; each needs one of its own",
        "  database is no URL of a database, as postgresql+psycopg://USER@HOST/NAME",
        "  workflow_database begins with mysql://; postgresql+psycopg:// and sqlite:// are possible",
    ]


def test_a_name_that_is_not_there_is_told_beside_other_faults_and_nothing_is_told_twice() -> None:
    text = told(
        {
            "folder": "/data",
            "sources": [{"kind": "dimse", "name": "ct", "portt": 5}, {"kind": "dimsy", "name": "x"}, {"name": "y"}, 7],
            "send": {"destinations": [{**PACS, "node": {"ae_title": "P"}}], "rules": [{"to": ["archive"]}, "all"]},
        }
    )
    assert text.splitlines()[1:] == [
        "  sources.0.portt = 5: there is no such key; did you mean 'port'?",
        "  sources.1: 'kind' should be one of 'dimse', 'orthanc', 'folder'",
        "  sources.2: 'kind' must be given",
        "  sources.3 = 7: Input should be a valid dictionary or object to extract fields from",
        "  send.destinations.0.node.host: must be given",
        "  send.destinations.0.node.port: must be given",
        "  send.rules.1 = 'all': Input should be a valid dictionary or instance of SendRule",
        "  send.rules.0.to names archive, and no destination is called so",
    ]


def test_empty_keys_are_left_out_and_the_file_is_read_with_limits(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("folder: /data\nworkers:\nsources: [{kind: dimse, name: ct}]\n")
    assert load_gateway_settings(file).workers.count == 1
    file.write_text("folder: &a [*a]\n")
    with pytest.raises(SettingsError, match="alias"):
        load_gateway_settings(file)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (
            {"sources": [{"kind": "dimse", "name": "ct", "senders": [{"ae_title": "A", "addresses": ["10.1.2.3/8"]}]}]},
            "10.1.2.3/8 is no range: 10.0.0.0/8 is the range, and 10.1.2.3 the one address",
        ),
        ({"folder": "var/rel"}, "folder = 'var/rel': begin it with /"),
        ({"sources": [{"kind": "folder", "name": "a", "folder": "drop"}]}, "folder = 'drop': begin it with /"),
        (
            {"send": {"destinations": [{"kind": "folder", "name": "out", "path": "out"}]}},
            "path = 'out': begin it with /",
        ),
        (
            {"fetch": {"archives": [{"kind": "dicom", "name": "a", "node": PACS["node"], "move_to": "NOSUCH"}]}},
            "fetch.archives.0.move_to is NOSUCH, and no source of kind dimse has this ae_title",
        ),
        (
            {"send": {"destinations": [PACS], "rules": [{"to": ["sender"], "senders": ["PACS", "WORKSTATION"]}]}},
            "send.rules.0.senders names WORKSTATION, and no destination has this ae_title to send back to",
        ),
        *(
            (
                {"sources": [{"kind": "dimse", "name": "ct", "ae_title": title}]},
                "1 to 16 printable ASCII characters, no backslash, no space at either end",
            )
            for title in ("", "A" * 17, "A\\B", " A", "A\n", "CT-RÖ")
        ),
        ({"sources": [{"kind": "dimse", "name": "The CT"}]}, "1 to 32 of the characters a-z, 0-9, _ and -"),
    ],
)
def test_what_cannot_work_is_refused_with_what_is_allowed(section: dict[str, Any], says: str) -> None:
    text = told(SHORT | section)
    assert says in text
    assert len(text.splitlines()) == 2, text


def test_what_the_gateway_can_do_is_not_refused() -> None:
    archive = {"kind": "dicom", "name": "a", "node": PACS["node"], "move_to": "PDL1ES"}
    senders = [{"ae_title": "A B", "addresses": ["10.0.0.0/8", "10.1.2.3", "10.1.2.3/32", "fd00::/8"]}]
    settings = validated_gateway(
        SHORT
        | {
            "sources": [{"kind": "dimse", "name": "ct", "senders": senders}],
            "fetch": {"archives": [archive]},
            "send": {"destinations": [PACS], "rules": [{"to": ["sender"], "senders": ["PACS"]}, {"to": ["sender"]}]},
        },
        "gateway.yaml",
    )
    assert [source.name for source in settings.sources] == ["ct"]
    assert len(settings.send.rules) == 2


def test_all_mistakes_of_an_orthanc_are_told_at_once() -> None:
    text = told(SHORT | {"sources": [{"kind": "orthanc", "name": "o", "url": "http://pacs.example:8042", "user": "u"}]})
    assert "user and password_file belong together" in text
    assert "a password is not sent without TLS" in text
