"""The commands: what is asked for is done, and what is shown names no patient."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
from pydicom import dcmread

from gateway.arrival.digest import objects_digest
from gateway.clock import utc_now
from gateway.fetch.notes import FetchNotes
from gateway.fetch.settings import FetchSettings
from gateway.health.heartbeat import Heartbeat
from gateway.health.readiness import NOTICES
from gateway.logs import StudyHash, read_log_key
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore, StoreLimits
from gateway.processes.setup import SETTINGS
from gateway.records import DeliveryState, StudyKey
from gateway.send.rules import Shipment
from gateway.settings.file import load_gateway_settings
from gateway.settings.handed_down import configuration_digest
from gateway.workflow.defects import DefectBook
from gateway.workflow.runs import RUN_STATES
from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.gateway.processes.served import parts_of
from tests.gateway.steer.steered import Steered
from tests.gateway.steer.study_states import bring_into, put_files
from tests.gateway.workflow.stand_ins import NOW, STUDY, some_run

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


def test_a_parked_study_is_retried_by_its_hash_or_uid(steered: Steered) -> None:
    steered.ledger.enter(some_run("d1"))
    for name, stat in ((steered.hash(), True), (STUDY.study_instance_uid, False)):
        assert steered.run("park", name).stdout == "1 run parked\n"
        assert steered.ledger.counts()["parked"] == 1
        assert steered.run("retry", name, *(["--stat"] if stat else [])).exit_code == 0
        note = steered.ledger.find("d1")
        assert note is not None
        assert (note.state, note.input.urgent) == ("queued", True)


def test_show_says_when_a_run_is_tried_next_and_tells_a_former_try_from_the_current_one(steered: Steered) -> None:
    reason = "ARCHIVE: UNREACHABLE: no connection could be opened"
    steered.ledger.enter(some_run("d1"))
    steered.ledger.began("d1", 1)
    steered.ledger.ended("d1", 1, "again", reason=reason, no_try=True)
    note = steered.ledger.find("d1")
    assert note is not None
    next_try = (note.updated_at + timedelta(seconds=5)).isoformat(timespec="seconds")  # runs.first_wait_seconds
    assert f", next try {next_try}; {reason}" in steered.run("show", steered.hash()).stdout
    steered.ledger.began("d1", 2)
    shown = steered.run("show", steered.hash()).stdout
    assert f"; former try: {reason}" in shown
    assert "next try" not in shown


@pytest.mark.parametrize("command", ["retry", "resend"])
def test_what_cannot_be_done_is_said_with_exit_code_2(steered: Steered, command: str) -> None:
    steered.ledger.enter(some_run("d1"))
    done = steered.run(command, STUDY.study_instance_uid)
    assert done.exit_code == 2
    assert done.stderr
    assert steered.run(command, "1.9.9").exit_code == 2


def test_a_result_is_sent_again_to_one_destination_or_all(steered: Steered, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    settings = load_settings(DEFAULT_FILE)
    run_study(tmp_path / "empty", tmp_path / "built", settings=settings, model_folder=repository / "models", when=NOW)
    steered.ledger.enter(some_run("d1"))
    steered.results.keep(STUDY, "d1", tmp_path / "built", training_data="synthetic")
    steered.document |= {"allow_demonstration": True}
    steered.document["send"]["rules"] = [{"to": ["disk", "pacs"], "outputs": ["json", "sr"]}]
    steered.document["send"]["destinations"][1] = {"kind": "folder", "name": "pacs", "path": str(tmp_path / "pacs")}
    steered.write()
    shipments = [Shipment(name, ("json",)) for name in ("disk", "pacs")]
    steered.book.begin("d1", STUDY.study_instance_uid, shipments, NOW)
    for name in ("disk", "pacs"):
        steered.book.record_failure("d1", name, error="PEER_DOWN: x", next_at=None, now=NOW)
    assert steered.run("resend", steered.hash(), "--to", "disk").exit_code == 0
    assert [one.delivery.state for one in steered.book.of_result("d1")] == ["waiting", "dead"]
    done = steered.run("resend", steered.hash())
    assert done.exit_code == 0
    assert "json will be sent to pacs" in done.stdout
    assert [one.delivery.state for one in steered.book.of_result("d1")] == ["waiting", "waiting"]
    assert steered.run("resend", steered.hash(), "--to", "other").exit_code == 2
    shown = steered.run("show", steered.hash()).stdout
    assert "result d1: NO_CT, current; stored 20" in shown
    assert "delivery d1 to pacs: waiting, 0 attempts in all; of json" in shown
    assert "+00:00" in next(line for line in shown.splitlines() if line.startswith("  next try"))


def test_the_check_says_what_each_rule_would_do_and_what_a_demonstration_may_not(steered: Steered) -> None:
    done = steered.run("check-config")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "  a demonstration: its reports leave this machine only with allow_demonstration: true" in done.stdout
    withheld = "nothing to disk (the model was not trained on patients, and allow_demonstration is not set)"
    assert f"a study from ct, sent by CT1, scored: sr to pacs; {withheld}" in lines
    assert f"a study from drop, refused: {withheld}" in lines
    steered.document["allow_demonstration"] = True
    steered.write()
    lines = steered.run("check-config").stdout.splitlines()
    assert "a study from ct, sent by CT1, scored: sr, json to disk; sr to pacs" in lines
    assert "a study from drop, refused: json to disk" in lines


def test_the_check_says_of_each_rule_what_it_does_with_a_received_study(
    steered: Steered, phantom_study: PhantomStudy
) -> None:
    steered.document["allow_demonstration"] = True
    steered.document["send"]["rules"].append({"to": ["disk"], "senders": ["CT2"], "sources": ["ct"]})
    steered.write()
    assert "send.rules.2 does nothing: no source takes anything from CT2" in steered.run("check-config").stdout
    with ObjectStore(steered.folder / "objects", steered.engine, StoreLimits(reserve_bytes=0)) as objects:
        file = min(phantom_study.folder.rglob("*.dcm"))
        objects.put(BytesIO(file.read_bytes()), ObjectOrigin("ct", "dimse", "CT1"))
        (study,) = objects.index.studies()
    name = StudyHash(read_log_key(steered.folder)).of(study)
    assert steered.run("check-config", "--study", name).stdout.splitlines()[3:] == [
        f"study {name} came by ct, sent by CT1; state: arriving",
        "a result, scored: sr, json to disk; sr to pacs",
        "  send.rules.0: sr, json to disk",
        "  send.rules.1: sr to pacs",
        "  send.rules.2: does not fit, it is for studies that were sent by CT2",
        "a result, refused: json to disk",
        "  send.rules.0: json to disk",
        "  send.rules.1: does not fit, it is for results that are scored",
        "  send.rules.2: does not fit, it is for studies that were sent by CT2",
    ]
    assert steered.run("check-config", "--study", "1.9.9").exit_code == 2


def test_the_check_warns_of_what_is_asked_for_and_never_sent(steered: Steered, tmp_path: Path) -> None:
    steered.document["send"]["rules"] = [{"to": ["disk"]}, {"to": ["pacs"], "outputs": ["sr", "pdf"]}]
    steered.write()
    done = steered.run("check-config")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "warning: send.rules.1: pdf is asked for, and outputs of app.yaml does not make it",
        "warning: nothing is sent to disk: the model was not trained on patients, and allow_demonstration is not set",
    ]
    refused = "a study from drop, refused: "
    (line,) = [line for line in lines if line.startswith(refused)]
    assert line.endswith("; report_refusals of app.yaml makes a report of it")
    application = tmp_path / "app.yaml"
    application.write_text("outputs: [sr, pdf]\nreport_refusals: true\n")
    steered.document |= {"allow_demonstration": True}
    steered.document["application"] = {**steered.document.get("application", {}), "config": str(application)}
    steered.write()
    told = steered.run("check-config").stdout
    assert "warning" not in told
    assert "report_refusals" not in told


def test_the_check_tells_every_mistake_with_exit_code_2(steered: Steered) -> None:
    steered.document |= {"worker": 1, "receivers": 0}
    steered.write()
    done = steered.run("check-config")
    assert done.exit_code == 2
    assert "did you mean 'workers'" in done.stderr
    assert "receivers = 0" in done.stderr


def test_a_destination_that_would_take_nothing_is_told(steered: Steered) -> None:
    done = steered.run("send-test")
    assert done.exit_code == 1
    assert "disk: would take results" in done.stdout.splitlines()
    assert any(line.startswith("pacs: ") and "would" not in line for line in done.stdout.splitlines())
    assert steered.run("send-test", "--to", "disk").exit_code == 0
    assert steered.run("send-test", "--to", "nobody").exit_code == 2


def test_destinations_are_tried_before_the_first_start(steered: Steered, tmp_path: Path) -> None:
    steered.document["folder"] = str(tmp_path / "none")
    steered.write()
    assert steered.run("send-test", "--to", "disk").exit_code == 0
    assert not (tmp_path / "none").exists()


def test_the_status_of_a_gateway_that_does_not_run_says_what_is_missing(steered: Steered) -> None:
    steered.ledger.enter(some_run("d1"))
    done = steered.run("status")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "NOT ready"
    assert any(line.startswith("  process executor: PROCESS_NOT_RUNNING: ") for line in lines)
    assert "runs queued: 1" in done.stdout.splitlines()


def test_the_status_says_what_a_process_has_a_person_know(steered: Steered) -> None:
    with Heartbeat(steered.engine, "executor", lambda: {NOTICES: ["room runs short: purge"]}):
        assert "room runs short: purge" in steered.run("status").stdout
    assert "room runs short" not in steered.run("status").stdout


def test_the_status_says_that_the_file_is_not_what_runs(steered: Steered) -> None:
    digest = configuration_digest(load_gateway_settings(steered.config))
    with Heartbeat(steered.engine, "executor", lambda: {SETTINGS: digest}):
        steered.config.write_text(f"# a comment changes nothing\n{steered.config.read_text()}")
        assert "restart" not in steered.run("status").stdout
        steered.document["receivers"] = 2
        steered.write()
        changed = steered.run("status").stdout
        steered.config.write_text("folder: [")
        broken = steered.run("status")
    assert f"{steered.config} is not what the gateway runs by" in changed
    assert "a restart of `pdl1es serve` takes it up" in changed
    assert broken.exit_code == 2
    assert "goes on with the settings that it was started with" in broken.stderr


def test_a_study_that_is_not_delivered_is_purged_only_with_yes(steered: Steered, phantom_study: PhantomStudy) -> None:
    with ObjectStore(steered.folder / "objects", steered.engine, StoreLimits(reserve_bytes=0)) as objects:
        file = min(phantom_study.folder.rglob("*.dcm"))
        objects.put(BytesIO(file.read_bytes()), ObjectOrigin("ct", "dimse", "CT1"))
        (study,) = objects.index.studies()
        uid = study.study_instance_uid
        assert uid not in steered.run("studies").stdout
        head, row = steered.run("studies").stdout.splitlines()
        assert head.split("  ")[0] == "hash"
        assert row.split()[2:] == ["1", "arriving"]
        assert row == row.rstrip()
        assert steered.run("purge", uid).exit_code == 2
        assert objects.objects_of(study)
        assert steered.run("purge", uid, "--yes").stdout == "1 object removed\n"
        assert objects.objects_of(study) == ()


def test_what_a_study_waits_for_is_shown_with_the_instances_the_time_left_and_what_was_fetched(
    steered: Steered, phantom_study: PhantomStudy
) -> None:
    steered.document["arrival"] = {"quiet_seconds": 500.0}
    steered.write()
    ct, contour = parts_of(phantom_study.folder)
    uid = str(dcmread(contour[0]).StudyInstanceUID)
    put_files(steered, ct[:5])
    waits = steered.run("show", uid).stdout
    assert "arrival: it waits, because no contour has arrived" in waits
    assert "it waits until something arrives" in waits
    for command in ("park", "retry"):
        done = steered.run(command, uid)
        assert done.exit_code == 2
        assert "still arriving" in done.stderr
    put_files(steered, contour)
    assert "came by ct, sent by CT1" in steered.run("show", uid).stdout
    referenced = {
        str(item.ReferencedSOPInstanceUID)
        for series in dcmread(contour[0]).ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    absent = sorted(referenced - {str(dcmread(file).SOPInstanceUID) for file in ct[:5]})
    lines = steered.run("show", uid).stdout.splitlines()
    assert f"  {len(absent)} of the {len(referenced)} images that the contour names are not here:" in lines
    assert f"    {absent[0]}" in lines
    (left,) = (line for line in lines if "s are left" in line)
    assert 400 < int(left.split()[0]) <= 500
    assert "  nothing is fetched: no archive is configured for where it came from" in lines
    steered.document["fetch"] = {
        "archives": [{"kind": "dicomweb", "name": "vna", "service": {"url": "http://127.0.0.1:1/"}}]
    }
    steered.write()
    for error, told in (
        ("UNREACHABLE: x", "0 of 20 tries, and it is asked until it answers"),
        ("BAD_ANSWER: x", "1 of 20 tries"),
    ):
        FetchNotes(steered.engine).record(
            StudyKey(uid), 5 + len(contour), error=error, now=utc_now(), settings=FetchSettings()
        )
        shown = steered.run("show", uid).stdout
        assert f"fetched from vna: {told}" in shown
        assert f"the last: {error}" in shown


def test_what_was_decided_of_a_whole_study_is_shown(steered: Steered, phantom_study: PhantomStudy) -> None:
    ct, contour = parts_of(phantom_study.folder)
    uid = str(dcmread(contour[0]).StudyInstanceUID)
    put_files(steered, [*ct, *contour])
    shown = steered.run("show", uid).stdout
    assert f"arrival: it is whole: contour {dcmread(contour[0]).SOPInstanceUID}" in shown
    assert "no run of these objects yet" in shown
    with ObjectStore(steered.folder / "objects", steered.engine, StoreLimits(reserve_bytes=0)) as objects:
        digest = objects_digest(objects.objects_of(StudyKey(uid)))
    steered.ledger.enter(some_run("d1", study=StudyKey(uid), objects=digest))
    assert "run d1 is made of just these objects (queued)" in steered.run("show", uid).stdout


def test_a_parked_run_that_a_later_one_has_overtaken_is_not_retried(steered: Steered) -> None:
    """Its report, of the contour of then, would supersede the later one's."""
    steered.ledger.enter(some_run("d1"))
    assert steered.run("park", steered.hash()).exit_code == 0
    steered.ledger.enter(some_run("d2"))
    done = steered.run("retry", steered.hash())
    assert done.exit_code == 2
    assert "overtaken" in done.stderr
    assert steered.ledger.counts()["parked"] == 1


