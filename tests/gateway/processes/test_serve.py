"""`pdl1es serve`, as a hospital runs it: a study goes in, one report comes out, whatever is killed in between."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydicom import dcmread
from pydicom.uid import generate_uid

from gateway.database import SCHEMA, Schema, create_tables
from gateway.health.heartbeat import read_processes
from gateway.logs import StudyHash, read_log_key
from gateway.processes.setup import SETTINGS
from gateway.processes.supervisor import SERVE_LOCK
from gateway.records import StudyKey
from pdl1es.exit_code import ExitCode
from tests.gateway.peers.web_server import Said, web_server
from tests.gateway.processes.served import ServedGateway, copy_with_other_uids, parts_of
from tests.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

Serve = Callable[..., ServedGateway]


@pytest.fixture
def serve(tmp_path: Path, repository: Path) -> Iterator[Serve]:
    made = []

    def start(**sections: Any) -> ServedGateway:
        made.append(ServedGateway(tmp_path, repository, **sections))
        made[-1].start()
        return made[-1]

    yield start
    for gateway in made:
        gateway.close()


def test_ct_and_later_its_contour_give_one_report_a_resend_none_and_a_correction_one_that_names_it(
    serve: Serve, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    gateway = serve()
    ct, contour = parts_of(phantom_study.folder)
    assert set(gateway.send(ct)) == {0}
    time.sleep(1)
    assert gateway.ledger.counts()["done"] == 0
    assert set(gateway.send(contour)) == {0}
    until(lambda: len(gateway.delivered()) == 1)
    (folder,) = gateway.delivered()
    (report,) = folder.glob("*.dcm")
    header = dcmread(ct[0])
    assert dcmread(report).StudyInstanceUID == header.StudyInstanceUID
    assert json.loads((folder / "result.json").read_bytes())["status"] == "scored"
    assert set(gateway.send([*ct, *contour, report])) == {0}
    time.sleep(3)
    assert len(gateway.ledger.in_states("done", "queued", "running", "again")) == 1
    corrected = dcmread(contour[0])
    corrected.SOPInstanceUID = corrected.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    corrected.save_as(tmp_path / "corrected.dcm")
    assert gateway.send([tmp_path / "corrected.dcm"]) == [0]
    until(lambda: len(gateway.delivered()) == 2)
    (later,) = (found for other in gateway.delivered() if other != folder for found in other.glob("*.dcm"))
    (study,) = dcmread(later).PredecessorDocumentsSequence
    named = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == dcmread(report).SOPInstanceUID
    assert gateway.end() == 0
    logged = gateway.logged()
    values = [str(header.get(name)) for name in ("PatientID", "PatientName", "AccessionNumber", "StudyInstanceUID")]
    assert not [value for value in values if len(value) > 2 and value in logged]
    assert all(json.loads(line)["time"] for line in logged.splitlines())


def test_a_study_that_was_sent_before_an_orderly_stop_is_reported_after_the_next_start(
    serve: Serve, phantom_study: PhantomStudy
) -> None:
    gateway = serve()
    ct, contour = parts_of(phantom_study.folder)
    gateway.send([*ct, *contour])
    assert gateway.end() == 0
    gateway.start()
    until(lambda: len(gateway.delivered()) == 1)


def test_a_study_that_is_dropped_into_a_folder_is_reported_too(
    serve: Serve, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    source = {"kind": "folder", "name": "drop", "folder": str(drop), "settle_seconds": 0.5, "poll_seconds": 0.2}
    gateway = serve(sources=[source])
    for file in phantom_study.folder.rglob("*.dcm"):
        (drop / file.name).write_bytes(file.read_bytes())
    until(lambda: len(gateway.delivered()) == 1)
    assert list(drop.iterdir()) == []


def test_a_demonstration_leaves_the_machine_only_where_the_site_allows_it(
    serve: Serve, phantom_study: PhantomStudy
) -> None:
    gateway = serve(allow_demonstration=False)
    ct, contour = parts_of(phantom_study.folder)
    gateway.send([*ct, *contour])
    until(lambda: gateway.ledger.counts()["done"] == 1)
    assert gateway.delivered() == []
    assert "the model was not trained on patients" in gateway.logged()


def test_whatever_is_killed_every_study_ends_in_one_report_with_every_object_there(
    serve: Serve, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    gateway = serve()
    assert gateway.engine  # it reads the file once
    studies = [copy_with_other_uids(phantom_study.folder, tmp_path / f"study-{number}", number) for number in (1, 2)]
    chosen = random.Random(20261127)
    # What starts anew runs by the settings of the start, whatever the file says by then.
    started_with = gateway.config.read_text(encoding="utf-8")
    gateway.config.write_text("sources: [broken", encoding="utf-8")
    for study in studies:
        ct, contour = parts_of(study)
        assert set(gateway.send([*ct, *contour])) == {0}
        for _ in range(2):
            time.sleep(chosen.uniform(0.0, 2.0))
            gateway.kill(chosen.choice(["executor", "receiver-1"]))
    time.sleep(chosen.uniform(0.0, 2.0))
    assert len({note.detail[SETTINGS] for note in read_processes(gateway.engine)}) == 1
    gateway.end(signal.SIGKILL)
    gateway.config.write_text(started_with, encoding="utf-8")
    gateway.start()
    until(lambda: gateway.ledger.counts()["done"] == len(studies))
    until(lambda: len(gateway.delivered()) == len(studies))
    stored = list((gateway.folder / "gateway" / "objects" / "studies").rglob("*.dcm"))
    assert len(stored) == sum(len(list(study.rglob("*.dcm"))) for study in studies)


IDENTIFYING = {
    "PatientName": "Testname^Hidden",
    "PatientID": "HIDDEN-0815",
    "PatientBirthDate": "19470203",
    "AccessionNumber": "ACC4711HIDDEN",
    "StudyID": "STUDYHIDDEN",
    "StudyDate": "20190704",
    "SeriesDate": "20190705",
    "AcquisitionDate": "20190706",
    "ContentDate": "20190707",
    "StudyDescription": "hidden study words",
    "SeriesDescription": "hidden series words",
    "InstitutionName": "hidden hospital",
    "ReferringPhysicianName": "Refers^Hidden",
    "OperatorsName": "Operates^Hidden",
    "StationName": "HIDDENSTATION",
    "ImageComments": "hidden comment",
}


def identified_copy(study: Path, folder: Path, number: int) -> tuple[list[Path], set[str]]:
    """Write a study again with values that identify; return its files, and every value that no log may hold."""
    files, values = sorted(copy_with_other_uids(study, folder, number).rglob("*.dcm")), set(IDENTIFYING.values())
    for file in files:
        dataset = dcmread(file)
        for keyword, value in IDENTIFYING.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
        dataset.remove_private_tags()
        found = (element.value for element in dataset.iterall() if element.VR == "UI" and element.value)
        values |= {str(value) for value in found if not str(value).startswith("1.2.840.10008.")}
    return files, values


def test_no_log_line_of_a_whole_route_holds_a_uid_a_name_an_id_or_a_date(
    serve: Serve, phantom_study: PhantomStudy, tmp_path: Path, repository: Path
) -> None:
    """One study is scored, one refused, one destination is down, an archive fails and then has nothing; all at level DEBUG."""
    application = yaml.safe_load((repository / "app.yaml").read_text(encoding="utf-8"))
    application.setdefault("log", {})["level"] = "DEBUG"
    config = tmp_path / "app.yaml"
    config.write_text(yaml.safe_dump(application), encoding="utf-8")
    scored, values = identified_copy(phantom_study.folder, tmp_path / "scored", 1)
    refused, more = identified_copy(phantom_study.folder, tmp_path / "refused", 2)
    values |= more
    node = {"ae_title": "NOBODY", "host": "127.0.0.1", "port": free_port()}
    answers = iter([503])
    with web_server(lambda _: Said(next(answers, 404))) as archive:
        gateway = serve(
            log_level="DEBUG",
            application={"config": str(config)},
            arrival={"quiet_seconds": 2.0},
            fetch={
                "archives": [{"kind": "dicomweb", "name": "archive", "service": {"url": archive.root}}],
                "after_seconds": 0.0,
                "again_seconds": 1.0,
                "earlier_reports": False,
            },
            send={
                "destinations": [
                    {"kind": "folder", "name": "disk", "path": str(tmp_path / "out")},
                    {"kind": "dicom", "name": "down", "node": node},
                ],
                "rules": [{"to": ["disk", "down"], "outputs": ["sr", "json"]}],
            },
        )
        _, contour = parts_of(tmp_path / "refused")
        referenced = str(
            dcmread(contour[0]).ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
        )
        assert set(gateway.send(scored)) == {0}
        assert set(gateway.send([file for file in refused if file.stem != referenced])) == {0}
        until(lambda: gateway.ledger.counts()["done"] == 2)
        until(lambda: len(gateway.delivered()) == 2)
        until(lambda: "delivery to down" in gateway.logged())
        assert gateway.end() == 0
    logged = gateway.logged()
    for told in ("SEG_REFERENCES_ABSENT_INSTANCES", "UNREACHABLE", "a run is asked for"):
        assert told in logged
    assert sorted(value for value in values if value.lower() in logged.lower()) == []
    refusal = next(json.loads(line) for line in logged.splitlines() if "SEG_REFERENCES_ABSENT_INSTANCES" in line)
    key = StudyHash(read_log_key(gateway.folder / "gateway"))
    assert refusal["study"] == key.of(StudyKey(str(dcmread(contour[0]).StudyInstanceUID)))
    assert f"#{key.of_uid(str(dcmread(contour[0]).SOPInstanceUID))}" in refusal["message"]


def test_a_second_gateway_in_the_folder_of_one_that_runs_does_not_start(tmp_path: Path, repository: Path) -> None:
    """Two that share ports and tables would take each other's heartbeats for their own, and both look through the store."""
    gateway = ServedGateway(tmp_path, repository)
    folder = tmp_path / "gateway"
    folder.mkdir()
    held = os.open(folder / SERVE_LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    command = [sys.executable, "-m", "pdl1es.command_line.cli", "serve", "--config", str(gateway.config)]
    try:
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300, check=False)
    finally:
        os.close(held)
        gateway.close()
    assert done.returncode == ExitCode.USAGE
    assert "another gateway runs in this folder" in done.stderr


def test_a_gateway_does_not_start_on_a_later_versions_database(tmp_path: Path, repository: Path) -> None:
    gateway = ServedGateway(tmp_path, repository)
    (tmp_path / "gateway").mkdir()
    create_tables(gateway.engine, Schema(SCHEMA.version + 1, {SCHEMA.version: lambda _: None}))
    command = [sys.executable, "-m", "pdl1es.command_line.cli", "serve", "--config", str(gateway.config)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300, check=False)
    gateway.close()
    assert done.returncode == ExitCode.USAGE
    assert "DATABASE_NEWER" in done.stderr
    assert "Remedy: install the version" in done.stderr
