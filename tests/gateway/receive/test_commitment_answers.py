"""A PACS answers to a request for storage commitment at the port where the gateway receives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from sqlalchemy import Engine

from gateway.clock import utc_now
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.receive.listener import DimseListener
from gateway.receive.settings import DimseSource
from gateway.send.commitment import CommitmentBook, record_answer
from gateway.send.destination import Confirmation
from tests.gateway.peers.stand_in import stand_in
from tests.gateway.send.dicom_results import SOP_CLASSES, stored_result
from tests.gateway.send.test_c_store import to
from tests.ports import LOOPBACK
from tests.waiting import until


@pytest.fixture
def book(database: Engine) -> CommitmentBook:
    """The requests."""
    return CommitmentBook(database)


@pytest.fixture
def listener(store: ObjectStore, in_flight: InFlight, book: CommitmentBook) -> Iterator[DimseListener]:
    """A listener that takes answers."""
    source = DimseSource(name="pacs", port=0)
    with DimseListener(source, store, in_flight, answered=lambda said: record_answer(said, book)) as made:
        yield made


def answer(port: int, information: Dataset) -> int:
    """Say it as a PACS does, in the role of the SCP; gives the status."""
    entity = AE("PACS")
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate(
        LOOPBACK, port, ae_title="PDL1ES", ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)]
    )
    assert association.is_established
    assert association.accepted_contexts[0].as_scp, "the role of the SCP is agreed on"
    status, _ = association.send_n_event_report(
        information, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    association.release()
    return int(status.Status)


def kept(transaction_uid: str, *failed: str) -> Dataset:
    """Event information (PS3.4 table J.3-2)."""
    said = Dataset()
    said.TransactionUID = transaction_uid
    said.ReferencedSOPSequence, said.FailedSOPSequence = [], []
    for uid in failed:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SOP_CLASSES["sr"], uid
        item.FailureReason = 0x0112
        said.FailedSOPSequence.append(item)
    return said


def test_an_answer_to_a_request_is_taken(listener: DimseListener, book: CommitmentBook) -> None:
    for uid in ("1.2.1", "1.2.2"):
        book.requested(uid, utc_now())
    assert answer(listener.port, kept("1.2.1")) == 0x0000
    assert answer(listener.port, kept("1.2.2", "1.9")) == 0x0000
    first, second = book.state("1.2.1"), book.state("1.2.2")
    assert first is not None
    assert second is not None
    assert (first.answered, first.failed, second.failed) == (True, (), ("1.9",))


def test_an_answer_to_no_request_is_refused(listener: DimseListener) -> None:
    assert answer(listener.port, kept("1.2.3")) == 0x0112


def test_an_answer_that_is_too_long_is_refused_and_the_next_is_taken(
    listener: DimseListener, book: CommitmentBook
) -> None:
    book.requested("1.2.1", utc_now())
    assert answer(listener.port, kept("1.2.1", *(f"1.2.{number}" for number in range(30_000)))) == 0x0115
    assert answer(listener.port, kept("1.2.1")) == 0x0000


def test_a_gateway_that_asks_for_nothing_takes_no_answer(store: ObjectStore, in_flight: InFlight) -> None:
    with DimseListener(DimseSource(name="pacs", port=0), store, in_flight) as listener:
        assert answer(listener.port, kept("1.2.3")) == 0x0211


def test_a_database_that_is_gone_has_the_peer_say_it_again(store: ObjectStore, in_flight: InFlight) -> None:
    from sqlalchemy.exc import OperationalError

    def gone(_said: Dataset) -> int:
        raise OperationalError("", {}, Exception())

    with DimseListener(DimseSource(name="pacs", port=0), store, in_flight, answered=gone) as listener:
        assert answer(listener.port, kept("1.2.3")) == 0x0110


def test_a_delivery_is_confirmed_by_an_answer_at_the_receivers_port(
    listener: DimseListener, database: Engine, tmp_path: Path
) -> None:
    result = stored_result(tmp_path / "result", "sr")
    with stand_in([SOP_CLASSES["sr"]], commitment=True) as peer:
        peer.commits, peer.listener_port, peer.listener_title = "new", listener.port, "PDL1ES"
        destination = to(peer.port, database, commitment={"same_association_seconds": 0})
        receipt = destination.deliver(result, 1)
        peer.may_answer.clear()
        assert destination.confirm(receipt).has_them is None
        peer.may_answer.set()
        until(lambda: destination.confirm(receipt) == Confirmation(True, "commitment"))
        assert len(peer.transactions) == 1, "the peer is asked once"
