"""The DICOM structured report: an assessment as a Comprehensive SR that any PACS stores and any viewer shows.

Comprehensive SR (PS3.3 A.35.3) rather than Comprehensive 3D SR: the report holds no 3-D coordinates (the tumour is
referred to as a segment), and more archives and viewers take it.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from io import BytesIO
from typing import Any, Final

import pydicom
from highdicom.sr import ComprehensiveSR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from pdl1es.assessment import Assessment
from pdl1es.dicom.study import Instance
from pdl1es.report import wording
from pdl1es.report.clock import in_study_zone
from pdl1es.report.codes import PROCESSING_ALGORITHM, coding_scheme_identification
from pdl1es.report.content import report_content
from pdl1es.report.software import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    SOFTWARE,
    SoftwareIdentity,
)
from pdl1es.report.uids import content_uid, derived_uid, series_uid

__all__ = ["SOFTWARE", "SoftwareIdentity", "build_structured_report", "encode"]

SERIES_NUMBER: Final = 9601
"""Above what scanners number their series with."""
CHARACTER_SET: Final = "ISO_IR 192"
"""UTF-8 holds every name that any character set of DICOM can, whatever the images were written in."""

PATIENT_AND_STUDY: Final = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "OtherPatientIDsSequence",
    "EthnicGroup",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)
"""Of the Patient, Clinical Trial, General Study and Patient Study modules (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1 to C.7.2.3):
copied as the images have them."""
TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Those that a report must have, if only empty."""


def build_structured_report(assessment: Assessment, software: SoftwareIdentity, when: datetime) -> Dataset:
    """Return the structured report of one scored tumour.

    Parameters
    ----------
    assessment
        What is reported; its headers give patient and study.
    software
        The device that observes.
    when
        Aware time of the report. The same assessment and time give the same dataset.

    Returns
    -------
    Dataset
        A Comprehensive SR with file meta information; `encode` makes a file of it.
    """
    image = _roi_image(assessment)
    segmentation = assessment.selection.segmentation.instance
    local, offset = in_study_zone(when, image.header)
    content = report_content(assessment, software, image.header)
    report: Dataset = ComprehensiveSR(
        evidence=[_evidence(image), _evidence(segmentation)],
        content=content,
        series_instance_uid=series_uid(assessment, "SR"),
        series_number=SERIES_NUMBER,
        # Replaced below by the one that follows from the content.
        sop_instance_uid=derived_uid("placeholder"),
        instance_number=1,
        manufacturer=software.manufacturer,
        is_complete=True,
        is_final=False,
        is_verified=False,
        record_evidence=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=CHARACTER_SET,
        series_description=wording.series_description(assessment.model),
        manufacturer_model_name=software.name,
        content_date=local.date(),
        content_time=local.time().replace(microsecond=0),
    )
    report = _plain(report)
    _copy_patient_and_study(image.header, report)
    report.InstanceCreationDate, report.InstanceCreationTime = report.ContentDate, report.ContentTime
    if offset is not None:
        report.TimezoneOffsetFromUTC = offset
    report.ContributingEquipmentSequence = [_contributing_equipment(assessment, software, local)]
    report.CodingSchemeIdentificationSequence = coding_scheme_identification(
        list(segmentation.header.get("CodingSchemeIdentificationSequence") or []), _designators(report)
    )
    return _identified(report)


def encode(report: Dataset) -> bytes:
    """Return the report as a DICOM file (PS3.10), Explicit VR Little Endian; the same dataset gives the same bytes."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, report, enforce_file_format=True)
    return buffer.getvalue()


def _roi_image(assessment: Assessment) -> Instance:
    uid = assessment.roi_slice.sop_instance_uid
    return next(ct.instance for ct in assessment.selection.ct.slices if ct.instance.sop_instance_uid == uid)


def _evidence(instance: Instance) -> Dataset:
    """Return what highdicom needs of a referenced object; patient and study come from `_copy_patient_and_study`.

    highdicom would re-read every value and fail on one that breaks its representation (a birth date of ``19500000``),
    which must not cost the study its report.
    """
    evidence = Dataset()
    for keyword in TYPE_2:
        setattr(evidence, keyword, "")
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(evidence, keyword, str(instance.header.get(keyword, "")))
    return evidence


def _copy_patient_and_study(header: Dataset, report: Dataset) -> None:
    """Copy patient and study from an image, its text decoded so that it can be written in UTF-8."""
    context = Dataset()
    for keyword in ("SpecificCharacterSet", *PATIENT_AND_STUDY):
        if keyword in header:
            context[keyword] = deepcopy(header[keyword])
    context.decode()
    context.pop("SpecificCharacterSet", None)
    context.walk(_forget_encoding)
    for element in context:
        report[element.tag] = element


def _forget_encoding(_: Dataset, element: DataElement) -> None:
    """Make a name anew from its text: a PersonName remembers the bytes and the character set that it was read from."""
    if element.VR == "PN" and element.value is not None:
        names = element.value if isinstance(element.value, MultiValue) else [element.value]
        anew = [PersonName(str(name)) for name in names]
        element.value = anew if len(anew) > 1 else anew[0]


def _contributing_equipment(assessment: Assessment, software: SoftwareIdentity, when: datetime) -> Dataset:
    """Return the algorithm as IHE AI Results asks for it (AIR 6.5.3.1)."""
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [_plain(PROCESSING_ALGORITHM)]
    equipment.Manufacturer = software.manufacturer
    equipment.ManufacturerModelName = software.name
    equipment.SoftwareVersions = [
        f"{software.name} {software.version}",
        f"{assessment.model.name} {assessment.model.version}"[:64],
    ]
    equipment.DeviceUID = software.device_uid
    # A DT states its own zone, whatever the study's other times are in.
    equipment.ContributionDateTime = when.strftime("%Y%m%d%H%M%S%z")
    equipment.ContributionDescription = "Scored the tumour and wrote this report"
    return equipment


def _designators(report: Dataset) -> set[str]:
    """Return the coding schemes of every code in the report."""
    return {str(element.value) for element in report.iterall() if element.keyword == "CodingSchemeDesignator"}


def _plain(dataset: Dataset) -> Dataset:
    """Return the dataset and all its items as pydicom's own class, without another library's behaviour."""
    plain = Dataset()
    for element in dataset:
        if element.VR == "SQ":
            plain.add_new(element.tag, "SQ", [_plain(item) for item in element.value])
        else:
            plain[element.tag] = deepcopy(element)
    return plain


def _identified(report: Dataset) -> Dataset:
    """Give the report the SOP Instance UID that follows from its content, and its file meta information."""
    del report.SOPInstanceUID
    report.file_meta = _file_meta(None)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, report, enforce_file_format=False)
    report.SOPInstanceUID = content_uid(buffer.getvalue())
    report.file_meta = _file_meta(report.SOPInstanceUID)
    return report


def _file_meta(sop_instance_uid: Any) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    if sop_instance_uid is not None:
        meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
