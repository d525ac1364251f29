"""Storage commitment: the answer on the same or a new association, never, or no; and what is asked instead."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine, update

from gateway.clock import utc_now
from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import StoredResult
from gateway.send.c_store import StoreDestination
from gateway.send.commitment import (
    COMMITMENTS,
    UNKNOWN_TRANSACTION,
    CommitmentBook,
    record_answer,
    transaction_uid_of,
)
from gateway.send.destination import Confirmation
from tests.gateway.peers.stand_in import Commits, StandIn, stand_in
from tests.gateway.send.dicom_results import SOP_CLASSES, stored_result
from tests.gateway.send.test_c_store import to
from tests.ports import free_port
from tests.waiting import PATIENCE_S

SR = [SOP_CLASSES["sr"]]


@pytest.fixture
def result(tmp_path: Path) -> StoredResult:
    """A report."""
    return stored_result(tmp_path / "result", "sr")


PATIENT = {"same_association_seconds": PATIENCE_S}
"""Who is to answer on the same association has all the time that it needs."""


def confirmed(peer: StandIn, engine: Engine, result: StoredResult, **settings: Any) -> tuple[StoreDestination, Any]:
    """Deliver to the peer; give the destination and the receipt."""
    destination = to(peer.port, engine, **({"commitment": PATIENT} | settings))
    return destination, destination.deliver(result, 1)


def test_the_answer_on_the_same_association_confirms(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR, commitment=True) as peer:
        destination, receipt = confirmed(peer, engine, result)
        assert destination.confirm(receipt) == Confirmation(True, "commitment")
        assert peer.transactions == [transaction_uid_of(receipt)]


def test_a_peer_that_does_not_keep_them_is_told(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR, commitment=True) as peer:
        peer.commits = "fails"
        destination, receipt = confirmed(peer, engine, result)
        assert destination.confirm(receipt) == Confirmation(False, "commitment", PeerFailure.NOT_COMMITTED)


def never_answered(engine: Engine) -> None:
    """Let the time pass that a peer has for its answer."""
    with engine.begin() as connection:
        connection.execute(update(COMMITMENTS).values(requested_at=utc_now() - timedelta(days=1)))


def test_a_peer_that_never_answers_is_queried(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR, commitment=True, query=True) as peer:
        peer.commits = "never"
        destination, receipt = confirmed(peer, engine, result, query=True, commitment={"same_association_seconds": 0})
        assert destination.confirm(receipt) == Confirmation(None, "commitment")
        never_answered(engine)
        assert destination.confirm(receipt) == Confirmation(True, "query")
        peer.hidden = True
        assert destination.confirm(receipt) == Confirmation(False, "query", PeerFailure.NOT_FOUND)


@pytest.mark.parametrize("commits", ["never", "refuses"])
def test_a_peer_that_offers_commitment_and_never_answers_is_queried_whatever_the_settings_say(
    commits: Commits, result: StoredResult, engine: Engine
) -> None:
    with stand_in(SR, commitment=True, query=True) as peer:
        peer.commits = commits
        destination, receipt = confirmed(peer, engine, result, commitment={"same_association_seconds": 0})
        with suppress(PeerError):
            destination.confirm(receipt)
        never_answered(engine)
        assert destination.confirm(receipt) == Confirmation(True, "query")


def test_a_peer_that_never_answers_and_cannot_be_queried_proves_nothing(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR, commitment=True) as peer:
        peer.commits = "never"
        destination, receipt = confirmed(peer, engine, result, commitment={"same_association_seconds": 0})
        destination.confirm(receipt)
        never_answered(engine)
        assert destination.confirm(receipt) == Confirmation(False, "commitment", PeerFailure.NOT_CONFIRMED)
        kept = [one.sop_instance_uid for one in receipt.objects]
        CommitmentBook(engine).answered(transaction_uid_of(receipt), kept=kept, failed=[], now=utc_now())
        assert destination.confirm(receipt) == Confirmation(True, "commitment")


def test_a_peer_without_commitment_is_queried(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR, query=True) as peer:
        destination, receipt = confirmed(peer, engine, result, query=True)
        assert destination.confirm(receipt) == Confirmation(True, "query")


def test_a_peer_with_neither_has_its_answer_to_the_sending_alone(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR) as peer:
        destination, receipt = confirmed(peer, engine, result)
        assert destination.confirm(receipt) == Confirmation(True, "response")


def test_a_request_that_the_peer_refused_is_made_again(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR, commitment=True) as peer:
        peer.commits = "refuses"
        destination, receipt = confirmed(peer, engine, result)
        with pytest.raises(PeerError, match="0x0110"):
            destination.confirm(receipt)
        peer.commits = "same"
        assert destination.confirm(receipt) == Confirmation(True, "commitment")


def test_a_peer_that_is_down_cannot_be_asked(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR, commitment=True) as peer:
        _, receipt = confirmed(peer, engine, result)
    with pytest.raises(PeerError) as caught:
        to(free_port(), engine).confirm(receipt)
    assert caught.value.failure is PeerFailure.UNREACHABLE


def test_another_node_may_be_the_one_that_commits(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR) as store, stand_in([], commitment=True) as committing:
        destination, receipt = confirmed(store, engine, result, commitment=PATIENT | {"port": committing.port})
        committing.stored.update(store.stored)
        assert destination.confirm(receipt) == Confirmation(True, "commitment")
        assert store.transactions == []


def items(*uids: str) -> list[Dataset]:
    """A sequence that names objects."""
    made = [Dataset() for _ in uids]
    for item, uid in zip(made, uids, strict=True):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SOP_CLASSES["sr"], uid
    return made


FOREIGN = "1.2.3.9"


def answer_about(
    destination: StoreDestination, result: StoredResult, engine: Engine, kept: str, failed: str
) -> Confirmation:
    """Deliver report and picture; the peer's answer names as kept and as failed what the words say: ``sr``, ``cam``, ``foreign``."""
    receipt = destination.deliver(result, 1)
    named = {file.kind: file.sop_instance_uid for file in result.files} | {"foreign": FOREIGN}
    book = CommitmentBook(engine)
    book.requested(transaction_uid_of(receipt), utc_now())
    said = Dataset()
    said.TransactionUID = transaction_uid_of(receipt)
    if kept:
        said.ReferencedSOPSequence = items(*(named[word] for word in kept.split()))
    if failed:
        said.FailedSOPSequence = items(*(named[word] for word in failed.split()))
    assert record_answer(said, book) == 0
    return destination.confirm(receipt)


