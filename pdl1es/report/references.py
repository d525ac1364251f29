"""References from one DICOM object to others, alone (PS3.3 10.8) and by study and series (PS3.3 C.17.2.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """An object, and where it stands.

    Attributes
    ----------
    study_instance_uid, series_instance_uid, sop_class_uid, sop_instance_uid
        The object's.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str

    @classmethod
    def of(cls, header: Dataset) -> ObjectReference:
        """Return the reference to the object with this header."""
        return cls(
            *(
                str(header.get(keyword, "") or "")
                for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
            )
        )


def sop_reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return the reference to an object alone.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid
        The object's.

    Returns
    -------
    Dataset
        Item of a sequence of references.
    """
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def hierarchical_references(references: Iterable[ObjectReference]) -> list[Dataset]:
    """Return one item for each study, with its series and their objects, in the order in which they first come."""
    studies: dict[str, dict[str, dict[str, ObjectReference]]] = {}
    for reference in references:
        series = studies.setdefault(reference.study_instance_uid, {})
        series.setdefault(reference.series_instance_uid, {}).setdefault(reference.sop_instance_uid, reference)
    return [_study_item(uid, series) for uid, series in studies.items()]


def _study_item(study_instance_uid: str, series: dict[str, dict[str, ObjectReference]]) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID = study_instance_uid
    study.ReferencedSeriesSequence = []
    for series_instance_uid, objects in series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_instance_uid
        item.ReferencedSOPSequence = [
            sop_reference(reference.sop_class_uid, reference.sop_instance_uid) for reference in objects.values()
        ]
        study.ReferencedSeriesSequence.append(item)
    return study
