"""A study in each state that it can have, with objects, run, result and deliveries as the gateway leaves them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Final

from sqlalchemy import insert

from gateway.clock import utc_now
from gateway.database import METADATA
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore, StoreLimits
from gateway.retention.removal import StudyStores, remove_study
from gateway.send.destination import Confirmation, Receipt
from gateway.send.rules import Shipment
from gateway.send.sender import Sender
from gateway.settings.file import load_gateway_settings
from gateway.workflow.tables import RESULT_FILES, RESULTS
from tests.gateway.made_objects import made_object
from tests.gateway.steer.steered import Steered
from tests.gateway.workflow.stand_ins import STUDY, some_run

CONTENT: Final = b"{}"


def opened_objects(steered: Steered) -> ObjectStore:
    """The gateway's object store."""
    return ObjectStore(steered.folder / "objects", steered.engine, StoreLimits(reserve_bytes=0))


def put_objects(steered: Steered) -> None:
    """One object of the study, which came a while ago from CT1."""
    _put(steered, [made_object("1.2.3.4", study=STUDY.study_instance_uid)])


def put_files(steered: Steered, files: Iterable[Path]) -> None:
    """Files that came from CT1."""
    _put(steered, (file.read_bytes() for file in files))


def _put(steered: Steered, contents: Iterable[bytes]) -> None:
    with opened_objects(steered) as objects:
        for content in contents:
            objects.put(BytesIO(content), ObjectOrigin("ct", "dimse", "CT1"))


def keep_result(
    steered: Steered, digest: str, *, withheld: tuple[str, ...] = (), training_data: str = "patients"
) -> None:
    """A stored result of one file, which was handed over."""
    folder = steered.results.folder / digest
    folder.mkdir()
    (folder / "result.json").write_bytes(CONTENT)
    key = {"digest": digest}
    row = {"study_instance_uid": STUDY.study_instance_uid, "group": "", "score": 0.5, "refusal": ""}
    file = {"name": "result.json", "sop_instance_uid": "", "sha256": sha256(CONTENT).hexdigest(), "kind": "json"}
    with steered.engine.begin() as connection:
        connection.execute(
            insert(RESULTS).values(
                **key, **row, training_data=training_data, created_at=utc_now(), withheld=list(withheld)
            )
        )
        connection.execute(insert(RESULT_FILES).values(**key, **file))


def _run(steered: Steered, digest: str = "d1", *, ends: str = "", attempts: int = 1) -> None:
    steered.ledger.enter(some_run(digest))
    if ends:
        for number in range(1, attempts + 1):
            steered.ledger.began(digest, number)
        steered.ledger.ended(digest, attempts, ends, reason="WORKER_CRASHED: x")  # type: ignore[arg-type]


def _parked(steered: Steered) -> None:
    _run(steered, ends="parked")


def _running(steered: Steered) -> None:
    _run(steered)
    steered.ledger.began("d1", 1)


def _done(steered: Steered, digest: str = "d1") -> None:
    _run(steered, digest, ends="done")
    keep_result(steered, digest)


def _begun(steered: Steered, digest: str = "d1") -> None:
    _done(steered, digest)
    steered.book.begin(digest, STUDY.study_instance_uid, (Shipment("disk", ("json",)),), utc_now())


def _sent(steered: Steered) -> None:
    _begun(steered)
    receipt = Receipt("d1", "disk", STUDY.study_instance_uid, 1, utc_now(), ())
    steered.book.record_sent(receipt, utc_now())


def _committed(steered: Steered, digest: str = "d1") -> None:
    _begun(steered, digest)
    steered.book.record_confirmed(digest, "disk", Confirmation(True, "file"), utc_now())


def _dead(steered: Steered) -> None:
    _begun(steered)
    steered.book.record_failure("d1", "disk", error="REFUSED: x", next_at=None, now=utc_now())


def _overtaken(steered: Steered) -> None:
    _parked(steered)
    _committed(steered, "d2")


def _stored(steered: Steered) -> None:
    steered.document["send"]["rules"] = []
    steered.write()
    _done(steered)


def _withheld(steered: Steered) -> None:
    del steered.document["allow_demonstration"]
    steered.write()
    _run(steered, ends="done")
    keep_result(steered, "d1", withheld=("disk: the model was not trained on patients",), training_data="synthetic")


def remove(steered: Steered, *, delivered_only: bool = False) -> None:
    """Remove the study as `purge` or the retention rules do."""
    with steered.engine.begin() as connection:
        connection.execute(METADATA.tables["in_flight"].delete())
    with opened_objects(steered) as objects:
        stores = StudyStores(objects, steered.results, steered.folder / "refiled")
        remove_study(STUDY, stores, delivered_only=delivered_only)


def _purged(steered: Steered) -> None:
    _begun(steered)
    remove(steered)


def _purged_before_its_result(steered: Steered) -> None:
    _run(steered)
    remove(steered)


def _removed(steered: Steered) -> None:
    _committed(steered)
    remove(steered, delivered_only=True)


def _removed_unsent(steered: Steered) -> None:
    _stored(steered)
    remove(steered, delivered_only=True)


def _removed_and_sent_again(steered: Steered) -> None:
    _removed(steered)
    put_objects(steered)


STATES: Final[dict[str, Callable[[Steered], None]]] = {
    "arriving": lambda _steered: None,
    "queued": _run,
    "running": _running,
    "again": lambda steered: _run(steered, ends="again"),
    "parked": _parked,
    "overtaken": _overtaken,
    "stale": lambda steered: _run(steered, ends="stale"),
    "stored": _stored,
    "withheld": _withheld,
    "waiting": _begun,
    "sent": _sent,
    "committed": _committed,
    "dead": _dead,
    "purged": _purged,
    "purged before its result": _purged_before_its_result,
    "removed by retention": _removed,
    "removed, never sent": _removed_unsent,
    "removed by retention and sent again": _removed_and_sent_again,
}
"""How each state comes about."""


def bring_into(steered: Steered, state: str) -> None:
    """Bring a study into a state, in a gateway that would send its result's ``json`` to the folder ``disk``."""
    steered.document["allow_demonstration"] = True
    steered.document["send"] = {
        "destinations": steered.document["send"]["destinations"][:1],
        "rules": [{"to": ["disk"], "outputs": ["json"]}],
    }
    steered.write()
    put_objects(steered)
    STATES[state](steered)


def settle(steered: Steered) -> None:
    """Do what the sender does, until nothing is to be sent."""
    sender = Sender(load_gateway_settings(steered.config).send, steered.engine)
    while due := sender.book.due(utc_now()):
        for detail in due:
            result = steered.results.find(detail.delivery.digest)
            assert result is not None
            sender.advance(result, detail.delivery.destination)
