"""The page as a DICOM object: Encapsulated PDF, so that the archive files it with the study."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.clock import in_study_zone
from pdl1es.report.codes import REPORT_TITLE
from pdl1es.report.options import DEFAULT_SERIES_NUMBER
from pdl1es.report.pdf_page import report_page
from pdl1es.report.roi_picture import roi_pictures
from pdl1es.report.software import SoftwareIdentity
from pdl1es.report.structured_report import roi_image
from pdl1es.report.study_context import complete, copy_patient_and_study, plain
from pdl1es.report.uids import series_uid


def build_encapsulated_pdf(
    assessment: Assessment,
    software: SoftwareIdentity,
    when: datetime,
    *,
    series_number: int = DEFAULT_SERIES_NUMBER + 2,
    show_clinical_values: bool = True,
    pictures: NDArray[np.uint8] | None = None,
) -> Dataset:
    """Return the one-page report as a DICOM object.

    Parameters
    ----------
    assessment
        What is reported; its headers give patient and study.
    software
        Who wrote it.
    when
        Aware time of the report. The same arguments give the same dataset.
    series_number
        Of the PDF's series.
    show_clinical_values
        Whether the clinical values stand on it.
    pictures
        From `roi_picture.roi_pictures`, where they have been drawn already.

    Returns
    -------
    Dataset
        An Encapsulated PDF (PS3.3 A.45.1) with file meta information; `study_context.encode` makes a file of it.
    """
    image = roi_image(assessment)
    segmentation = assessment.selection.segmentation.instance
    local, offset = in_study_zone(when, image.header)
    patient = Dataset()
    copy_patient_and_study(image.header, patient)
    page = report_page(
        assessment,
        software,
        local,
        patient,
        roi_pictures(assessment) if pictures is None else pictures,
        show_clinical_values=show_clinical_values,
    )
    document = Dataset()
    document.SOPClassUID = EncapsulatedPDFStorage
    # Encapsulated Document Series, General Equipment, SC Equipment
    document.Modality = "DOC"
    document.SeriesInstanceUID = series_uid(assessment, "PDF")
    document.SeriesNumber = series_number
    document.SeriesDescription = wording.series_description(assessment.model, "page")
    document.Manufacturer = software.manufacturer
    document.ManufacturerModelName = software.name
    document.SoftwareVersions = software.version
    document.ConversionType = "WSD"
    # Encapsulated Document
    document.InstanceNumber = 1
    document.AcquisitionDateTime = ""
    document.BurnedInAnnotation = "YES"
    document.RecognizableVisualFeatures = "NO"
    document.DocumentTitle = (
        f"PD-L1ES report: {wording.DEMONSTRATION_NOTICE}"
        if wording.is_demonstration(assessment.model)
        else f"PD-L1ES report: {wording.RESEARCH_NOTICE}"
    )
    document.ConceptNameCodeSequence = [plain(REPORT_TITLE)]
    document.VerificationFlag = "UNVERIFIED"
    document.SourceInstanceSequence = [
        _reference(instance.sop_class_uid, instance.sop_instance_uid) for instance in (image, segmentation)
    ]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocument = page + b"\0" * (len(page) % 2)
    document.EncapsulatedDocumentLength = len(page)
    return complete(
        document,
        header=image.header,
        software=software,
        model=assessment.model,
        contribution="Scored the tumour and wrote this page",
        when=local,
        offset=offset,
        input_schemes=list(segmentation.header.get("CodingSchemeIdentificationSequence") or []),
    )


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    return reference
