"""Shared by all objects that this software writes: patient and study of the images, the equipment, the UID."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Final

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from pdl1es.assessment import Assessment
from pdl1es.model.metadata import ModelMetadata
from pdl1es.report.clock import in_study_zone
from pdl1es.report.codes import PROCESSING_ALGORITHM, code_sequence_item, coding_scheme_identification
from pdl1es.report.options import ReportOptions
from pdl1es.report.software import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pdl1es.report.uids import content_uid

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
    "SmokingStatus",
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
"""Those that a report must have, even if empty (type 2)."""


def copy_patient_and_study(header: Dataset, target: Dataset) -> None:
    """Copy patient and study from an image, its text decoded so that it can be written in UTF-8.

    Parameters
    ----------
    header
        Of the image.
    target
        It gets the attributes of `PATIENT_AND_STUDY` that the image has, and those of `TYPE_2`, empty where neither has
        them.
    """
    context = Dataset()
    for keyword in ("SpecificCharacterSet", *PATIENT_AND_STUDY):
        if keyword in header:
            context[keyword] = deepcopy(header[keyword])
    context.decode()
    context.pop("SpecificCharacterSet", None)
    context.walk(_forget_encoding)
    for element in context:
        target[element.tag] = element
    for keyword in TYPE_2:
        if keyword not in target:
            setattr(target, keyword, "")


@dataclass(frozen=True, slots=True)
class StudyContext:
    """Attributes that the objects on one study take from the study, the run's options and the model.

    Attributes
    ----------
    header
        Of an image of the study; of a scored one, the image nearest to the ROI slice.
    options
        What the run's reports have in common.
    when, offset
        The reports' time in the study's zone, and that zone (`clock.in_study_zone`).
    model, model_sha256
        By which they were made, and the SHA-256 of its file; None for a refusal.
    input_schemes
        Coding schemes that the input declares.
    """

    header: Dataset
    options: ReportOptions
    when: datetime
    offset: str | None
    model: ModelMetadata | None = None
    model_sha256: str | None = None
    input_schemes: tuple[Dataset, ...] = ()

    def complete(self, target: Dataset, contribution: str) -> Dataset:
        """Give an object patient and study, its times, its contributing equipment, its coding schemes and its UID.

        Parameters
        ----------
        target
            The object without them; not changed.
        contribution
            What the software did, as Contribution Description.

        Returns
        -------
        Dataset
            The whole object in pydicom's own classes, with file meta information. Its SOP Instance UID follows from all
            the rest.
        """
        whole = plain(target)
        copy_patient_and_study(self.header, whole)
        whole.SpecificCharacterSet = CHARACTER_SET
        whole.ContentDate, whole.ContentTime = self.when.strftime("%Y%m%d"), self.when.strftime("%H%M%S")
        whole.InstanceCreationDate, whole.InstanceCreationTime = whole.ContentDate, whole.ContentTime
        if self.offset is not None:
            whole.TimezoneOffsetFromUTC = self.offset
        whole.ContributingEquipmentSequence = [_contributing_equipment(self, contribution)]
        whole.CodingSchemeIdentificationSequence = coding_scheme_identification(self.input_schemes, _designators(whole))
        return identified(whole)


def scored_study(assessment: Assessment, options: ReportOptions) -> StudyContext:
    """Return what the objects on a scored study have in common.

    Parameters
    ----------
    assessment
        Its headers give patient and study.
    options
        What the run's reports have in common.

    Returns
    -------
    StudyContext
    """
    header = assessment.roi_slice.instance.header
    when, offset = in_study_zone(options.when, header)
    schemes = assessment.selection.segmentation.instance.header.get("CodingSchemeIdentificationSequence")
    return StudyContext(
        header,
        options,
        when,
        offset,
        assessment.model,
        assessment.prediction.model_sha256,
        tuple(schemes or ()),
    )


def refused_study(header: Dataset, options: ReportOptions) -> StudyContext:
    """Return what the report on a refused study takes from it.

    Parameters
    ----------
    header
        Of an object of the study.
    options
        What the run's reports have in common.

    Returns
    -------
    StudyContext
    """
    when, offset = in_study_zone(options.when, header)
    return StudyContext(header, options, when, offset)


def encode(report: Dataset) -> bytes:
    """Return an object as a DICOM file (PS3.10), Explicit VR Little Endian; the same dataset gives the same bytes."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, report, enforce_file_format=True)
    return buffer.getvalue()


def plain(dataset: Dataset) -> Dataset:
    """Return the dataset and all its items as pydicom's own classes instead of highdicom's."""
    copied = Dataset()
    for element in dataset:
        if element.VR == "SQ":
            copied.add_new(element.tag, "SQ", [plain(item) for item in element.value])
        elif isinstance(element.value, MultiValue):
            copied[element.tag] = deepcopy(element)
        else:  # a value that nothing changes
            copied[element.tag] = DataElement(element.tag, element.VR, element.value, already_converted=True)
    return copied


def _forget_encoding(_: Dataset, element: DataElement) -> None:
    """Make a name anew from its text: a PersonName remembers the bytes and the character set that it was read from."""
    if element.VR == "PN" and element.value is not None:
        names = element.value if isinstance(element.value, MultiValue) else [element.value]
        anew = [PersonName(str(name)) for name in names]
        element.value = anew if len(anew) > 1 else anew[0]


def _contributing_equipment(study: StudyContext, contribution: str) -> Dataset:
    """Return the algorithm as IHE AI Results asks for it (AIR 6.5.3.1)."""
    software, model = study.options.software, study.model
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [code_sequence_item(PROCESSING_ALGORITHM)]
    equipment.Manufacturer = software.manufacturer
    equipment.ManufacturerModelName = software.name
    versions = [f"{software.name} {software.version}"]
    if model is not None:
        versions.append(f"{model.name} {model.version}"[:64])
    if study.model_sha256 is not None:
        versions.append(study.model_sha256)  # 64 digits, as many as an LO holds
    equipment.SoftwareVersions = versions
    equipment.DeviceUID = software.device_uid_with(study.model_sha256)
    # A DT states its own zone, whatever the study's other times are in.
    equipment.ContributionDateTime = study.when.strftime("%Y%m%d%H%M%S%z")
    equipment.ContributionDescription = contribution
    return equipment


def _designators(report: Dataset) -> set[str]:
    """Return the coding schemes of every code in the object."""
    return {str(element.value) for element in report.iterall() if element.keyword == "CodingSchemeDesignator"}


def identified(whole: Dataset, sop_instance_uid: UID | None = None) -> Dataset:
    """Give an object its SOP Instance UID and its file meta information.

    Parameters
    ----------
    whole
        The object; it is changed. Its own SOP Instance UID, where it has one, does not count.
    sop_instance_uid
        Without, the UID follows from the object's content.

    Returns
    -------
    Dataset
        The same object.
    """
    if sop_instance_uid is not None:
        whole.SOPInstanceUID = sop_instance_uid
        whole.file_meta = _file_meta(whole.SOPClassUID, sop_instance_uid)
        return whole
    if "SOPInstanceUID" in whole:
        del whole.SOPInstanceUID
    whole.file_meta = _file_meta(whole.SOPClassUID, None)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, whole, enforce_file_format=False)
    whole.SOPInstanceUID = content_uid(buffer.getvalue())
    whole.file_meta = _file_meta(whole.SOPClassUID, whole.SOPInstanceUID)
    return whole


def _file_meta(sop_class_uid: UID, sop_instance_uid: UID | None) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = sop_class_uid
    if sop_instance_uid is not None:
        meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
