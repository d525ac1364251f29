"""The gateway's own connections with real peers: Orthanc (DIMSE, DICOMweb, storage commitment) and dcmtk's dcmqrscp."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
import pytest
from sqlalchemy import Engine

from gateway.database import create_tables, open_database
from gateway.fetch.archive import Archive
from gateway.fetch.dicom_archive import DimseArchive
from gateway.fetch.fetcher import Fetcher
from gateway.fetch.settings import DicomArchive, FetchSettings, WebArchive
from gateway.fetch.web_archive import DicomWebArchive
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError, PeerFailure
from gateway.receive.listener import DimseListener
from gateway.receive.settings import DimseSource
from gateway.records import CurrentIdentity, ResultDelivery, ResultFile, StoredResult, StudyKey
from gateway.send.commitment import CommitmentBook, record_answer
from gateway.send.reconcile import has_moved, refiled
from gateway.send.rules import SendPlan, Shipment
from gateway.send.sender import Sender
from gateway.send.settings import SendSettings
from tests.e2e.dicom_archives import QR_TITLE, QueryArchive, running_archive
from tests.e2e.dicom_tools import run
from tests.e2e.pacs import AE_TITLE, LOOPBACK, Pacs, running_pacs
from tests.e2e.written_reports import Written
from tests.waiting import PATIENCE_S

RequireTool = Callable[[str], str]
GATEWAY_TITLE = "PDL1ES"

pytestmark = pytest.mark.xdist_group("gateway_peers")


@dataclass
class Receiver:
    """The gateway's receiver: it takes answers to requests for storage commitment, and what is moved to it."""

    port: int
    engine: Engine
    objects: ObjectStore


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """It runs."""
    folder = tmp_path_factory.mktemp("gateway")
    engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
    create_tables(engine)
    book = CommitmentBook(engine)
    with (
        ObjectStore(folder / "objects", engine) as objects,
        DimseListener(
            DimseSource(name="pacs", ae_title=GATEWAY_TITLE, port=0),
            objects,
            InFlight(engine),
            answered=lambda said: record_answer(said, book),
        ) as running,
    ):
        yield Receiver(running.port, engine, objects)
    engine.dispose()


