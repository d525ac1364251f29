"""Which outputs go where."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.records import StoredResult
from gateway.send.rules import Origin, SendPlan, SendRule, Shipment, Withheld, plan_sending, shipped_part
from gateway.send.settings import SendSettings
from tests.gateway.send.results import made_up_result

DESTINATIONS = [
    {"name": "pacs", "kind": "dicom", "node": {"ae_title": "PACS", "host": "pacs.example", "port": 104}},
    {"name": "station", "kind": "dicom", "node": {"ae_title": "STATION7", "host": "192.0.2.7", "port": 104}},
    {"name": "here", "kind": "dicom", "node": {"ae_title": "HERE", "host": "127.0.0.1", "port": 11112}},
    {"name": "files", "kind": "folder", "path": "/srv/results"},
]
FROM_STATION = Origin(frozenset({"dimse"}), frozenset({"STATION7"}))


def plan(
    rules: list[dict[str, object]],
    result: StoredResult,
    *,
    origin: Origin = FROM_STATION,
    demonstration: bool = False,
    allow_demonstration: bool = False,
) -> SendPlan:
    """Apply rules of `gateway.yaml` to a result."""
    settings = SendSettings.model_validate({"destinations": DESTINATIONS, "rules": rules})
    return plan_sending(
        result,
        origin,
        rules=settings.rules,
        addresses=settings.addresses(),
        demonstration=demonstration,
        allow_demonstration=allow_demonstration,
    )


def test_all_rules_that_fit_make_one_set_for_each_destination() -> None:
    rules: list[dict[str, object]] = [
        {"to": ["pacs"], "outputs": ["sr"]},
        {"to": ["pacs", "files"], "outputs": ["pdf", "json"]},
    ]
    found = plan(rules, made_up_result("sr", "cam", "pdf", "json"))
    assert found.shipments == (Shipment("files", ("pdf", "json")), Shipment("pacs", ("sr", "pdf")))
    assert found.withheld == ()


def test_refusals_go_where_a_rule_sends_them() -> None:
    rules: list[dict[str, object]] = [
        {"to": ["pacs"], "results": ["scored"]},
        {"to": ["files"], "results": ["refused"], "outputs": ["json"]},
    ]
    refused = plan(rules, made_up_result("sr", "json", refusal="NO_SEG"))
    assert refused.shipments == (Shipment("files", ("json",)),)
    assert plan(rules, made_up_result("sr", "json")).shipments == (Shipment("pacs", ("sr",)),)


def test_a_result_returns_to_its_sender() -> None:
    rules: list[dict[str, object]] = [{"to": ["sender"]}]
    assert plan(rules, made_up_result("sr")).shipments == (Shipment("station", ("sr",)),)


def test_a_sender_that_is_no_destination_is_told() -> None:
    found = plan([{"to": ["sender"]}], made_up_result("sr"), origin=Origin(frozenset({"dimse"}), frozenset({"ELSE"})))
    assert found == SendPlan((), (Withheld("sender", "no destination has the AE title that the study came from"),))


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"sources": ["dimse", "orthanc"]}, True),
        ({"sources": ["orthanc"]}, False),
        ({"senders": ["STATION7"]}, True),
        ({"senders": ["STATION8"]}, False),
        ({"sources": ["dimse"], "senders": ["STATION8"]}, False),
    ],
)
def test_a_rule_can_ask_where_the_study_came_from(rule: dict[str, object], fits: bool) -> None:
    assert bool(plan([{"to": ["pacs"], **rule}], made_up_result("sr")).shipments) is fits


def test_a_demonstration_stays_on_this_machine_unless_the_site_allows_it() -> None:
    rules: list[dict[str, object]] = [{"to": ["pacs", "here", "files"]}]
    kept = plan(rules, made_up_result("sr"), demonstration=True)
    assert kept.shipments == (Shipment("here", ("sr",)),)
    assert [one.destination for one in kept.withheld] == ["files", "pacs"]
    assert {one.reason for one in kept.withheld} == {
        "the model was not trained on patients, and allow_demonstration is not set"
    }
    allowed = plan(rules, made_up_result("sr"), demonstration=True, allow_demonstration=True)
    assert [one.destination for one in allowed.shipments] == ["files", "here", "pacs"]


def test_a_destination_that_would_get_nothing_is_told() -> None:
    found = plan([{"to": ["pacs"], "outputs": ["pdf"]}], made_up_result("sr"))
    assert found.withheld == (Withheld("pacs", "the result has none of the outputs that the rules send there"),)


def test_the_report_is_sent_after_the_picture_that_it_names() -> None:
    part = shipped_part(made_up_result("sr", "pdf", "cam", "json"), ("sr", "cam"))
    assert [file.kind for file in part.files] == ["cam", "sr"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ae_title": "A" * 17}, "ae_title"),
        ({"ae_title": " PACS"}, "ae_title"),
        ({"port": 0}, "port"),
        ({"tls": {"certificate": "/c.pem"}}, "certificate and key belong together"),
        ({"aet": "PACS"}, "Extra inputs"),
    ],
)
def test_a_wrong_node_is_refused(change: dict[str, object], said: str) -> None:
    node = {"ae_title": "PACS", "host": "pacs.example", "port": 104} | change
    with pytest.raises(ValidationError, match=said):
        SendSettings.model_validate({"destinations": [{"name": "pacs", "kind": "dicom", "node": node}]})


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"url": "pacs.example/dicom-web"}, "https://"),
        ({"url": "https://user:secret@pacs.example/"}, "credentials"),
        ({"url": "http://pacs.example/dicom-web", "bearer_token_file": "/token"}, "a token is not sent without TLS"),
    ],
)
def test_a_wrong_web_address_is_refused(service: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SendSettings.model_validate({"destinations": [{"name": "pacs", "kind": "stow", "service": service}]})


def test_a_rule_without_destination_is_refused() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SendRule).validate_python({"to": []})
