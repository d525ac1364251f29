"""C-STORE and C-ECHO: what a sender is promised, and who may send, told by pynetdicom and dcmtk as senders."""

from __future__ import annotations

import io
import shutil
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)
from sqlalchemy import text

from gateway.clock import utc_now
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.receive.settings import AllowedSender
from gateway.records import StudyKey
from tests.gateway.made_objects import made_object
from tests.gateway.receive.certificates import Certificates
from tests.gateway.receive.conftest import Listen
from tests.gateway.receive.senders import (
    SYNTAXES,
    associated,
    await_rejection,
    data_set,
    send,
    sender_context,
    tls_settings,
)
from tests.waiting import PATIENCE_S, until


def test_c_echo_is_answered(listen: Listen) -> None:
    with associated(listen()) as association:
        assert association.send_c_echo().Status == 0x0000


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_an_object_is_stored_byte_for_byte_in_the_senders_transfer_syntax(
    listen: Listen, store: ObjectStore, syntax: str
) -> None:
    data = made_object(
        "1.2.3.4", study="1.2", transfer_syntax=syntax if syntax != JPEG2000Lossless else ExplicitVRLittleEndian
    )
    made = pydicom.dcmread(io.BytesIO(data))
    if syntax == JPEG2000Lossless:  # any bytes will do: nothing is decoded
        made.file_meta.TransferSyntaxUID = UID(JPEG2000Lossless)
        made.PixelData = pydicom.encaps.encapsulate([b"no image at all!"])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    made.save_as(buffer)
    with associated(listen()) as association:
        assert send(association, buffer.getvalue()) == 0x0000
    (stored,) = store.objects_of(StudyKey("1.2"))
    file = store.path_of(stored).read_bytes()
    assert data_set(file) == data_set(buffer.getvalue())
    read = pydicom.dcmread(io.BytesIO(file))
    assert read.file_meta.TransferSyntaxUID == syntax
    assert read.file_meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert (stored.source, stored.calling_ae_title) == ("pacs", "SENDER")


@pytest.mark.parametrize("pdu_bytes", [16382, 131_072])
def test_large_objects_come_whole_whatever_the_size_of_the_pdus(
    listen: Listen, store: ObjectStore, pdu_bytes: int
) -> None:
    data = made_object("1.2.3.4", study="1.2", pixels=2_000_000)
    with associated(listen(limits={"pdu_bytes": pdu_bytes})) as association:
        assert send(association, data) == 0x0000
    (stored,) = store.objects_of(StudyKey("1.2"))
    assert data_set(store.path_of(stored).read_bytes()) == data_set(data)


def test_an_object_sent_again_is_accepted_once_and_other_bytes_are_told(listen: Listen, store: ObjectStore) -> None:
    with associated(listen()) as association:
        assert send(association, made_object("1.2.3.4", study="1.2")) == 0x0000
        assert send(association, made_object("1.2.3.4", study="1.2")) == 0x0000
        assert send(association, made_object("1.2.3.4", study="1.2", pixels=512)) == 0xB000
    assert len(store.objects_of(StudyKey("1.2"))) == 1
    assert len(store.index.conflicts_of(StudyKey("1.2"))) == 1


def test_an_object_of_another_kind_is_refused_when_contexts_are_negotiated(listen: Listen) -> None:
    with associated(listen()) as association:
        classes = {context.abstract_syntax for context in association.accepted_contexts}
        assert {CTImageStorage, SegmentationStorage, RTStructureSetStorage} <= classes
        assert PositronEmissionTomographyImageStorage not in classes


