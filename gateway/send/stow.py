"""A DICOMweb server as a destination: one STOW-RS request with the whole set (PS3.18 10.5), then a query by QIDO-RS."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any, Final

import requests

from gateway.clock import utc_now
from gateway.peers.association import DUPLICATE_SOP_INSTANCE
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.web import open_client, open_session, reasons, status_error
from gateway.records import StoredResult
from gateway.send.destination import Confirmation, Outgoing, Receipt, checked_objects, receipt_of
from gateway.send.settings import WebDestination

MOST_ANSWER_BYTES: Final = 2**20
"""Largest answer that is read: a set has three objects."""
NO_STUDY: Final = "2.25.0"
"""A Study Instance UID that no study has, to ask a server whether it answers."""
REFERENCED, FAILED, REASON, UID, WARNING = "00081199", "00081198", "00081197", "00081155", "00081196"
"""Referenced SOP Sequence, Failed SOP Sequence, Failure Reason, Referenced SOP Instance UID, Warning Reason."""


class StowDestination:
    """A DICOMweb server that takes results by STOW-RS. The files' bytes are sent as they are."""

    def __init__(self, settings: WebDestination) -> None:
        """Keep the settings; nothing is connected yet."""
        self._settings = settings

    @property
    def name(self) -> str:
        """Its name in ``gateway.yaml``."""
        return self._settings.name

    def test(self) -> None:
        """Ask for a study that does not exist: any answer but an error of access or of the server is one.

        Raises
        ------
        PeerError
            Why there is no such answer.
        """
        service = self._settings.service
        with reasons("QIDO-RS"), open_session(service, MOST_ANSWER_BYTES) as session:
            answer = session.get(
                f"{service.url}/studies",
                params={"StudyInstanceUID": NO_STUDY, "limit": "1"},
                headers={"Accept": "application/dicom+json"},
                timeout=(service.connect_seconds, service.response_seconds),
            )
        # A server may offer STOW-RS alone.
        if not (answer.ok or answer.status_code in (404, 405, 406, 501)):
            raise status_error("QIDO-RS", answer.status_code)

    def deliver(self, result: StoredResult, attempt: int) -> Receipt:
        """Send the set in one request: see `gateway.send.destination.Destination`.

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
        self.test()
        service = self._settings.service
        body, boundary = multipart(objects)
        with reasons("STOW-RS"), open_session(service, MOST_ANSWER_BYTES) as session:
            answer = session.post(
                f"{service.url}/studies",
                data=body,
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                    "Accept": "application/dicom+json",
                },
                timeout=(service.connect_seconds, service.response_seconds),
            )
        notes = require_stored(answer, objects)
        return receipt_of(result, self.name, attempt=attempt, sent_at=utc_now(), objects=objects, notes=notes)

    def confirm(self, receipt: Receipt) -> Confirmation:
        """Ask by QIDO-RS for each object of the set.

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
        if not self._settings.query:
            return Confirmation(True, "response")
        client = open_client(self._settings.service, MOST_ANSWER_BYTES)
        for one in receipt.objects:
            with reasons("QIDO-RS"):
                found = client.search_for_instances(
                    receipt.study_instance_uid,
                    one.series_instance_uid,
                    search_filters={"SOPInstanceUID": one.sop_instance_uid},
                )
            if one.sop_instance_uid not in _found_uids(found):
                return Confirmation(False, "query", PeerFailure.NOT_FOUND)
        return Confirmation(True, "query")


def multipart(objects: tuple[Outgoing, ...]) -> tuple[bytes, str]:
    """Return a body with one part for each object, and its boundary (PS3.18 8.6.1.2).

    Parameters
    ----------
    objects
        Their files are read as they are.

    Returns
    -------
    bytes
        The body.
    str
        The boundary, which is the same for the same objects and stands in none of them.
    """
    parts = [one.path.read_bytes() for one in objects]
    boundary = hashlib.sha256(b"".join(parts)).hexdigest()
    while any(boundary.encode() in part for part in parts):
        boundary = hashlib.sha256(boundary.encode()).hexdigest()
    mark = b"--" + boundary.encode()
    head = b"\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(mark + head + part + b"\r\n" for part in parts) + mark + b"--\r\n", boundary


def require_stored(answer: requests.Response, objects: tuple[Outgoing, ...]) -> tuple[str, ...]:
    """Raise unless an answer says of every object that it was stored.

    Servers differ in the status with which they say that one was not (PS3.18 table 10.5.3-1: 202 or 409; some say 200), so the
    answer's own lists decide.

    Parameters
    ----------
    answer
        To the request.
    objects
        What was sent.

    Returns
    -------
    tuple of str
        What the server remarked.

    Raises
    ------
    PeerError
        One was not stored, or the answer does not say.
    """
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT):
        raise status_error("STOW-RS", answer.status_code)
    with reasons("STOW-RS: the answer"):
        said = answer.json() if answer.content else {}
    if isinstance(said, list) and len(said) == 1:
        (said,) = said
    try:
        stored = {_uid(item): item for item in _items(said, REFERENCED)}
        failed = {_uid(item): _reason(item, REASON) for item in _items(said, FAILED)}
        warnings = {uid: _reason(item, WARNING) for uid, item in stored.items()}
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise PeerError(PeerFailure.BAD_ANSWER, "STOW-RS: the answer is no DICOM JSON") from error
    notes = []
    for number, one in enumerate(objects, start=1):
        uid, which = one.sop_instance_uid, f"STOW-RS of object {number} of {len(objects)}"
        if uid in failed and failed[uid] != DUPLICATE_SOP_INSTANCE:
            failure = PeerFailure.BUSY if failed[uid] & 0xFF00 == 0xA700 else PeerFailure.REFUSED
            raise PeerError(failure, f"{which}: failure reason 0x{failed[uid]:04X}")
        if uid in failed:
            notes.append(f"{uid}: the peer had it already")
        elif uid not in stored and answer.status_code != HTTPStatus.OK:
            raise PeerError(PeerFailure.REFUSED, f"{which}: HTTP {answer.status_code}")
        elif warning := warnings.get(uid, 0):
            notes.append(f"{uid}: warning reason 0x{warning:04X}")
    return tuple(notes)


def _found_uids(found: list[dict[str, Any]]) -> set[str]:
    """Return the SOP Instance UIDs that the answer to a query names."""
    try:
        return {str(value) for item in found for value in item["00080018"]["Value"]}
    except (KeyError, TypeError) as error:
        raise PeerError(PeerFailure.BAD_ANSWER, "QIDO-RS: the answer is no DICOM JSON") from error


def _items(said: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return list(said.get(tag, {}).get("Value", []))


def _uid(item: dict[str, Any]) -> str:
    return str(item[UID]["Value"][0])


def _reason(item: dict[str, Any], tag: str) -> int:
    values = item.get(tag, {}).get("Value", [0])
    return values[0] if isinstance(values[0], int) else 0