def test_the_check_says_where_a_result_is_that_is_sent_nowhere(steered: Steered) -> None:
    del steered.document["send"]
    steered.write()
    done = steered.run("check-config")
    assert done.exit_code == 0, done.stderr
    where = "nothing is sent; the result stays in results/ of the folder, and `pdl1es gateway show` says it"
    assert f"a study from drop, scored: {where}" in done.stdout.splitlines()


def test_of_a_contour_without_any_of_its_series_the_series_alone_is_named(
    steered: Steered, phantom_study: PhantomStudy
) -> None:
    _, contour = parts_of(phantom_study.folder)
    header = dcmread(contour[0])
    put_files(steered, contour)
    lines = steered.run("show", str(header.StudyInstanceUID)).stdout.splitlines()
    (series,) = header.ReferencedSeriesSequence
    images = len(series.ReferencedInstanceSequence)
    assert f"  nothing is here of series {series.SeriesInstanceUID}, which the contour names" in lines
    assert f"  {images} of the {images} images that the contour names are not here" in lines
    assert not any(line.startswith("    ") for line in lines)


def test_the_score_and_its_group_are_shown(
    steered: Steered, phantom_study: PhantomStudy, repository: Path, tmp_path: Path
) -> None:
    settings = load_settings(DEFAULT_FILE)
    run_study(phantom_study.folder, tmp_path / "built", settings=settings, model_folder=repository / "models", when=NOW)
    steered.ledger.enter(some_run("d1"))
    withheld = shutil.copytree(tmp_path / "built", tmp_path / "withheld")
    stored = steered.results.keep(STUDY, "d1", tmp_path / "built", training_data="synthetic")
    document = json.loads((stored.folder / "result.json").read_text())["assessment"]
    group = document["groups"]["risk"]["group"]
    shown = steered.run("show", steered.hash()).stdout
    assert f"scored {document['score']:.4f}, group {group or 'withheld'}, current" in shown
    assert stored.score == document["score"]
    content = json.loads((withheld / "result.json").read_text())
    content["assessment"]["groups"] |= {"withheld": "The slices are too thick."}
    content["assessment"]["groups"]["risk"]["group"] = None
    content["warnings"] = [{"code": "THICK_SLICES", "message": "Slices of 6 mm.", "effect": "withhold_group"}]
    (withheld / "result.json").write_text(json.dumps(content), encoding="utf-8")
    steered.ledger.enter(some_run("d2"))
    steered.results.keep(STUDY, "d2", withheld, training_data="synthetic")
    assert (
        "group withheld (THICK_SLICES: The slices are too thick), current" in steered.run("show", steered.hash()).stdout
    )


