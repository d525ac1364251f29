"""What the gateway reads of a study's header: no more than it needs to find the clinical row, and what is urgent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydicom import dcmread

from pdl1es.dicom.header_elements import MALFORMED
from pdl1es.dicom.silence import silenced_pydicom


@dataclass(frozen=True, slots=True, repr=False)
class StudyHeader:
    """What the gateway reads of a study's header: by it the clinical row is found, and what is urgent.

    Attributes
    ----------
    patient_id, accession_number
        Patient ID (0010,0020), Accession Number (0008,0050).
    priority
        Requested Procedure Priority (0040,1003).
    """

    patient_id: str = ""
    accession_number: str = ""
    priority: str = ""

    def __repr__(self) -> str:
        """Say nothing of the patient."""
        return "<StudyHeader>"


_ELEMENTS: Final = ("PatientID", "AccessionNumber", "RequestedProcedurePriority")


def read_study_header(paths: Iterable[Any]) -> StudyHeader:
    """Read the header of the first file that can be read.

    Parameters
    ----------
    paths
        Files of one study, CT images first.

    Returns
    -------
    StudyHeader
        Empty where none can be read.
    """
    for path in paths:
        try:
            with silenced_pydicom():
                found = dcmread(path, stop_before_pixels=True, specific_tags=list(_ELEMENTS))
                # pydicom reads a value when it is asked for: one that breaks DICOM's rules fails here.
                return StudyHeader(*(str(found.get(keyword, "") or "").strip() for keyword in _ELEMENTS))
        except (*MALFORMED, RecursionError):
            continue  # the chain refuses a study whose files cannot be read, with the reason
    return StudyHeader()