@pytest.mark.parametrize(
    ("element", "value", "status"),
    [("StudyInstanceUID", "", 0xC000), ("StudyInstanceUID", "..", 0xC000), ("SOPInstanceUID", "1.9", 0xA900)],
)
def test_an_object_that_cannot_be_filed_has_its_own_status_and_the_next_is_taken(
    listen: Listen, store: ObjectStore, element: str, value: str, status: int
) -> None:
    made = pydicom.dcmread(io.BytesIO(made_object("1.2.3.4", study="1.2")))
    made[element].value = value
    with associated(listen()) as association:
        context = next(c for c in association.accepted_contexts if c.abstract_syntax == CTImageStorage)
        assert context.transfer_syntax == [ExplicitVRLittleEndian]
        made.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
        assert association.send_c_store(_claiming(made, "1.2.3.4")).Status == status
        assert send(association, made_object("1.2.3.5", study="1.2")) == 0x0000
    assert [stored.sop_instance_uid for stored in store.objects_of(StudyKey("1.2"))] == ["1.2.3.5"]


def _claiming(made: pydicom.Dataset, uid: str) -> pydicom.Dataset:
    """The object, which pynetdicom sends as another."""

    class Claiming(pydicom.FileDataset):
        @property
        def SOPInstanceUID(self) -> str:
            return uid

    made.__class__ = Claiming
    return made


def test_only_the_listed_senders_may_send_to_the_gateways_own_title(listen: Listen) -> None:
    listener = listen(
        senders=(AllowedSender(ae_title="SENDER"), AllowedSender(ae_title="ELSEWHERE", addresses=("192.0.2.0/24",)))
    )
    with associated(listener) as association:
        assert association.is_established
    for calling, called in (("STRANGER", "PDL1ES"), ("ELSEWHERE", "PDL1ES"), ("SENDER", "OTHER")):
        with associated(listener, calling=calling, called=called) as association:
            await_rejection(association)


