"""A Key Object Selection: one object by which a viewer opens the ROI image and the reports on it (TID 2010)."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from pdl1es.assessment import Assessment
from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.study import Study
from pdl1es.report import codes as concept
from pdl1es.report import wording
from pdl1es.report.codes import code_sequence_item
from pdl1es.report.content_items import header_items
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.instance_number import report_instance_number
from pdl1es.report.options import ReportOptions
from pdl1es.report.predecessors import find_predecessors
from pdl1es.report.references import ObjectReference, hierarchical_references, sop_reference
from pdl1es.report.statements import report_statements
from pdl1es.report.study_context import plain, scored_study
from pdl1es.report.uids import series_uid


def build_key_object_selection(
    assessment: Assessment, options: ReportOptions, reports: Iterable[BuiltReport], *, study: Study | None = None
) -> Dataset:
    """Return the Key Object Selection of one scored tumour.

    Parameters
    ----------
    assessment
        What is reported.
    options
        What the run's reports have in common. The same arguments give the same dataset.
    reports
        Of the same run, as they are written.
    study
        What the input held: earlier selections are counted.

    Returns
    -------
    Dataset
        PS3.3 A.35.4, with file meta information. It names the image of the ROI slice first, then the reports, and says what
        the reports' summary says.
    """
    context = scored_study(assessment, options)
    predecessors = find_predecessors(study, assessment.selection.ct.study_instance_uid) if study is not None else ()
    roi, segment = assessment.roi_slice, assessment.selection.segmentation
    references = [
        ObjectReference.of(roi.instance.header),
        *(ObjectReference.of(part.header) for part in segment.instances),
        *(ObjectReference.of(report.dataset) for report in reports),
    ]
    document = Dataset()
    document.SOPClassUID = KeyObjectSelectionDocumentStorage
    # Key Object Document Series, General Equipment
    document.Modality = "KO"
    document.SeriesInstanceUID = series_uid(assessment, "kos")
    document.SeriesNumber = options.series_number_of("kos")
    document.SeriesDescription = wording.series_description(assessment.model, "kos")
    document.ReferencedPerformedProcedureStepSequence = []
    document.Manufacturer = options.software.manufacturer
    document.ManufacturerModelName = options.software.name
    # Key Object Document
    document.InstanceNumber = report_instance_number(assessment, study)
    document.CurrentRequestedProcedureEvidenceSequence = hierarchical_references(references)
    # SR Document Content
    document.ValueType = "CONTAINER"
    document.ConceptNameCodeSequence = [code_sequence_item(concept.OF_INTEREST)]
    document.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    document.ContentTemplateSequence = [template]
    statements = report_statements(assessment, predecessors=predecessors)
    summary = " ".join(s.text for s in statements if s.section == "summary")
    notice = wording.notice(assessment.model)
    document.ContentSequence = [
        # Language and observer; a selection has no procedure of its own.
        *(plain(item) for item in header_items(options.software, roi.instance.header, context.model_sha256)[:-1]),
        _described(concept.KEY_OBJECT_DESCRIPTION, f"{notice}. {summary}"),
        _named("IMAGE", references[0]),
        *(
            _named("IMAGE" if report.kind == "cam" else "COMPOSITE", ObjectReference.of(report.dataset))
            for report in reports
        ),
    ]
    return context.complete(document, "Scored the tumour and selected these objects")


def _described(name: Code, text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = [code_sequence_item(name)]
    item.TextValue = text
    return item


def _named(value_type: str, reference: ObjectReference) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", value_type
    item.ReferencedSOPSequence = [sop_reference(reference.sop_class_uid, reference.sop_instance_uid)]
    return item
