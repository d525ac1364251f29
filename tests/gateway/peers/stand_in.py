"""A PACS for tests, made of pynetdicom: it stores, answers queries, commits, and fails in every way that one is asked to."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from tests.ports import LOOPBACK
from tests.waiting import PATIENCE_S

AE_TITLE = "STANDIN"
Commits = Literal["same", "new", "never", "fails", "refuses"]


@dataclass
class StandIn:
    """What the peer got, and how it behaves."""

    port: int = 0
    stored: dict[str, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    echoes: int = 0
    store_status: Callable[[str], int] = lambda _uid: 0x0000
    slow_seconds: float = 0.0
    commits: Commits = "same"
    listener_port: int = 0
    listener_title: str = "ANY-SCP"
    hidden: bool = False
    transactions: list[str] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    """While it is not set, answers to requests for storage commitment are held back."""


@contextmanager
def stand_in(
    sop_classes: Sequence[str],
    *,
    syntaxes: Sequence[str] = ("1.2.840.10008.1.2.1",),
    commitment: bool = False,
    query: bool = False,
    tls: ssl.SSLContext | None = None,
    calling: list[str] | None = None,
) -> Iterator[StandIn]:
    """Run it on a free port of the loopback interface."""
    peer = StandIn()
    peer.may_answer.set()
    entity = AE(AE_TITLE)
    entity.require_called_aet = True
    entity.require_calling_aet = calling or []
    entity.add_supported_context(Verification)
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    if commitment:
        entity.add_supported_context(StorageCommitmentPushModel)
    if query:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)

    def stored(event: Any) -> int:
        time.sleep(peer.slow_seconds)
        uid = str(event.request.AffectedSOPInstanceUID)
        status = peer.store_status(uid)
        if status in (0x0000, 0xB000):
            data = event.request.DataSet.getvalue()
            peer.versions[uid] = peer.versions.get(uid, 0) + (peer.stored.get(uid) != data)
            peer.stored[uid] = data
            peer.order.append(uid)
        return status

    def echoed(_event: evt.Event) -> int:
        peer.echoes += 1
        return 0x0000

    def found(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        uid = str(event.identifier.SOPInstanceUID)
        if uid in peer.stored and not peer.hidden:
            match = Dataset()
            match.QueryRetrieveLevel = "IMAGE"
            match.SOPInstanceUID = uid
            yield 0xFF00, match

    def asked(event: Any) -> tuple[int, None]:
        if peer.commits == "refuses":
            return 0x0110, None
        peer.transactions.append(str(event.action_information.TransactionUID))
        if peer.commits != "never":
            threading.Thread(target=_answer, args=(peer, event), daemon=True).start()
        return 0x0000, None

    server = entity.start_server(
        (LOOPBACK, 0),
        block=False,
        ssl_context=tls,
        evt_handlers=[
            (evt.EVT_C_STORE, stored),
            (evt.EVT_C_ECHO, echoed),
            (evt.EVT_C_FIND, found),
            (evt.EVT_N_ACTION, asked),
        ],
    )
    assert server is not None
    peer.port = server.server_address[1]
    try:
        yield peer
    finally:
        # It looks only twice a second whether it is to end: no test waits for that.
        threading.Thread(target=server.shutdown, daemon=True).start()


def _answer(peer: StandIn, event: Any) -> None:
    """Send the N-EVENT-REPORT: on the same association, or on one of its own to the listener."""
    peer.may_answer.wait(PATIENCE_S)
    request = event.action_information
    said = Dataset()
    said.TransactionUID = request.TransactionUID
    kept = [item for item in request.ReferencedSOPSequence if item.ReferencedSOPInstanceUID in peer.stored]
    lost = [item for item in request.ReferencedSOPSequence if item not in kept]
    if peer.commits == "fails":
        kept, lost = [], list(request.ReferencedSOPSequence)
    for item in lost:
        item.FailureReason = 0x0112
    said.ReferencedSOPSequence = kept
    if lost:
        said.FailedSOPSequence = lost
    kind = 2 if lost else 1
    association = _association_of_its_own(peer) if peer.commits == "new" else event.assoc
    association.send_n_event_report(said, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    if peer.commits == "new":
        association.release()


def _association_of_its_own(peer: StandIn) -> Any:
    from pynetdicom import build_role

    entity = AE(AE_TITLE)
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate(
        LOOPBACK,
        peer.listener_port,
        ae_title=peer.listener_title,
        ext_neg=[build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)],
    )
    assert association.is_established
    return association
