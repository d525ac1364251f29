"""The content tree of the structured report (PS3.16 TID 1500), in the order in which a radiologist reads.

Every container is SEPARATE: viewers drop the labels of continuous ones. TID 1500 and 1411 are extensible; what they do
not foresee (notices, limits, clinical values) stands as labelled text, never in place of a coded item.
"""

from __future__ import annotations

from typing import Final

from highdicom import UID
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
    TrackingIdentifier,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat

from pdl1es.assessment import Assessment
from pdl1es.clinical import PEMBROLIZUMAB
from pdl1es.dicom.segmentation import Code
from pdl1es.report import codes as concept
from pdl1es.report import wording
from pdl1es.report.predecessors import Predecessor
from pdl1es.report.software import SoftwareIdentity
from pdl1es.report.uids import tracking

CONTAINS: Final = RelationshipTypeValues.CONTAINS
HAS_CONCEPT_MOD: Final = RelationshipTypeValues.HAS_CONCEPT_MOD
LANGUAGE: Final = CodedConcept("en-GB", "RFC5646", "English (United Kingdom)")

_CLINICAL_CONCEPTS: Final = {
    "age": concept.SUBJECT_AGE,
    "sex": concept.SUBJECT_SEX,
    "smoking": concept.SMOKING,
    "family_history": concept.FAMILY_HISTORY,
}


def report_content(
    assessment: Assessment,
    software: SoftwareIdentity,
    image_header: Dataset,
    *,
    show_clinical_values: bool = True,
    predecessors: tuple[Predecessor, ...] = (),
    cam: Dataset | None = None,
) -> ContainerContentItem:
    """Return the root of the content tree.

    Parameters
    ----------
    assessment
        What is reported.
    software
        The device that observes.
    image_header
        Header of the CT image nearest to the ROI slice.
    show_clinical_values
        Whether clinical values stand in it, or only where they came from.
    predecessors
        Earlier reports that this one replaces.
    cam
        The picture of the class activation map, or None.

    Returns
    -------
    ContainerContentItem
        TID 1500 (126001, DCM, "Oncology Measurement Report").
    """
    root = container(concept.REPORT_TITLE, template="1500", root=True)
    content = root.ContentSequence
    # What must be read first stands before language and observer, which every viewer shows as lines of their own.
    content.append(_text(concept.NOTICE, wording.notice(assessment.model)))
    first = [warning for warning in assessment.warnings if warning.code in wording.FIRST_WARNINGS]
    content.extend(_text(concept.WARNING, warning.message) for warning in first)
    content.append(_text(concept.SUMMARY, wording.summary(assessment)))
    if predecessors:
        content.append(_text(concept.REPLACES, wording.replaces(predecessors)))
    content.extend(LanguageOfContentItemAndDescendants(LANGUAGE))
    content.extend(observation_context(software))
    content.append(
        CodeContentItem(concept.PROCEDURE_REPORTED, procedure_code(image_header), relationship_type=HAS_CONCEPT_MOD)
    )
    measurements = container(concept.IMAGING_MEASUREMENTS)
    measurements.ContentSequence.append(_measurement_group(assessment, show_clinical_values, cam))
    content.append(measurements)
    return root


