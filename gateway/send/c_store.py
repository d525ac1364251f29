"""A DICOM node as a destination: C-STORE of the whole set on one association, then storage commitment or a query."""

from __future__ import annotations

from datetime import timedelta

from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from gateway.clock import utc_now
from gateway.peers.association import DUPLICATE_SOP_INSTANCE, accepts, associated, echo, require_success
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.query import find, find_context
from gateway.peers.settings import DicomNode
from gateway.records import StoredResult
from gateway.send.commitment import CommitmentBook, CommitmentState, request_commitment, transaction_uid_of
from gateway.send.destination import Confirmation, Outgoing, Receipt, checked_objects, receipt_of
from gateway.send.settings import DicomDestination


class StoreDestination:
    """A DICOM node that takes results by C-STORE. The files' bytes are sent as they are; nothing is encoded anew."""

    def __init__(self, settings: DicomDestination, book: CommitmentBook) -> None:
        """Keep what is needed; nothing is connected yet.

        Parameters
        ----------
        settings
            Where it is.
        book
            Requests for storage commitment, and the answers that a listener took.
        """
        self._settings = settings
        self._book = book

    @property
    def name(self) -> str:
        """Its name in ``gateway.yaml``."""
        return self._settings.name

    def test(self) -> None:
        """Open an association and send a C-ECHO.

        Raises
        ------
        PeerError
            Why that fails.
        """
        with associated(self._settings.node, []) as association:
            echo(association)

    def deliver(self, result: StoredResult, attempt: int) -> Receipt:
        """Send the set: see `gateway.send.destination.Destination`.

        Nothing is sent before the association is tested and the peer has accepted every object's SOP class in its transfer syntax.

        Parameters
        ----------
        result
            What is sent.
        attempt
            Which attempt it is.

        Returns
        -------
        Receipt

        Raises
        ------
        PeerError
            Why the set was not taken whole.
        """
        objects = checked_objects(result)
        pairs = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in objects)
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
        with associated(self._settings.node, contexts) as association:
            echo(association)
            for sop_class, syntax in pairs:
                if not accepts(association, sop_class, syntax):
                    raise PeerError(
                        PeerFailure.NOT_ACCEPTED, f"SOP class {sop_class} in transfer syntax {syntax}; nothing was sent"
                    )
            notes = [note for one in objects for note in _store(association, one)]
        return receipt_of(result, self.name, attempt=attempt, sent_at=utc_now(), objects=objects, notes=tuple(notes))

    def confirm(self, receipt: Receipt) -> Confirmation:
        """Ask for storage commitment; where the peer does not offer it, never answers, or answers without naming them all, by C-FIND.

        Parameters
        ----------
        receipt
            What it took.

        Returns
        -------
        Confirmation

        Raises
        ------
        PeerError
            It could not be asked.
        """
        rules = self._settings.commitment
        if rules.ask:
            uid = transaction_uid_of(receipt)
            state = self._book.state(uid)
            if state is None or not (state.asked or state.answered or self._is_over(state)):
                request_commitment(
                    self._committing_node(),
                    transaction_uid=uid,
                    objects=receipt.objects,
                    book=self._book,
                    wait_seconds=rules.same_association_seconds,
                )
                state = self._book.state(uid)
            if state is not None and state.answered:
                return self._by_answer(receipt, state)
            if state is not None:
                over = self._is_over(state)
                return (
                    self._query_in_its_place(receipt, PeerFailure.NOT_CONFIRMED)
                    if over
                    else Confirmation(None, "commitment")
                )
        if self._settings.query:
            return self._query(receipt)
        return Confirmation(True, "response")

    def _is_over(self, state: CommitmentState) -> bool:
        """Tell whether the peer's time to answer is over; a clock that stepped back ends it too."""
        return abs(utc_now() - state.requested_at) >= timedelta(seconds=self._settings.commitment.answer_seconds)

    def _by_answer(self, receipt: Receipt, state: CommitmentState) -> Confirmation:
        """Return what the peer's answer says; where it leaves an object out, what it says when it is asked by C-FIND."""
        said = state.said_of(receipt.objects)
        if said is not None:
            return Confirmation(said, "commitment", None if said else PeerFailure.NOT_COMMITTED)
        found = self._query_in_its_place(receipt, PeerFailure.NOT_COMMITTED)
        return found if found.has_them else Confirmation(False, "commitment", PeerFailure.NOT_COMMITTED)

    def _query_in_its_place(self, receipt: Receipt, unproven: PeerFailure) -> Confirmation:
        """Ask by C-FIND in place of storage commitment, which the peer offers, whatever the setting ``query`` says.

        Parameters
        ----------
        receipt
            What it took.
        unproven
            What is said of a peer that answers no queries.
        """
        try:
            return self._query(receipt)
        except PeerError as error:
            if error.failure in (PeerFailure.NOT_ACCEPTED, PeerFailure.REFUSED):  # it answers no queries
                return Confirmation(False, "commitment", unproven)
            raise

    def _committing_node(self) -> DicomNode:
        rules, node = self._settings.commitment, self._settings.node
        return node.model_copy(
            update={
                "ae_title": rules.ae_title or node.ae_title,
                "host": rules.host or node.host,
                "port": rules.port or node.port,
            }
        )

    def _query(self, receipt: Receipt) -> Confirmation:
        with associated(self._settings.node, [find_context()]) as association:
            for one in receipt.objects:
                match = {
                    "StudyInstanceUID": receipt.study_instance_uid,
                    "SeriesInstanceUID": one.series_instance_uid,
                    "SOPInstanceUID": one.sop_instance_uid,
                }
                found = find(association, "IMAGE", match)
                if one.sop_instance_uid not in {str(item.get("SOPInstanceUID", "")) for item in found}:
                    return Confirmation(False, "query", PeerFailure.NOT_FOUND)
        return Confirmation(True, "query")


def _store(association: Association, one: Outgoing) -> list[str]:
    """Send one object; return what the peer remarked."""
    status = association.send_c_store(one.path)
    if status.get("Status") == DUPLICATE_SOP_INSTANCE:
        # An attempt whose answer was lost stored it: the bytes under a UID are always the same.
        return [f"{one.sop_instance_uid}: the peer had it already"]
    require_success(status, f"C-STORE of {one.sop_instance_uid}")
    return [f"{one.sop_instance_uid}: status 0x{status.Status:04X}"] if status.Status else []