def test_a_rejection_is_told_with_both_titles_and_the_address_and_is_counted(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(senders=(AllowedSender(ae_title="SENDER"),))
    with caplog.at_level("INFO", "pdl1es.gateway.receive"):
        with associated(listener) as association:
            assert association.is_established
        with associated(listener, calling="CT1 [x]%s", called="PDL1ES") as association:
            await_rejection(association)
        until(lambda: "ended: rejected" in caplog.text)
        until(lambda: "ended: released, calling AE title 'SENDER', 0 objects stored" in caplog.text)
    titles = "calling AE title 'CT1 ?x??s', called 'PDL1ES'"
    assert f"association rejected: calling AE title not recognised; {titles}, from 127.0.0.1" in caplog.messages
    assert f"from 127.0.0.1 ended: rejected, {titles}" in caplog.text
    assert (listener.outcomes["accepted"], listener.outcomes["rejected"]) == (1, 1)


def test_a_connection_from_an_address_that_may_not_send_is_closed_at_once(listen: Listen) -> None:
    listener = listen(senders=(AllowedSender(ae_title="SENDER", addresses=("192.0.2.0/24",)),))
    with associated(listener) as association:
        assert not association.is_established
        assert not association.is_rejected


def test_a_full_disk_is_told_as_out_of_resources_until_there_is_room(
    listen: Listen, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with associated(listen()) as association:
        monkeypatch.setattr(store.space, "free_bytes", lambda: 0)
        assert send(association, made_object("1.2.3.4", study="1.2")) == 0xA700
        monkeypatch.setattr(store.space, "free_bytes", lambda: 10**15)
        assert send(association, made_object("1.2.3.4", study="1.2")) == 0x0000


def test_a_database_that_is_gone_is_told_as_out_of_resources_until_it_is_back(
    listen: Listen, store: ObjectStore
) -> None:
    with associated(listen()) as association:
        with store.index.engine.begin() as connection:
            connection.execute(text("ALTER TABLE objects RENAME TO gone"))
        assert send(association, made_object("1.2.3.4", study="1.2")) == 0xA700
        with store.index.engine.begin() as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO objects"))
        assert send(association, made_object("1.2.3.4", study="1.2")) == 0x0000


def test_associations_beyond_the_limit_are_told_to_come_back(listen: Listen) -> None:
    listener = listen(limits={"associations": 2})
    with associated(listener) as first, associated(listener) as second:
        assert first.is_established
        assert second.is_established
        with associated(listener) as third:
            await_rejection(third)
            answer = third.acceptor.primitive
            assert answer is not None
            assert answer.result == 2  # transient
    until(lambda: listener.associations == 0)
    with associated(listener) as fourth:
        assert fourth.is_established


def test_a_study_is_in_flight_while_its_association_is_open(listen: Listen, in_flight: InFlight) -> None:
    listener = listen()
    with associated(listener) as association:
        send(association, made_object(study="1.2"))
        assert in_flight.count(StudyKey("1.2"), utc_now()) == 1
        assert in_flight.count(StudyKey("1.3"), utc_now()) == 0
        assert in_flight.count(StudyKey("1.2"), utc_now() + 2 * in_flight.grace) == 0
    until(lambda: in_flight.count(StudyKey("1.2"), utc_now()) == 0)


def test_sixteen_senders_at_once_lose_nothing(listen: Listen, store: ObjectStore) -> None:
    listener = listen()
    made = [[made_object(f"1.2.{sender}.{n}", study=f"1.2.{n % 4}") for n in range(6)] for sender in range(16)]

    def send_all(objects: list[bytes]) -> list[int]:
        with associated(listener) as association:
            return [send(association, data) for data in objects]

    with ThreadPoolExecutor(16) as pool:
        statuses = [status for found in pool.map(send_all, made) for status in found]
    assert statuses == [0] * 96
    stored = {
        found.sop_instance_uid: store.path_of(found).read_bytes()
        for study in store.index.studies()
        for found in store.objects_of(study)
    }
    assert {uid: data_set(data) for uid, data in stored.items()} == {
        f"1.2.{sender}.{n}": data_set(data) for sender, objects in enumerate(made) for n, data in enumerate(objects)
    }


def test_stopping_answers_the_object_that_is_coming_and_then_ends(listen: Listen, store: ObjectStore) -> None:
    listener = listen()
    port = listener.port
    with associated(listener) as association:
        assert send(association, made_object(study="1.2")) == 0
        listener.stop()
        until(lambda: not association.is_established)
    assert listener.associations == 0
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port)) != 0


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_sender_with_a_certificate_stores_over_tls(
    listen: Listen, store: ObjectStore, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = sender_context(certificates, "client")
    context.minimum_version = context.maximum_version = version
    data = made_object("1.2.3.4", study="1.2", pixels=500_000)
    with associated(listen(tls=tls_settings(certificates)), tls=context) as association:
        assert send(association, data) == 0
    (stored,) = store.objects_of(StudyKey("1.2"))
    assert data_set(store.path_of(stored).read_bytes()) == data_set(data)


# --- dcmtk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_dcmtk_stores(listen: Listen, store: ObjectStore, tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here")
    for number in range(5):
        (tmp_path / f"{number}.dcm").write_bytes(made_object(f"1.2.3.{number}", study="1.2"))
    listener = listen()
    files = [str(path) for path in sorted(tmp_path.glob("*.dcm"))]
    done = subprocess.run(
        [program, "-aec", "PDL1ES", "127.0.0.1", str(listener.port), *files],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert len(store.objects_of(StudyKey("1.2"))) == 5


def test_dcmtk_stores_over_tls(listen: Listen, store: ObjectStore, tmp_path: Path, certificates: Certificates) -> None:
    if shutil.which("storescu") is None:
        pytest.skip("storescu is not here")
    (tmp_path / "1.dcm").write_bytes(made_object("1.2.3.4", study="1.2"))
    listener = listen(tls=tls_settings(certificates))
    tls = ["+tls", str(certificates.key("client")), str(certificates.certificate("client"))]
    trusted = ["+cf", str(certificates.certificate("ca"))]
    done = subprocess.run(
        ["storescu", *tls, *trusted, "-aec", "PDL1ES", "127.0.0.1", str(listener.port), str(tmp_path / "1.dcm")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert len(store.objects_of(StudyKey("1.2"))) == 1