BOTH = [SOP_CLASSES["sr"], SOP_CLASSES["cam"]]


@pytest.mark.parametrize("kept", ["", "sr", "foreign", "sr foreign"])
def test_what_an_answer_does_not_name_is_asked_for_by_a_query_and_else_not_committed(
    kept: str, engine: Engine, tmp_path: Path
) -> None:
    result = stored_result(tmp_path / "two", "cam", "sr")
    with stand_in(BOTH, query=True) as peer:
        found = answer_about(to(peer.port, engine), result, engine, kept, "")
        assert found == Confirmation(True, "query")
        peer.hidden = True
        receipt = to(peer.port, engine).deliver(result, 1)
        not_committed = Confirmation(False, "commitment", PeerFailure.NOT_COMMITTED)
        assert to(peer.port, engine).confirm(receipt) == not_committed


def test_an_answer_that_leaves_an_object_out_by_a_peer_that_answers_no_query_commits_to_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    with stand_in(BOTH) as peer:
        found = answer_about(to(peer.port, engine), stored_result(tmp_path / "two", "cam", "sr"), engine, "sr", "")
    assert found == Confirmation(False, "commitment", PeerFailure.NOT_COMMITTED)


@pytest.mark.parametrize(
    ("kept", "failed", "has_them"),
    [
        ("cam sr", "", True),
        ("cam sr", "foreign", True),
        ("cam", "sr", False),
        ("cam sr", "sr", False),
        ("", "cam", False),
    ],
)
def test_what_an_answer_says_of_the_objects_of_the_request_decides(
    kept: str, failed: str, has_them: bool, engine: Engine, tmp_path: Path
) -> None:
    with stand_in(BOTH) as peer:
        found = answer_about(to(peer.port, engine), stored_result(tmp_path / "two", "cam", "sr"), engine, kept, failed)
    assert found == Confirmation(has_them, "commitment", None if has_them else PeerFailure.NOT_COMMITTED)


def test_an_answer_that_nobody_asked_for_is_refused_and_told(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    said = Dataset()
    assert record_answer(said, CommitmentBook(engine)) == UNKNOWN_TRANSACTION
    said.TransactionUID, said.ReferencedSOPSequence = "1.2.3", items(FOREIGN)
    caplog.clear()
    assert record_answer(said, CommitmentBook(engine)) == UNKNOWN_TRANSACTION
    assert [one.getMessage().partition(";")[0] for one in caplog.records] == [
        "a peer answers to a request for storage commitment that was never made"
    ]


def test_the_first_answer_stays(engine: Engine) -> None:
    book = CommitmentBook(engine)
    book.requested("1.2.3", utc_now())
    assert book.answered("1.2.3", kept=[], failed=["1.2.9"], now=utc_now())
    assert book.answered("1.2.3", kept=["1.2.9"], failed=[], now=utc_now())
    state = book.state("1.2.3")
    assert state is not None
    assert (state.kept, state.failed) == ((), ("1.2.9",))
