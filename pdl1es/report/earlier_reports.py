"""Earlier reports that the input does not hold, read from files: a report itself, or an archive's answer to a query.

An answer is JSON of QIDO-RS (PS3.18 10.6 and F.2), with ``includefield`` for Manufacturer (0008,0070), Manufacturer's Model Name
(0008,1090), Content Date (0008,0023), Content Time (0008,0033) and Concept Name Code Sequence (0040,A043), by which this
software knows its own reports; Predecessor Documents Sequence (0040,A360) and Instance Number (0020,0013) help where it has
them. Whoever routes the study can look the reports up and need not send them along.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.regular_file import read_regular_file
from pdl1es.report.predecessors import is_own_object, is_own_report

MAX_ANSWER_BYTES: Final = 2**24
MAX_ANSWERS: Final = 10_000
_PLAIN: Final = {
    "SOPClassUID": "00080016",
    "SOPInstanceUID": "00080018",
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "ContentDate": "00080023",
    "ContentTime": "00080033",
    "Manufacturer": "00080070",
    "ManufacturerModelName": "00081090",
    "InstanceNumber": "00200013",
}
_UIDS: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class EarlierReportError(ValueError):
    """A file named as an earlier report is none, or of another study; the message names the file and what is wrong."""


def read_earlier_reports(file: Path) -> tuple[Instance, ...]:
    """Read the headers of earlier reports.

    Parameters
    ----------
    file
        A report of this software (DICOM), or QIDO-RS's answer (JSON). Of an answer, other software's objects are left out; this
        software's pictures and pages count for the Instance Numbers.

    Returns
    -------
    tuple of Instance
        Which of them a new report replaces is `predecessors.find_predecessors`' to say.

    Raises
    ------
    EarlierReportError
        The file cannot be read, is neither of the two, or is a DICOM object that is no report of this software.
    """
    try:
        content = read_regular_file(file, MAX_ANSWER_BYTES)
    except OSError as error:
        raise EarlierReportError(f"{file.name}: {error.strerror}") from error
    if content[:64].lstrip()[:1] in (b"[", b"{"):
        return tuple(instance for instance in _answer(content, file) if is_own_object(instance))
    try:
        instance = read_instance(file)
    except (UnreadableFileError, NotDicomError) as error:
        raise EarlierReportError(f"{file.name} is neither a DICOM object nor QIDO-RS's answer as JSON") from error
    if not is_own_report(instance):
        raise EarlierReportError(f"{file.name} is no report of this software")
    return (instance,)


def require_reports_of(study: Study, earlier: tuple[Instance, ...]) -> None:
    """Require that each file that was named holds a report of the study.

    Parameters
    ----------
    study
        What the input holds.
    earlier
        From `read_earlier_reports`.

    Raises
    ------
    EarlierReportError
        All reports of a file are of other studies: a new report would replace none of them.
    """
    studies = {instance.study_instance_uid for instance in study.instances}
    for file in dict.fromkeys(instance.path for instance in earlier):
        others = {instance.study_instance_uid for instance in earlier if instance.path == file}
        if studies and not studies & others:
            raise EarlierReportError(
                f"{file.name} holds no report of the study {min(studies)}, but of another one ({min(others)})"
            )


def _answer(content: bytes, file: Path) -> list[Instance]:
    if len(content) > MAX_ANSWER_BYTES:
        raise EarlierReportError(f"{file.name} is larger than {MAX_ANSWER_BYTES} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EarlierReportError(f"{file.name} is not JSON") from error
    if not isinstance(found, list) or len(found) > MAX_ANSWERS:
        raise EarlierReportError(f"{file.name} is no list of at most {MAX_ANSWERS} objects, as QIDO-RS answers")
    headers = [_header(entry) for entry in found if isinstance(entry, dict)]
    return [Instance(file, header) for header in headers if all(header.get(keyword) for keyword in _UIDS)]


def _header(entry: dict[str, Any]) -> Dataset:
    """Return the header of an object as the DICOM JSON model has it (PS3.18 F.2): the elements that are looked at."""
    header = Dataset()
    for keyword, tag in _PLAIN.items():
        text = _text(entry, tag)
        if keyword in _UIDS and not UID(text, validation_mode=config.IGNORE).is_valid:
            continue
        if text and not (keyword == "InstanceNumber" and not (text.isdecimal() and len(text) < 12)):
            setattr(header, keyword, text[:64])
    titles = []
    for item in _items(entry, "0040A043"):
        title = Dataset()
        title.CodeValue = _text(item, "00080100")[:16]
        titles.append(title)
    header.ConceptNameCodeSequence = titles
    header.PredecessorDocumentsSequence = [_study(item) for item in _items(entry, "0040A360")]
    return header


def _study(item: dict[str, Any]) -> Dataset:
    study = Dataset()
    study.ReferencedSeriesSequence = []
    for inner in _items(item, "00081115"):
        series = Dataset()
        series.ReferencedSOPSequence = []
        for reference in _items(inner, "00081199"):
            named = Dataset()
            uid = _text(reference, "00081155")
            if UID(uid, validation_mode=config.IGNORE).is_valid:
                named.ReferencedSOPInstanceUID = uid
                series.ReferencedSOPSequence.append(named)
        study.ReferencedSeriesSequence.append(series)
    return study


def _values(entry: dict[str, Any], tag: str) -> list[Any]:
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _text(entry: dict[str, Any], tag: str) -> str:
    """Return an element's first value as text; empty where it has none."""
    value = next(iter(_values(entry, tag)), "")
    return str(value).strip() if isinstance(value, str | int) else ""


def _items(entry: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [item for item in _values(entry, tag) if isinstance(item, dict)]
