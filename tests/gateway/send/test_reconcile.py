"""A result goes under the values that the archive has now; what was changed is told, and one UID never has two contents."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine

from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import CurrentIdentity, StoredResult, StudyKey
from gateway.send.reconcile import has_moved, refiled, remove_refiled
from gateway.send.rules import SendPlan, Shipment
from gateway.send.sender import Sender
from gateway.send.settings import SendSettings
from tests.gateway.send.dicom_results import stored_result
from tests.gateway.send.test_sender import Clock, Told

WHEN = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
AS_BEFORE = CurrentIdentity("SYNTHETIC-1", "", "PHANTOM^SYNTHETIC", "", "", "A1")
MERGED = CurrentIdentity("SYNTHETIC-2", "HOSPITAL", "Müller^Synthetic", "19600102", "F", "A2")


@pytest.fixture
def result(tmp_path: Path) -> StoredResult:
    """A picture, a page, the report that names the picture, and the document for programs."""
    made = stored_result(tmp_path / "result", "cam", "pdf", "sr", "json")
    picture, _, report, _ = made.files
    path = made.folder / report.name
    whole = pydicom.dcmread(path)
    whole.SpecificCharacterSet = "ISO_IR 192"
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    reference.ReferencedSOPInstanceUID = picture.sop_instance_uid
    item = Dataset()
    item.ReferencedSOPSequence = [reference]
    whole.ContentSequence = [item]
    whole.save_as(path)
    changed = replace(report, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return replace(made, files=tuple(changed if file is report else file for file in made.files))


def contents(result: StoredResult) -> dict[str, bytes]:
    """The files of a result."""
    return {file.name: (result.folder / file.name).read_bytes() for file in result.files}


def test_a_study_that_is_where_it_was_has_not_moved(result: StoredResult) -> None:
    assert not has_moved(result, AS_BEFORE)
    assert not has_moved(result, CurrentIdentity("SYNTHETIC-1", "", "", "", "", "")), (
        "an archive need not say everything"
    )
    assert has_moved(result, replace(AS_BEFORE, patient_id="SYNTHETIC-2"))
    assert has_moved(result, replace(AS_BEFORE, accession_number="A2"))
    assert has_moved(result, replace(AS_BEFORE, issuer_of_patient_id="HOSPITAL"))


def test_the_copy_has_the_archives_values_and_tells_those_before(result: StoredResult, tmp_path: Path) -> None:
    copy = refiled(result, MERGED, WHEN, tmp_path / "copies")
    assert [file.kind for file in copy.files] == ["cam", "sr"], "the page has the patient's values printed on it"
    for file in copy.files:
        read = pydicom.dcmread(copy.folder / file.name)
        assert (read.PatientID, read.IssuerOfPatientID, read.AccessionNumber) == ("SYNTHETIC-2", "HOSPITAL", "A2")
        assert (read.PatientBirthDate, read.PatientSex) == ("19600102", "F")
        (original,) = read.OriginalAttributesSequence
        assert original.AttributeModificationDateTime == "20260301123005+0000"
        assert original.ReasonForTheAttributeModification == "COERCE"
        (before,) = original.ModifiedAttributesSequence
        assert (before.PatientID, before.AccessionNumber) == ("SYNTHETIC-1", "A1")
        assert before.PatientName == "Phantom^Synthetic"
        assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == file.sop_instance_uid
    assert pydicom.dcmread(copy.folder / copy.files[1].name).PatientName == "Müller^Synthetic"
    assert copy.digest == result.digest


def test_the_report_names_the_copy_of_its_picture(result: StoredResult, tmp_path: Path) -> None:
    copy = refiled(result, MERGED, WHEN, tmp_path / "copies")
    picture, report = copy.files
    (item,) = pydicom.dcmread(copy.folder / report.name).ContentSequence
    (reference,) = item.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == picture.sop_instance_uid


def test_one_uid_never_has_two_contents(result: StoredResult, tmp_path: Path) -> None:
    original = contents(result)
    first = refiled(result, MERGED, WHEN, tmp_path / "copies")
    again = refiled(result, MERGED, WHEN + timedelta(days=3), tmp_path / "copies")
    other = refiled(result, replace(MERGED, patient_id="SYNTHETIC-3"), WHEN, tmp_path / "copies")
    assert contents(first) == contents(again)
    assert first.files == again.files
    uids = [file.sop_instance_uid for one in (result, first, other) for file in one.files if file.sop_instance_uid]
    assert len(uids) == len(set(uids)) == 7
    assert contents(result) == original


def test_what_is_not_changed_stays(result: StoredResult, tmp_path: Path) -> None:
    copy = refiled(result, replace(AS_BEFORE, patient_id="SYNTHETIC-2", patient_name=""), WHEN, tmp_path / "copies")
    read = pydicom.dcmread(copy.folder / copy.files[1].name)
    before = pydicom.dcmread(result.folder / result.files[2].name)
    assert read.PatientName == before.PatientName
    assert (read.StudyInstanceUID, read.SeriesInstanceUID) == (before.StudyInstanceUID, before.SeriesInstanceUID)
    (changed,) = read.OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert [element.keyword for element in changed] == ["PatientID"]


def test_copies_can_be_removed(result: StoredResult, tmp_path: Path) -> None:
    refiled(result, MERGED, WHEN, tmp_path / "copies")
    remove_refiled(result.digest, tmp_path / "copies")
    assert list((tmp_path / "copies").iterdir()) == []


class Desk:
    """A sender whose archive says what the test wants."""

    def __init__(self, engine: Engine, tmp_path: Path, **settings: bool) -> None:
        """Make it."""
        self.clock = Clock()
        self.peer = Told(self.clock)
        self.identity: CurrentIdentity | PeerFailure | None = MERGED
        self.asked = 0
        destination = {"name": "pacs", "kind": "dicom", "node": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}}
        self.sender = Sender(
            SendSettings.model_validate({"destinations": [destination | settings]}),
            engine,
            destinations={"pacs": self.peer},
            identity_of=self.identity_of,
            copies=tmp_path / "copies",
            clock=self.clock,
        )

    def identity_of(self, _study: StudyKey) -> CurrentIdentity | None:
        """Answer as told."""
        self.asked += 1
        if isinstance(self.identity, PeerFailure):
            raise PeerError(self.identity, "as told")
        return self.identity

    def send(self, result: StoredResult) -> None:
        """Do one attempt."""
        self.sender.begin(result, SendPlan((Shipment("pacs", ("cam", "pdf", "sr")),), ()))
        self.sender.advance(result, "pacs")


def test_a_destination_that_asks_for_it_gets_the_copy(engine: Engine, tmp_path: Path, result: StoredResult) -> None:
    desk = Desk(engine, tmp_path, reconcile=True)
    desk.send(result)
    assert desk.peer.sets == [("cam", "sr")]
    receipt = desk.sender.book.detail(result.digest, "pacs").receipt
    assert receipt is not None
    own = {file.sop_instance_uid for file in result.files}
    assert not own & {one.sop_instance_uid for one in receipt.objects}


@pytest.mark.parametrize("identity", [AS_BEFORE, None])
def test_a_study_that_has_not_moved_is_sent_as_it_was_stored(
    identity: CurrentIdentity | None, engine: Engine, tmp_path: Path, result: StoredResult
) -> None:
    desk = Desk(engine, tmp_path, reconcile=True)
    desk.identity = identity
    desk.send(result)
    assert desk.peer.sets == [("cam", "pdf", "sr")]
    assert desk.asked == 1


def test_another_destination_asks_nobody(engine: Engine, tmp_path: Path, result: StoredResult) -> None:
    desk = Desk(engine, tmp_path)
    desk.send(result)
    assert desk.peer.sets == [("cam", "pdf", "sr")]
    assert desk.asked == 0


def test_nothing_is_sent_while_nobody_knows_whose_the_study_is(
    engine: Engine, tmp_path: Path, result: StoredResult
) -> None:
    desk = Desk(engine, tmp_path, reconcile=True)
    desk.identity = PeerFailure.UNREACHABLE
    desk.send(result)
    delivery = desk.sender.book.detail(result.digest, "pacs").delivery
    assert delivery.state == "waiting"
    assert delivery.last_error.startswith("UNREACHABLE")
    assert desk.peer.tries == 0