@pytest.mark.parametrize("state", [*RUN_STATES, *get_args(DeliveryState), "arriving", "defect", "withheld", "stored"])
def test_every_state_is_explained_in_the_gateways_page(repository: Path, state: str) -> None:
    assert f"| `{state}` |" in (repository / "docs" / "gateway.md").read_text()


def test_a_study_with_a_defect_is_shown_with_it_and_what_else_is_known(
    steered: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **_named: object) -> None:
        raise KeyError("1.2.840.99999.1.2.3")

    bring_into(steered, "withheld")
    monkeypatch.setattr("gateway.arrival.judge.judge_before_reading", fails)
    book = DefectBook(steered.engine)
    book.note(STUDY, "arrival", "KeyError in f (g.py:1)", utc_now())
    shown = steered.run("show", STUDY.study_instance_uid)
    assert shown.exit_code == 0, shown.output
    assert "state: defect" in shown.stdout
    assert "STUDY_DEFECT: KeyError in f (g.py:1); 1 failure since" in shown.stdout
    assert "arrival: it cannot be judged: STUDY_DEFECT: KeyError in fails (test_commands.py:" in shown.stdout
    assert "withheld from" in shown.stdout
    assert "99999" not in shown.output
    assert "defect" in steered.run("studies").stdout
    assert "studies: STUDY_DEFECT: 1 study cannot be judged" in steered.run("status").stdout
