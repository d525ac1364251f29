"""A result that went nowhere, or not everywhere, is sent when a person asks for it, by the rules of now, and never by itself."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import utc_now
from gateway.send.rules import Shipment
from tests.gateway.steer.steered import Steered
from tests.gateway.steer.study_states import CONTENT, bring_into, settle
from tests.gateway.workflow.stand_ins import STUDY

UID = STUDY.study_instance_uid


def delivered(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


def test_a_withheld_demonstration_is_sent_when_it_is_allowed_and_asked_for_and_not_before(
    steered: Steered, tmp_path: Path
) -> None:
    bring_into(steered, "withheld")
    shown = steered.run("show", UID).stdout
    assert "withheld from disk: the model was not trained on patients" in shown
    assert "when gateway.yaml is changed so that this holds no more, `pdl1es gateway resend` sends it" in shown
    assert "scored; withheld from disk: the model was not" in steered.run("studies").stdout
    refused = steered.run("resend", UID)
    assert refused.exit_code == 2
    assert "allow_demonstration is not set" in refused.stderr
    steered.document["allow_demonstration"] = True
    steered.write()
    settle(steered)
    assert steered.book.of_result("d1") == (), "not by itself"
    told = f"the settings of now send it: `pdl1es gateway resend {steered.hash()} --to disk`"
    assert told in steered.run("show", UID).stdout
    assert steered.run("resend", steered.hash()).exit_code == 0
    settle(steered)
    assert delivered(tmp_path / "out") == [CONTENT]
    assert "withheld from" not in steered.run("show", UID).stdout
    assert steered.run("purge", UID).exit_code == 0, "it counts as delivered"


def test_a_destination_that_came_later_gets_the_result_alone(steered: Steered, tmp_path: Path) -> None:
    bring_into(steered, "committed")
    late = {"kind": "folder", "name": "late", "path": str(tmp_path / "late")}
    steered.document["send"]["destinations"].append(late)
    steered.write()
    missing = steered.run("resend", UID, "--to", "late")
    assert missing.exit_code == 2
    assert "no rule of gateway.yaml sends this result to late" in missing.stderr
    steered.document["send"]["rules"].append({"to": ["late"], "outputs": ["json"]})
    steered.write()
    assert "not sent to late: no rule sent it there when it was stored" in steered.run("show", UID).stdout
    assert steered.run("resend", UID, "--to", "late").exit_code == 0
    assert [one.delivery.state for one in steered.book.of_result("d1")] == ["committed", "waiting"]
    settle(steered)
    assert delivered(tmp_path / "late") == [CONTENT]
    assert delivered(tmp_path / "out") == []


def test_where_no_rule_of_now_sends_it_nothing_is_sent_though_one_did_once(steered: Steered) -> None:
    bring_into(steered, "stored")
    steered.book.begin("d1", UID, (Shipment("disk", ("json",)),), utc_now())
    for arguments in ((), ("--to", "disk")):
        refused = steered.run("resend", UID, *arguments)
        assert refused.exit_code == 2
        assert "no rule of gateway.yaml sends this result" in refused.stderr
    gone = steered.run("resend", UID, "--to", "nobody")
    assert "gateway.yaml has no destination nobody" in gone.stderr


def test_what_was_not_asked_for_stays_withheld(steered: Steered, tmp_path: Path) -> None:
    bring_into(steered, "withheld")
    late = {"kind": "folder", "name": "late", "path": str(tmp_path / "late")}
    steered.document["send"]["destinations"].append(late)
    steered.document["send"]["rules"].append({"to": ["late"], "outputs": ["json"]})
    steered.document["allow_demonstration"] = True
    steered.write()
    done = steered.run("resend", UID, "--to", "late")
    assert "withheld from disk: the model was not trained on patients" in done.stdout
    (note,) = steered.results.of_study(STUDY)
    assert note.withheld == ("disk: the model was not trained on patients",)
