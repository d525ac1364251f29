"""What an archive's answers say: counts, the study's patient, and whether an object is of the series that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Final

from pydicom import dcmread
from pydicom.dataset import Dataset

from gateway.objects.identity import is_uid
from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import CurrentIdentity
from pdl1es.dicom.header_elements import MALFORMED
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.report.software import SOFTWARE

IDENTITY_KEYWORDS: Final = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
)

NO_OBJECT: Final = (*MALFORMED, RecursionError)
"""What pydicom raises on bytes that are no DICOM object."""
_OWN: Final = ("SOPInstanceUID", "Manufacturer", "ManufacturerModelName")


def number_of(item: Dataset, keyword: str) -> int | None:
    """Return a count that an archive states.

    Parameters
    ----------
    item
        A match.
    keyword
        Of the attribute.

    Returns
    -------
    int or None
        None where there is none, or no number.
    """
    try:
        value = int(str(item.get(keyword, "")))
    except ValueError:
        return None
    return value if value > 0 else None


def identity_of(found: Sequence[Dataset], study_instance_uid: str) -> CurrentIdentity | None:
    """Return the identity that the answer to a query of a study holds.

    Parameters
    ----------
    found
        The matches.
    study_instance_uid
        Of the study that was asked for; an archive that ignores the key gives other studies too.

    Returns
    -------
    CurrentIdentity or None
        None where the archive does not have the study.

    Raises
    ------
    PeerError
        ``BAD_ANSWER``: it has the study of several patients, or does not say whose it is.
    """
    fitting = [item for item in found if str(item.get("StudyInstanceUID", "")) == study_instance_uid]
    identities = {tuple(str(item.get(keyword, "") or "") for keyword in IDENTITY_KEYWORDS) for item in fitting}
    if not identities:
        return None
    if len(identities) > 1:
        raise PeerError(PeerFailure.BAD_ANSWER, "the archive has the study several times")
    (values,) = identities
    if not values[0]:
        raise PeerError(PeerFailure.BAD_ANSWER, "the archive does not say whose study it is")
    return CurrentIdentity(*values)


def require_series(file: BinaryIO, study_instance_uid: str, series_instance_uid: str) -> None:
    """Raise unless a file is an object of a series; it is left at its start.

    Parameters
    ----------
    file
        At its start.
    study_instance_uid
        Of the study that was asked for.
    series_instance_uid
        Of the series that was asked for.

    Raises
    ------
    PeerError
        ``BAD_ANSWER``: it is another, or no DICOM object.
    """
    try:
        with silenced_pydicom():
            header = dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
            found = (str(header.get("StudyInstanceUID", "")), str(header.get("SeriesInstanceUID", "")))
    except NO_OBJECT as error:
        raise no_object() from error
    if found != (study_instance_uid, series_instance_uid):
        raise PeerError(PeerFailure.BAD_ANSWER, "the archive gave an object of another series than was asked for")
    file.seek(0)


def own_report(file: BinaryIO) -> str:
    """Return the SOP Instance UID of a report of this software; the file is left at its start.

    Parameters
    ----------
    file
        At its start.

    Returns
    -------
    str
        Empty where the report is another software's, by the manufacturer and the model name that it states.

    Raises
    ------
    PeerError
        ``BAD_ANSWER``: it is no DICOM object, or has no such UID.
    """
    try:
        with silenced_pydicom():
            header = dcmread(file, stop_before_pixels=True, specific_tags=list(_OWN))
            uid, *stated = (str(header.get(keyword, "") or "") for keyword in _OWN)
    except NO_OBJECT as error:
        raise no_object() from error
    file.seek(0)
    if stated != [SOFTWARE.manufacturer, SOFTWARE.name]:
        return ""
    if not is_uid(uid):
        raise PeerError(PeerFailure.BAD_ANSWER, "the archive gave a report without SOP Instance UID")
    return uid


def no_object() -> PeerError:
    """Return the error of an answer that is no DICOM object."""
    return PeerError(PeerFailure.BAD_ANSWER, "the archive gave a part that is no DICOM object")