def procedure_code(header: Dataset) -> CodedConcept:
    """Return the procedure that the images belong to: as the header codes it, else CT of the chest."""
    sources = [header, *(header.get("RequestAttributesSequence") or [])]
    for source in sources:
        for keyword in ("RequestedProcedureCodeSequence", "ProcedureCodeSequence"):
            for item in source.get(keyword) or []:
                code = concept.usable_code(
                    Code(*(str(item.get(k, "") or "") for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")))
                )
                if code is not None:
                    return code
    return concept.CT_CHEST


def _measurement_group(assessment: Assessment, show_clinical_values: bool, cam: Dataset | None) -> ContainerContentItem:
    """Return the tumour's measurement group (TID 1411), in a reader's order.

    Results; why; what there is to distrust; the tumour; what went in; how; and the references, which no one reads, last.
    """
    group = container(concept.MEASUREMENT_GROUP, template="1411")
    content = group.ContentSequence
    content.extend(_results(assessment))
    content.extend(_contributions(assessment))
    others = [warning for warning in assessment.warnings if warning.code not in wording.FIRST_WARNINGS]
    if others:
        content.append(_texts(concept.WARNINGS, [(concept.WARNING, warning.message) for warning in others]))
    content.extend(_scope(assessment))
    content.extend(_lesion(assessment))
    content.append(
        _texts(
            concept.CLINICAL_VALUES,
            [
                (_CLINICAL_CONCEPTS[name], line)
                for name, line in wording.clinical_lines(assessment, show_values=show_clinical_values)
            ],
        )
    )
    content.append(_method(assessment))
    content.extend(_algorithm(assessment))
    content.extend(_references(assessment, cam))
    return group


def _results(assessment: Assessment) -> list[ContentItem]:
    prediction, model = assessment.prediction, assessment.model
    scores = prediction.slice_scores
    name, unit = (
        (concept.PROBABILITY, concept.PROBABILITY_UNIT) if model.calibrated else (concept.SCORE, concept.SCORE_UNIT)
    )
    items = [
        _number(name, prediction.score, wording.score_text(prediction.score), unit),
        _group(concept.EXPRESSION_GROUP, assessment.expression_group, assessment),
        _group(concept.RISK_GROUP, assessment.risk_group, assessment),
    ]
    if model.clinical_cut_off is not None:
        items.append(_group(concept.CLINICAL_RISK_GROUP, assessment.clinical_risk_group, assessment))
    if model.fusion_cut_off is not None:
        items.append(
            _group(concept.FUSION_RISK_GROUP, assessment.fusion_risk_group, assessment)
            if assessment.clinical.treatment in PEMBROLIZUMAB
            else _text(concept.FUSION_RISK_GROUP, wording.TREATMENT_UNKNOWN)
        )
    disagreement = wording.disagreement(assessment)
    if disagreement:
        items.append(_text(concept.WARNING, disagreement))
    extremes = [
        (concept.SLICE_SCORE_LOWEST, float(scores.min())),
        (concept.SLICE_SCORE_HIGHEST, float(scores.max())),
    ]
    if assessment.stability is not None:
        extremes += [
            (concept.CONTOUR_SCORE_LOWEST, assessment.stability.lowest),
            (concept.CONTOUR_SCORE_HIGHEST, assessment.stability.highest),
        ]
    return items + [_number(what, value, wording.score_text(value), unit) for what, value in extremes]


def _scope(assessment: Assessment) -> list[ContentItem]:
    return [
        _text(concept.APPLIES_TO, wording.APPLIES_TO),
        _text(concept.NO_SUBSTITUTE, wording.NO_SUBSTITUTE),
        *(_text(concept.LIMITATION, limitation) for limitation in assessment.model.limitations),
    ]


def _lesion(assessment: Assessment) -> list[ContentItem]:
    segment, tumour = assessment.selection.segment, assessment.tumour
    identifier, uid = tracking(assessment)
    finding = concept.usable_code(segment.property_type) or concept.NEOPLASM
    site = concept.usable_code(segment.anatomic_region)
    diameter = _number(
        concept.DIAMETER, tumour.longest_diameter_mm, f"{tumour.longest_diameter_mm:.1f}", concept.MILLIMETRE
    )
    diameter.ContentSequence = ContentSequence(
        [CodeContentItem(concept.DERIVATION, concept.MAXIMUM, relationship_type=HAS_CONCEPT_MOD)]
    )
    return [
        *TrackingIdentifier(uid=UID(str(uid)), identifier=identifier),
        CodeContentItem(concept.FINDING, finding, relationship_type=CONTAINS),
        *([FindingSite(anatomic_location=site)] if site is not None else []),
        _number(concept.VOLUME, tumour.volume_ml, f"{tumour.volume_ml:.2f}", concept.MILLILITRE),
        diameter,
        *_place(assessment),
    ]


def _contributions(assessment: Assessment) -> list[ContentItem]:
    prediction = assessment.prediction
    return [
        *(
            _number(name, value, wording.log_odds_text(value), concept.LOG_ODDS)
            for name, value in (
                (concept.CONTRIBUTION_DEEP, prediction.deep),
                (concept.CONTRIBUTION_RADIOMIC, prediction.radiomic_total),
                (concept.CONTRIBUTION_CLINICAL, prediction.clinical_total),
                (concept.CONTRIBUTION_BIAS, prediction.bias),
                (concept.CONTRIBUTION_SUM, prediction.logit),
            )
        ),
        _text(concept.READING_OF_CONTRIBUTIONS, wording.READING_OF_CONTRIBUTIONS),
    ]


def _place(assessment: Assessment) -> list[ContentItem]:
    """Return where in the CT the tumour is found: words to scroll by, which must not stand among the measurements."""
    roi = assessment.roi_slice
    image = next(
        ct.instance for ct in assessment.selection.ct.slices if ct.instance.sop_instance_uid == roi.sop_instance_uid
    )
    items: list[ContentItem] = [
        _text(name, str(number))
        for name, number in (
            (concept.CT_SERIES_NUMBER, image.header.get("SeriesNumber")),
            (concept.ROI_INSTANCE_NUMBER, roi.instance_number),
            (concept.ROI_FRAME_NUMBER, roi.frame_number),
        )
        if number is not None
    ]
    return [*items, _text(concept.ROI_TABLE_POSITION, f"{roi.table_position_mm:.1f} mm")]


def _references(assessment: Assessment, cam: Dataset | None) -> list[ContentItem]:
    """Return the objects that it is about: the segment, its CT series, the image of largest area, the picture."""
    selection, roi = assessment.selection, assessment.roi_slice
    segmentation = selection.segmentation.instance
    items: list[ContentItem] = [
        # highdicom cannot make this reference from a segmentation with a single segment, so it is made here.
        ImageContentItem(
            concept.REFERENCED_SEGMENT,
            referenced_sop_class_uid=segmentation.sop_class_uid,
            referenced_sop_instance_uid=segmentation.sop_instance_uid,
            referenced_segment_numbers=selection.segment.number,
            relationship_type=CONTAINS,
        ),
        # One line for the series, where TID 1411 would also take one for each of its images.
        UIDRefContentItem(concept.SOURCE_SERIES, selection.ct.series_instance_uid, relationship_type=CONTAINS),
        ImageContentItem(
            concept.ILLUSTRATION_OF_ROI,
            referenced_sop_class_uid=roi.sop_class_uid,
            referenced_sop_instance_uid=roi.sop_instance_uid,
            referenced_frame_numbers=roi.frame_number,
            relationship_type=CONTAINS,
        ),
    ]
    if cam is not None:
        items.append(
            ImageContentItem(
                concept.CLASS_ACTIVATION_MAP,
                referenced_sop_class_uid=cam.SOPClassUID,
                referenced_sop_instance_uid=cam.SOPInstanceUID,
                relationship_type=CONTAINS,
            )
        )
    return items


def _algorithm(assessment: Assessment) -> AlgorithmIdentification:
    """Return TID 4019."""
    model = assessment.model
    return AlgorithmIdentification(
        name=model.name if "PD-L1ES" in model.name else f"PD-L1ES {model.name}",
        version=model.version,
        parameters=[f"method digest {model.method_digest}"],
    )


def _method(assessment: Assessment) -> ContainerContentItem:
    model = assessment.model
    return _texts(
        concept.METHOD,
        [
            (concept.MODEL, f"{model.name}, version {model.version}"),
            (concept.TRAINED_ON, model.trained_on),
            (concept.INTENDED_USE, model.intended_use),
            *((concept.CUT_OFF, line) for line in wording.cut_off_lines(model)),
        ],
    )


def observation_context(software: SoftwareIdentity) -> ObservationContext:
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=UID(str(software.device_uid)),
                name=software.name,
                manufacturer_name=software.manufacturer,
                model_name=f"{software.name} {software.version}",
            ),
        )
    )


