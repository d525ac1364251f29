"""`pdl1es serve`, as a hospital runs it: a study goes in, one report comes out, whatever is killed in between."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.gateway.processes.served import ServedGateway, copy_with_other_uids, parts_of, until

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
    studies = [copy_with_other_uids(phantom_study.folder, tmp_path / f"study-{number}", number) for number in (1, 2)]
    chosen = random.Random(20261127)
    for study in studies:
        ct, contour = parts_of(study)
        assert set(gateway.send([*ct, *contour])) == {0}
        for _ in range(2):
            time.sleep(chosen.uniform(0.0, 2.0))
            gateway.kill(chosen.choice(["executor", "receiver-1"]))
    time.sleep(chosen.uniform(0.0, 2.0))
    gateway.end(signal.SIGKILL)
    gateway.start()
    until(lambda: gateway.ledger.counts()["done"] == len(studies))
    until(lambda: len(gateway.delivered()) == len(studies))
    stored = list((gateway.folder / "gateway" / "objects" / "studies").rglob("*.dcm"))
    assert len(stored) == sum(len(list(study.rglob("*.dcm"))) for study in studies)
