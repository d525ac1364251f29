"""Filing a result under the values that an archive has for its patient and study now, where they have changed since the scan.

The result itself stays as it is. What is sent instead is a copy with SOP Instance UIDs of its own, made once for each set of values: under
one UID there are always the same bytes. The copy says what was changed (Original Attributes Sequence, PS3.3 C.12.1).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import astuple, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import CurrentIdentity, ResultFile, StoredResult
from gateway.send.destination import checked_files
from pdl1es.atomic import sync_folder, write_synced
from pdl1es.dicom.header_elements import MALFORMED
from pdl1es.report.software import SOFTWARE
from pdl1es.report.uids import derived_uid

ATTRIBUTES: Final = (
    ("PatientID", "patient_id"),
    ("IssuerOfPatientID", "issuer_of_patient_id"),
    ("PatientName", "patient_name"),
    ("PatientBirthDate", "birth_date"),
    ("PatientSex", "sex"),
    ("AccessionNumber", "accession_number"),
)
"""Keyword, and field of `CurrentIdentity`."""
DECIDING: Final = ("PatientID", "IssuerOfPatientID", "AccessionNumber")
"""Whether the study is filed elsewhere is decided by these; names are written in several ways."""
LEFT_OUT: Final = frozenset({"pdf", "kos"})
"""Kinds of which no copy is filed under other values: on a page the patient's are printed, and a Key Object Selection names
objects by UIDs that the copies do not have."""
_LIST: Final = "files.json"
_MODE: Final = 0o600


def has_moved(result: StoredResult, identity: CurrentIdentity) -> bool:
    """Return whether an archive files a result's study under other values than the result has.

    Parameters
    ----------
    result
        Its DICOM objects all have the same values.
    identity
        The archive's; a value that it does not give says nothing.

    Returns
    -------
    bool

    Raises
    ------
    PeerError
        ``RESULT_CHANGED``: a file cannot be read.
    """
    objects = [file for file in result.files if file.sop_instance_uid]
    if not objects:
        return False
    (path, *_) = checked_files(replace(result, files=tuple(objects[:1])))
    header = _read(path)
    now = _values(identity)
    return any(now[keyword] not in ("", str(header.get(keyword, "") or "")) for keyword in DECIDING)


def refiled(result: StoredResult, identity: CurrentIdentity, when: datetime, folder: Path) -> StoredResult:
    """Return a copy of a result under the values that an archive has now.

    Parameters
    ----------
    result
        The DICOM objects of it that are sent; other files, and those of the kinds `LEFT_OUT`, are left out.
    identity
        The archive's values; one that it does not give stays.
    when
        The time that a new copy states as that of its change, UTC.
    folder
        Where copies are kept; one that was made before is returned as it is.

    Returns
    -------
    StoredResult
        With the result's own digest.

    Raises
    ------
    PeerError
        ``RESULT_CHANGED``: a file of the result cannot be read. ``NOT_WRITABLE``: the copy cannot be kept.
    """
    kept = tuple(file for file in result.files if file.sop_instance_uid and file.kind not in LEFT_OUT)
    names = json.dumps([[file.name for file in kept], astuple(identity)])
    place = folder / result.digest[:64] / hashlib.sha256(names.encode()).hexdigest()[:32]
    try:
        if not place.is_dir():
            _write(replace(result, files=kept), identity, when, place)
        files = json.loads((place / _LIST).read_text(encoding="utf-8"))
    except OSError as error:
        raise PeerError(PeerFailure.NOT_WRITABLE, f"copies: {error.strerror or type(error).__name__}") from error
    return replace(result, folder=place, files=tuple(ResultFile(*file) for file in files))


def remove_refiled(digest: str, folder: Path) -> None:
    """Remove all copies of a result.

    Parameters
    ----------
    digest
        Of the result.
    folder
        Where copies are kept.
    """
    shutil.rmtree(folder / digest[:64], ignore_errors=True)


def _write(result: StoredResult, identity: CurrentIdentity, when: datetime, place: Path) -> None:
    values = _values(identity)
    # The objects of a set name each other: each mention of one gets its new UID.
    key = json.dumps(astuple(identity))
    new_uids = {file.sop_instance_uid: derived_uid("refiled", file.sop_instance_uid, key) for file in result.files}
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    aside.mkdir(mode=0o700)
    files = []
    for file, path in zip(result.files, checked_files(result), strict=True):
        data = _changed(_read(path), values, new_uids, when)
        uid = new_uids[file.sop_instance_uid]
        name = f"{uid}.dcm"
        write_synced(aside / name, data, _MODE)
        files.append((name, uid, hashlib.sha256(data).hexdigest(), file.kind))
    write_synced(aside / _LIST, json.dumps(files).encode(), _MODE)
    sync_folder(aside)
    try:
        os.rename(aside, place)  # noqa: PTH104 (its error says that another process was faster)
    except OSError:
        shutil.rmtree(aside)
        if not place.is_dir():
            raise
    sync_folder(place.parent)


def _changed(whole: Dataset, values: dict[str, str], new_uids: Mapping[str, str], when: datetime) -> bytes:
    def renamed(dataset: Dataset, element: object) -> None:
        value = getattr(element, "value", None)
        if getattr(element, "VR", "") == "UI" and isinstance(value, str) and value in new_uids:
            element.value = new_uids[value]  # type: ignore[attr-defined]

    before = Dataset()
    for keyword, value in values.items():
        if value and str(whole.get(keyword, "") or "") != value:
            setattr(before, keyword, whole.get(keyword, ""))
            setattr(whole, keyword, value)
    whole.walk(renamed)
    original = Dataset()
    original.SourceOfPreviousValues = ""
    original.AttributeModificationDateTime = when.strftime("%Y%m%d%H%M%S+0000")
    original.ModifyingSystem = f"{SOFTWARE.name} gateway"
    original.ReasonForTheAttributeModification = "COERCE"
    original.ModifiedAttributesSequence = [before]
    whole.OriginalAttributesSequence = [*(whole.get("OriginalAttributesSequence") or []), original]
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    buffer = io.BytesIO()
    whole.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _values(identity: CurrentIdentity) -> dict[str, str]:
    return {keyword: str(getattr(identity, name)) for keyword, name in ATTRIBUTES}


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except (OSError, InvalidDicomError, RecursionError, *MALFORMED) as error:
        raise PeerError(PeerFailure.RESULT_CHANGED, f"{path.name} is no DICOM file") from error