@pytest.fixture(scope="module")
def orthanc(
    listener: Receiver, require_tool: RequireTool, written: Written, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pacs]:
    """An Orthanc that knows the gateway and has the study's CT."""
    require_tool("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    gateway = {"AET": GATEWAY_TITLE, "Host": LOOPBACK, "Port": listener.port, "AllowStorageCommitment": True}
    with running_pacs(require_tool("Orthanc"), tmp_path_factory.mktemp("orthanc"), {"gateway": gateway}) as pacs:
        pacs.store(require_tool("storescu"), [*written.ct, written.segmentation])
        yield pacs


@pytest.fixture(scope="module")
def dcmqrscp(
    listener: Receiver, require_tool: RequireTool, written: Written, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueryArchive]:
    """A dcmqrscp that has the study's CT."""

    folder = tmp_path_factory.mktemp("dcmqrscp")
    with running_archive(require_tool("dcmqrscp"), folder, GATEWAY_TITLE, listener.port) as archive:
        subprocess.run(
            [require_tool("storescu"), "-aec", QR_TITLE, LOOPBACK, str(archive.port), *map(str, written.ct)],
            check=True,
            timeout=60,
        )
        yield archive


@pytest.fixture(scope="module")
def study_uid(written: Written) -> str:
    """Study Instance UID."""
    return str(pydicom.dcmread(written.ct[0], stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture(scope="module")
def ct_uid(written: Written) -> str:
    """Series Instance UID of the CT."""
    return str(pydicom.dcmread(written.ct[0], stop_before_pixels=True).SeriesInstanceUID)


def stored(written: Written, study_uid: str, digest: str) -> StoredResult:
    """The reports as the gateway stores them."""
    files = []
    for kind, path in written.reports.items():
        uid = str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        files.append(ResultFile(path.name, uid, hashlib.sha256(path.read_bytes()).hexdigest(), kind))
    folder = next(iter(written.reports.values())).parent
    return StoredResult(StudyKey(study_uid), digest * 32, folder, tuple(files), "", 0.5, "")


def delivered(
    destination: dict[str, Any], result: StoredResult, engine: Engine, *kinds: str
) -> tuple[ResultDelivery, Sender]:
    """Send to one destination until it has ended."""
    sender = Sender(SendSettings.model_validate({"destinations": [{"name": "peer"} | destination]}), engine)
    sender.begin(result, SendPlan((Shipment("peer", kinds or ("cam", "pdf", "sr", "kos")),), ()))
    end = time.monotonic() + PATIENCE_S
    while True:
        delivery = sender.advance(result, "peer")
        if delivery.next_at is None or delivery.state == "waiting" or time.monotonic() > end:
            return delivery, sender
        # what is asked for again later is asked for at once
        sender.book.postpone(delivery.digest, "peer", sender.book.detail(delivery.digest, "peer").created_at)
        time.sleep(0.2)


def dicom(port: int, title: str, **settings: Any) -> dict[str, Any]:
    """A destination."""
    return {"kind": "dicom", "node": {"ae_title": title, "host": LOOPBACK, "port": port}} | settings


def test_orthanc_takes_the_set_and_commits_on_a_new_association(
    orthanc: Pacs, listener: Receiver, written: Written, study_uid: str
) -> None:
    result = stored(written, study_uid, "01")
    delivery, sender = delivered(dicom(orthanc.dicom_port, AE_TITLE), result, listener.engine)
    assert (delivery.state, delivery.attempts) == ("committed", 1), delivery.last_error
    assert sender.book.detail(result.digest, "peer").confirmed_by == "commitment"
    for file in result.files:
        there = pydicom.dcmread(io.BytesIO(orthanc.file(file.sop_instance_uid)))
        assert there == pydicom.dcmread(result.folder / file.name)


def test_orthanc_says_no_for_what_it_does_not_have(
    orthanc: Pacs, listener: Receiver, written: Written, study_uid: str
) -> None:
    """The objects are deleted between C-STORE and the request: the answer names them, and they are sent again."""
    result = stored(written, study_uid, "02")
    settings = SendSettings.model_validate({"destinations": [{"name": "peer"} | dicom(orthanc.dicom_port, AE_TITLE)]})
    sender = Sender(settings, listener.engine)
    sender.begin(result, SendPlan((Shipment("peer", ("pdf",)),), ()))
    assert sender.advance(result, "peer").state == "sent"
    uid = next(file.sop_instance_uid for file in result.files if file.kind == "pdf")
    delete(orthanc, uid)
    end = time.monotonic() + PATIENCE_S
    while (delivery := sender.advance(result, "peer")).state == "sent" and time.monotonic() < end:
        sender.book.postpone(result.digest, "peer", sender.book.detail(result.digest, "peer").created_at)
        time.sleep(0.2)
    assert delivery.state == "waiting"
    assert delivery.last_error.startswith("NOT_COMMITTED")


def delete(orthanc: Pacs, uid: str) -> None:
    """Delete an object."""
    address = f"http://{LOOPBACK}:{orthanc.http_port}"
    with urllib.request.urlopen(
        urllib.request.Request(f"{address}/tools/lookup", data=uid.encode()), timeout=30
    ) as said:
        (found,) = json.load(said)
    with urllib.request.urlopen(
        urllib.request.Request(f"{address}/instances/{found['ID']}", method="DELETE"), timeout=30
    ):
        pass


def test_orthanc_takes_the_set_by_stow_and_finds_it_by_qido(
    orthanc: Pacs, listener: Receiver, written: Written, study_uid: str
) -> None:
    result = stored(written, study_uid, "03")
    delivery, sender = delivered({"kind": "stow", "service": {"url": orthanc.web}}, result, listener.engine)
    assert (delivery.state, delivery.attempts) == ("committed", 1), delivery.last_error
    assert sender.book.detail(result.digest, "peer").confirmed_by == "query"


def test_dcmqrscp_does_not_commit_and_is_queried(
    dcmqrscp: QueryArchive, listener: Receiver, written: Written, study_uid: str
) -> None:
    result = stored(written, study_uid, "04")
    destination = dicom(dcmqrscp.port, QR_TITLE, query=True)
    delivery, sender = delivered(destination, result, listener.engine, "sr")
    assert (delivery.state, delivery.attempts) == ("committed", 1), delivery.last_error
    assert sender.book.detail(result.digest, "peer").confirmed_by == "query"


def test_a_study_that_the_pacs_has_merged_gets_its_report_under_the_new_values(
    orthanc: Pacs, listener: Receiver, written: Written, study_uid: str, tmp_path: Path, require_tool: RequireTool
) -> None:
    """The copies are as valid as the reports, and a PACS takes them."""
    dciodvfy = require_tool("dciodvfy")
    identity = CurrentIdentity("MERGED-1", "", "Merged^Patient", "", "", "ACC-2")
    result = stored(written, study_uid, "06")
    assert has_moved(result, identity)
    copy = refiled(result, identity, datetime(2026, 3, 1, tzinfo=UTC), tmp_path / "copies")
    assert [file.kind for file in copy.files] == ["sr", "cam"]
    for file in copy.files:
        before = next(one for one in result.files if one.kind == file.kind)
        said = [run(dciodvfy, path) for path in (result.folder / before.name, copy.folder / file.name)]
        errors = [[line for line in text.splitlines() if line.startswith("Error")] for text in said]
        assert errors == [[], []]
    delivery, _ = delivered({"kind": "stow", "service": {"url": orthanc.web}}, copy, listener.engine, "cam", "sr")
    assert delivery.state == "committed", delivery.last_error
    there = pydicom.dcmread(io.BytesIO(orthanc.file(copy.files[0].sop_instance_uid)))
    assert there.PatientID == "MERGED-1"
    for file in copy.files:  # for Orthanc they are another patient's study of the same UID
        delete(orthanc, file.sop_instance_uid)


@contextmanager
def archive_of(kind: str, orthanc: Pacs, dcmqrscp: QueryArchive) -> Iterator[Archive]:
    """An archive by each protocol."""
    node = {"ae_title": AE_TITLE, "host": LOOPBACK, "port": orthanc.dicom_port}
    qr = {"ae_title": QR_TITLE, "host": LOOPBACK, "port": dcmqrscp.port}
    if kind == "dicomweb":
        yield DicomWebArchive(
            WebArchive.model_validate({"name": "pacs", "kind": "dicomweb", "service": {"url": orthanc.web}})
        )
        return
    peer, _, way = kind.partition(" ")
    settings = {"name": "pacs", "kind": "dicom", "node": node if peer == "orthanc" else qr}
    yield DimseArchive(DicomArchive.model_validate(settings | ({"move_to": GATEWAY_TITLE} if way == "move" else {})))


KINDS = ["dicomweb", "orthanc move", "orthanc get", "dcmqrscp move", "dcmqrscp get"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_comes_whole_and_as_it_is_stored(
    kind: str, orthanc: Pacs, dcmqrscp: QueryArchive, listener: Receiver, written: Written, study_uid: str, ct_uid: str
) -> None:
    fetched: list[bytes] = []
    listener.objects.purge(StudyKey(study_uid))

    def put(file: BinaryIO) -> None:
        fetched.append(file.read())

    with archive_of(kind, orthanc, dcmqrscp) as archive:
        series = {one.series_instance_uid: one for one in archive.series_of(study_uid)}
        found = series[ct_uid]
        assert found.modality == "CT"
        assert found.images in (len(written.ct), None)
        assert archive.fetch_series(study_uid, ct_uid, put) == len(written.ct)
        assert archive.sends_to_receiver is kind.endswith("move")
    moved = [listener.objects.path_of(one).read_bytes() for one in listener.objects.objects_of(StudyKey(study_uid))]
    came = moved if kind.endswith("move") else fetched
    assert {_content(data) for data in came} == {_content(path.read_bytes()) for path in written.ct}
    if kind != "dcmqrscp move":  # its C-MOVE proposes implicit VR alone
        assert {_syntax(data) for data in came} == {_syntax(path.read_bytes()) for path in written.ct}


def _content(data: bytes) -> tuple[str, str]:
    """UID and digest of the data set's elements."""
    read = pydicom.dcmread(io.BytesIO(data))
    elements = repr(sorted((int(element.tag), repr(element.value)) for element in read))
    return str(read.SOPInstanceUID), hashlib.sha256(elements.encode()).hexdigest()


def _syntax(data: bytes) -> str:
    """Transfer syntax."""
    return str(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).file_meta.TransferSyntaxUID)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_says_where_an_object_is_and_whose_the_study_is(
    kind: str, orthanc: Pacs, dcmqrscp: QueryArchive, written: Written, study_uid: str, ct_uid: str
) -> None:
    ct = pydicom.dcmread(written.ct[3], stop_before_pixels=True)
    with archive_of(kind, orthanc, dcmqrscp) as archive:
        assert archive.series_holding(study_uid, str(ct.SOPInstanceUID)) == ct_uid
        assert archive.series_holding(study_uid, "1.2.3") is None
        identity = archive.current_identity(study_uid)
        assert identity is not None
        assert (identity.patient_id, identity.patient_name) == (ct.PatientID, str(ct.PatientName))
        assert identity.accession_number == ct.AccessionNumber
        assert ct.PatientID not in repr(identity)
        assert archive.current_identity("1.2.3") is None
        assert archive.series_of("1.2.3") == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_that_the_archive_does_not_have_is_a_failure_or_empty(
    kind: str, orthanc: Pacs, dcmqrscp: QueryArchive, study_uid: str
) -> None:
    failures: list[PeerFailure] = []
    counts: list[int] = []
    with archive_of(kind, orthanc, dcmqrscp) as archive:
        try:
            counts.append(archive.fetch_series(study_uid, "1.2.3", lambda _: None))
        except PeerError as error:
            failures.append(error.failure)
    assert counts == [0] or failures == [PeerFailure.REFUSED]


def test_only_the_contour_arrives_and_the_gateway_fetches_the_ct(
    orthanc: Pacs, written: Written, study_uid: str, tmp_path: Path
) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    settings = FetchSettings.model_validate(
        {"archives": [{"name": "pacs", "kind": "dicomweb", "service": {"url": orthanc.web}}], "after_seconds": 0}
    )
    with ObjectStore(tmp_path / "objects", engine) as objects:
        with written.segmentation.open("rb") as file:
            objects.put(file, ObjectOrigin("pacs", "dimse"))
        fetcher = Fetcher(settings, engine, objects)
        study = StudyKey(study_uid)
        assert fetcher.complete(study) == len(written.ct)
        assert len(objects.objects_of(study)) == len(written.ct) + 1
        assert fetcher.complete(study) == 0
        identity = fetcher.current_identity(study)
        assert identity is not None
    engine.dispose()


def test_earlier_reports_come_from_the_archive_and_nothing_else_does(
    orthanc: Pacs, listener: Receiver, written: Written, study_uid: str, tmp_path: Path
) -> None:
    delivered({"kind": "stow", "service": {"url": orthanc.web}}, stored(written, study_uid, "05"), listener.engine)
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    settings = FetchSettings.model_validate(
        {"archives": [{"name": "pacs", "kind": "dicomweb", "service": {"url": orthanc.web}}]}
    )
    folder = tmp_path / "earlier"
    folder.mkdir()
    with ObjectStore(tmp_path / "objects", engine) as objects:
        with written.segmentation.open("rb") as file:
            objects.put(file, ObjectOrigin("pacs", "dimse"))
        fetcher = Fetcher(settings, engine, objects)
        assert fetcher.earlier_reports(StudyKey(study_uid), folder) == 1
        assert fetcher.earlier_reports(StudyKey(study_uid), folder) == 0
    (path,) = folder.iterdir()
    report = pydicom.dcmread(path)
    assert report == pydicom.dcmread(written.reports["sr"])
    engine.dispose()


@pytest.mark.parametrize("script", ["orthanc-contours.lua", "orthanc-studies.lua"])
def test_orthanc_routes_by_the_scripts_of_the_documentation(
    script: str, listener: Receiver, written: Written, study_uid: str, require_tool: RequireTool, repository: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    """The CT is stored first, then the contour: the gateway gets what the script says, and fetches the rest."""
    require_tool("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    study = StudyKey(study_uid)
    listener.objects.purge(study)
    gateway = {"AET": GATEWAY_TITLE, "Host": LOOPBACK, "Port": listener.port}
    path = repository / "docs" / "examples" / script
    with running_pacs(require_tool("Orthanc"), tmp_path, {"pdl1es": gateway}, path) as pacs:
        pacs.store(require_tool("storescu"), list(written.ct))
        time.sleep(1.5)
        assert listener.objects.objects_of(study) == (), "a CT without contour is not routed"
        pacs.store(require_tool("storescu"), [written.segmentation])
        routed = 1 if script == "orthanc-contours.lua" else len(written.ct) + 1
        end = time.monotonic() + PATIENCE_S
        while len(listener.objects.objects_of(study)) < routed and time.monotonic() < end:
            time.sleep(0.2)
        assert len(listener.objects.objects_of(study)) == routed
        settings = {"archives": [{"name": "web", "kind": "dicomweb", "service": {"url": pacs.web}}], "after_seconds": 0}
        fetched = Fetcher(FetchSettings.model_validate(settings), listener.engine, listener.objects).complete(study)
        assert fetched == len(written.ct) + 1 - routed
    listener.objects.purge(study)
