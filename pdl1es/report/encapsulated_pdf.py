"""The page as a DICOM object: Encapsulated PDF, so that the archive files it with the study."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from pdl1es.assessment import Assessment
from pdl1es.dicom.study import Study
from pdl1es.report import wording
from pdl1es.report.codes import REPORT_TITLE, code_sequence_item
from pdl1es.report.instance_number import report_instance_number
from pdl1es.report.options import ReportOptions
from pdl1es.report.pdf_page import report_page
from pdl1es.report.predecessors import find_predecessors
from pdl1es.report.references import sop_reference
from pdl1es.report.study_context import copy_patient_and_study, scored_study
from pdl1es.report.uids import series_uid


def build_encapsulated_pdf(
    assessment: Assessment, options: ReportOptions, pictures: NDArray[np.uint8], *, study: Study | None = None
) -> Dataset:
    """Return the page as a DICOM object.

    Parameters
    ----------
    assessment
        What is reported; its headers give patient and study.
    options
        What the run's reports have in common. The same arguments give the same dataset.
    pictures
        uint8 RGB, shape (S, rows, columns, 3), from `roi_picture.roi_pictures`.
    study
        What the input held: earlier reports in it are named as replaced, and earlier pages counted.

    Returns
    -------
    Dataset
        An Encapsulated PDF (PS3.3 A.45.1) with file meta information; `study_context.encode` makes a file of it.
    """
    context = scored_study(assessment, options)
    patient = Dataset()
    copy_patient_and_study(context.header, patient)
    earlier = find_predecessors(study, assessment.selection.ct.study_instance_uid) if study is not None else ()
    page = report_page(assessment, options, context.when, patient, pictures, predecessors=earlier)
    software = options.software
    document = Dataset()
    document.SOPClassUID = EncapsulatedPDFStorage
    # Encapsulated Document Series, General Equipment, SC Equipment
    document.Modality = "DOC"
    document.SeriesInstanceUID = series_uid(assessment, "pdf")
    document.SeriesNumber = options.series_number_of("pdf")
    document.SeriesDescription = wording.series_description(assessment.model, "pdf")
    document.Manufacturer = software.manufacturer
    document.ManufacturerModelName = software.name
    document.SoftwareVersions = software.version
    document.ConversionType = "WSD"
    # Encapsulated Document
    document.InstanceNumber = report_instance_number(assessment, study)
    document.AcquisitionDateTime = ""
    document.BurnedInAnnotation = "YES"
    document.RecognizableVisualFeatures = "NO"
    document.DocumentTitle = (
        f"PD-L1ES report: {wording.DEMONSTRATION_NOTICE}"
        if wording.is_demonstration(assessment.model)
        else f"PD-L1ES report: {wording.RESEARCH_NOTICE}"
    )
    document.ConceptNameCodeSequence = [code_sequence_item(REPORT_TITLE)]
    document.VerificationFlag = "UNVERIFIED"
    roi = assessment.roi_slice
    document.SourceInstanceSequence = [
        sop_reference(roi.sop_class_uid, roi.sop_instance_uid),
        *(
            sop_reference(part.sop_class_uid, part.sop_instance_uid)
            for part in assessment.selection.segmentation.instances
        ),
    ]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocument = page + b"\0" * (len(page) % 2)
    document.EncapsulatedDocumentLength = len(page)
    return context.complete(document, "Scored the tumour and wrote this page")