def _group(name: CodedConcept, group: str | None, assessment: Assessment) -> ContentItem:
    code = concept.group_code(group) if group is not None else None
    if code is not None:
        return CodeContentItem(name, code, relationship_type=CONTAINS)
    return _text(name, wording.group_text(group, assessment.warnings))


def _number(name: CodedConcept, value: float, text: str, unit: CodedConcept) -> NumContentItem:
    """Return a NUM that shows ``text`` and keeps the whole value as Floating Point Value (PS3.3 C.18.1)."""
    item = NumContentItem(name, value=float(value), unit=unit, relationship_type=CONTAINS)
    item.MeasuredValueSequence[0].NumericValue = DSfloat(text)
    return item


def _text(name: CodedConcept, text: str) -> TextContentItem:
    return TextContentItem(name, text or "not stated", relationship_type=CONTAINS)


def _texts(name: CodedConcept, lines: list[tuple[CodedConcept, str]]) -> ContainerContentItem:
    parent = container(name)
    parent.ContentSequence.extend(_text(line_name, line) for line_name, line in lines)
    return parent


def container(name: CodedConcept, template: str | None = None, root: bool = False) -> ContainerContentItem:
    """Return an empty container whose items viewers show as labelled lines (SEPARATE)."""
    item = ContainerContentItem(
        name, is_content_continuous=False, template_id=template, relationship_type=None if root else CONTAINS
    )
    item.ContentSequence = ContentSequence([], is_root=False)
    return item
