"""Earlier reports of this software on the same study. A new report names them, so that an archive knows which one is valid."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.report.codes import NOT_ANALYSED_TITLE, REPORT_TITLE
from pdl1es.report.references import ObjectReference
from pdl1es.report.software import SOFTWARE


@dataclass(frozen=True, slots=True)
class Predecessor(ObjectReference):
    """An earlier report.

    Attributes
    ----------
    written
        Its content date and time, as ``"2026-02-01 10:15"``; empty where it states none.
    analysed
        Whether it is a scored report; else it says that the study was not analysed.
    """

    written: str
    analysed: bool = True


def find_predecessors(study: Study, study_instance_uid: str) -> tuple[Predecessor, ...]:
    """Find the reports that a new report on this study replaces.

    Parameters
    ----------
    study
        What the input holds.
    study_instance_uid
        Of the study that is reported.

    Returns
    -------
    tuple of Predecessor
        This software's reports of the study, whatever segmentation or model they were made with, and those that say
        that it was not analysed, except those that another of them already replaces; in the order of their dates.
    """
    ours = [
        instance
        for instance in study.instances
        if is_own_report(instance) and instance.study_instance_uid == study_instance_uid
    ]
    replaced = {
        str(item.get("ReferencedSOPInstanceUID", ""))
        for instance in ours
        for predecessor_study in instance.header.get("PredecessorDocumentsSequence") or []
        for series in predecessor_study.get("ReferencedSeriesSequence") or []
        for item in series.get("ReferencedSOPSequence") or []
    }
    found = [_predecessor(instance) for instance in ours if instance.sop_instance_uid not in replaced]
    return tuple(sorted(found, key=lambda predecessor: (predecessor.written, predecessor.sop_instance_uid)))


def is_own_report(instance: Instance) -> bool:
    """Return whether an object is a report of this software: a scored one, or one that a study was not analysed.

    Parameters
    ----------
    instance
        Its header.

    Returns
    -------
    bool
    """
    return (
        instance.sop_class_uid in (ComprehensiveSRStorage, Comprehensive3DSRStorage)
        and is_own_object(instance)
        and _title(instance.header) in (REPORT_TITLE.value, NOT_ANALYSED_TITLE.value)
    )


def is_own_object(instance: Instance) -> bool:
    """Return whether an object was made by this software, of whatever kind: a report, a picture, a page.

    Parameters
    ----------
    instance
        Its header.

    Returns
    -------
    bool
    """
    stated = (str(instance.header.get(keyword, "") or "") for keyword in ("Manufacturer", "ManufacturerModelName"))
    return tuple(stated) == (SOFTWARE.manufacturer, SOFTWARE.name)


def _title(header: Dataset) -> str:
    """Return the Code Value of the document's title; empty where it has none, or several."""
    titles = header.get("ConceptNameCodeSequence") or []
    return str(titles[0].get("CodeValue", "")) if len(titles) == 1 else ""


def _predecessor(instance: Instance) -> Predecessor:
    date, time = (str(instance.header.get(keyword, "") or "") for keyword in ("ContentDate", "ContentTime"))
    written = f"{date[:4]}-{date[4:6]}-{date[6:8]} {time[:2]}:{time[2:4]}" if len(date) == 8 and len(time) >= 4 else ""
    return Predecessor(
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        written=written,
        analysed=_title(instance.header) == REPORT_TITLE.value,
    )
