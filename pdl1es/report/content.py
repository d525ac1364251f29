"""The content tree of the structured report (PS3.16 TID 1500), in the order in which a radiologist reads.

TID 1500 and 1411 are extensible; what they do not foresee (notices, limits, clinical values) stands as labelled text,
never in place of a coded item.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from highdicom import UID
from highdicom.sr import (
    AlgorithmIdentification,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    FindingSite,
    TrackingIdentifier,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment
from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.free_text import shown_words
from pdl1es.report import codes as concept
from pdl1es.report import wording
from pdl1es.report.content_items import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    code_item,
    coded,
    composite_item,
    container,
    header_items,
    image_item,
    number_item,
    text_container,
    text_item,
)
from pdl1es.report.options import ReportOptions
from pdl1es.report.predecessors import Predecessor
from pdl1es.report.uids import tracking

_GROUP_CONCEPTS: Final = {
    "expression": concept.EXPRESSION_GROUP,
    "risk": concept.RISK_GROUP,
    "clinical_risk": concept.CLINICAL_RISK_GROUP,
    "fusion_risk": concept.FUSION_RISK_GROUP,
}
_CLINICAL_CONCEPTS: Final = {
    "age": concept.SUBJECT_AGE,
    "sex": concept.SUBJECT_SEX,
    "smoking": concept.SMOKING,
    "family_history": concept.FAMILY_HISTORY,
}


def report_content(
    assessment: Assessment,
    options: ReportOptions,
    *,
    predecessors: tuple[Predecessor, ...] = (),
    cam: Dataset | None = None,
) -> ContainerContentItem:
    """Return the root of the content tree.

    Parameters
    ----------
    assessment
        What is reported.
    options
        Who observes, and whether clinical values are shown.
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
    # The result comes before language and observer, because every viewer shows those as lines of their own.
    content.append(text_item(concept.NOTICE, wording.notice(assessment.model)))
    first = [warning for warning in assessment.warnings if warning.code in wording.FIRST_WARNINGS]
    content.extend(text_item(concept.WARNING, warning.message) for warning in first)
    content.append(text_item(concept.SUMMARY, wording.summary(assessment)))
    if predecessors:
        content.append(text_item(concept.REPLACES, wording.replaces(predecessors)))
    content.extend(header_items(options.software, assessment.roi_slice.instance.header))
    measurements = container(concept.IMAGING_MEASUREMENTS)
    measurements.ContentSequence.append(_measurement_group(assessment, options, cam))
    content.append(measurements)
    return root


def _measurement_group(assessment: Assessment, options: ReportOptions, cam: Dataset | None) -> ContainerContentItem:
    """Return the tumour's measurement group (TID 1411), in a reader's order.

    Results, reasons, warnings, the tumour, the inputs, the method; references come last because nobody reads them.
    """
    group = container(concept.MEASUREMENT_GROUP, template="1411")
    content = group.ContentSequence
    content.extend(_results(assessment))
    content.extend(_contributions(assessment))
    others = [warning for warning in assessment.warnings if warning.code not in wording.FIRST_WARNINGS]
    if others:
        content.append(text_container(concept.WARNINGS, [(concept.WARNING, warning.message) for warning in others]))
    content.extend(_scope(assessment))
    content.extend(_lesion(assessment))
    content.append(
        text_container(
            concept.CLINICAL_VALUES,
            [
                (_CLINICAL_CONCEPTS[name], line)
                for name, line in wording.clinical_lines(assessment, show_values=options.show_clinical_values)
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
        number_item(name, prediction.score, wording.score_text(prediction.score), unit),
        *(_group(reported) for reported in wording.reported_groups(assessment)),
    ]
    disagreement = wording.disagreement(assessment)
    if disagreement:
        items.append(text_item(concept.WARNING, disagreement))
    extremes = [
        (concept.SLICE_SCORE_LOWEST, float(scores.min())),
        (concept.SLICE_SCORE_HIGHEST, float(scores.max())),
    ]
    if assessment.contour_stability is not None:
        extremes += [
            (concept.CONTOUR_SCORE_LOWEST, assessment.contour_stability.lowest),
            (concept.CONTOUR_SCORE_HIGHEST, assessment.contour_stability.highest),
        ]
    return items + [number_item(what, value, wording.score_text(value), unit) for what, value in extremes]


def _scope(assessment: Assessment) -> list[ContentItem]:
    return [
        text_item(concept.APPLIES_TO, wording.APPLIES_TO),
        text_item(concept.NO_SUBSTITUTE, wording.NO_SUBSTITUTE),
        *(text_item(concept.LIMITATION, limitation) for limitation in assessment.model.limitations),
    ]


def _lesion(assessment: Assessment) -> list[ContentItem]:
    segment, tumour = assessment.selection.segment, assessment.tumour
    identifier, uid = tracking(assessment)
    finding = _drawn_as(segment.property_type) or concept.NEOPLASM
    site = _drawn_as(segment.anatomic_region)
    diameter = number_item(
        concept.DIAMETER, tumour.longest_diameter_mm, f"{tumour.longest_diameter_mm:.1f}", concept.MILLIMETRE
    )
    diameter.ContentSequence = ContentSequence([code_item(concept.DERIVATION, concept.MAXIMUM, HAS_CONCEPT_MOD)])
    return [
        *TrackingIdentifier(uid=UID(str(uid)), identifier=identifier),
        code_item(concept.FINDING, finding),
        *([FindingSite(anatomic_location=coded(site))] if site is not None else []),
        number_item(concept.VOLUME, tumour.volume_ml, f"{tumour.volume_ml:.2f}", concept.MILLILITRE),
        diameter,
        text_item(concept.CONTOUR, wording.contour_text(assessment)),
        *_place(assessment),
    ]


def _contributions(assessment: Assessment) -> list[ContentItem]:
    prediction = assessment.prediction
    return [
        *(
            number_item(name, value, wording.log_odds_text(value), concept.LOG_ODDS)
            for name, value in (
                (concept.CONTRIBUTION_DEEP, prediction.deep),
                (concept.CONTRIBUTION_RADIOMIC, prediction.radiomic_total),
                (concept.CONTRIBUTION_CLINICAL, prediction.clinical_total),
                (concept.CONTRIBUTION_BIAS, prediction.bias),
                (concept.CONTRIBUTION_SUM, prediction.logit),
            )
        ),
        text_item(concept.READING_OF_CONTRIBUTIONS, wording.READING_OF_CONTRIBUTIONS),
    ]


def _place(assessment: Assessment) -> list[ContentItem]:
    """Return where in the CT the tumour is found, as text, because slice numbers must not stand among the measurements."""
    roi = assessment.roi_slice
    items: list[ContentItem] = [
        text_item(name, str(number))
        for name, number in (
            (concept.CT_SERIES_NUMBER, roi.instance.header.get("SeriesNumber")),
            (concept.ROI_INSTANCE_NUMBER, roi.instance_number),
            (concept.ROI_FRAME_NUMBER, roi.frame_number),
        )
        if number is not None
    ]
    return [*items, text_item(concept.ROI_TABLE_POSITION, f"{roi.table_position_mm:.1f} mm")]


def _references(assessment: Assessment, cam: Dataset | None) -> list[ContentItem]:
    """Return the objects that it is about: the segment, its CT series, the image of largest area, the picture."""
    selection, roi = assessment.selection, assessment.roi_slice
    items: list[ContentItem] = [
        *_drawn(assessment),
        # One line for the series, where TID 1411 would also take one for each of its images.
        UIDRefContentItem(coded(concept.SOURCE_SERIES), selection.ct.series_instance_uid, relationship_type=CONTAINS),
        image_item(concept.ILLUSTRATION_OF_ROI, roi.sop_class_uid, roi.sop_instance_uid, frame=roi.frame_number),
    ]
    if cam is not None:
        items.append(image_item(concept.CLASS_ACTIVATION_MAP, cam.SOPClassUID, cam.SOPInstanceUID))
    return items


def _drawn(assessment: Assessment) -> list[ContentItem]:
    """Return the reference to the segment, or to the structure set; highdicom makes neither.

    (The first not from a segmentation with a single segment, the second not at all.) An item names one object; a
    segmentation that is stored in several has as many items.
    """
    selection = assessment.selection
    if selection.segmentation.kind == "RTSTRUCT":
        structure_set = selection.segmentation.instance
        return [composite_item(concept.REGION_IN_SPACE, structure_set.sop_class_uid, structure_set.sop_instance_uid)]
    return [
        image_item(
            concept.REFERENCED_SEGMENT, part.sop_class_uid, part.sop_instance_uid, segment=selection.segment.number
        )
        for part in selection.segmentation.instances
    ]


def _drawn_as(code: Code | None) -> Code | None:
    """Return a segment's code where the report can use it; its meaning may be what a person typed."""
    usable = concept.usable_code(code)
    return None if usable is None else replace(usable, meaning=shown_words(usable.meaning))


def _algorithm(assessment: Assessment) -> AlgorithmIdentification:
    """Return TID 4019."""
    model = assessment.model
    return AlgorithmIdentification(
        name=model.name if "PD-L1ES" in model.name else f"PD-L1ES {model.name}",
        version=model.version,
        parameters=[f"method digest {model.method_digest}", f"model SHA-256 {assessment.prediction.model_sha256}"],
    )


def _method(assessment: Assessment) -> ContainerContentItem:
    model = assessment.model
    return text_container(
        concept.METHOD,
        [
            (concept.MODEL, f"{model.name}, version {model.version}, SHA-256 {assessment.prediction.model_sha256}"),
            (concept.TRAINED_ON, model.trained_on),
            (concept.INTENDED_USE, model.intended_use),
            *((concept.CUT_OFF, line) for line in wording.cut_off_lines(model)),
        ],
    )


def _group(reported: wording.ReportedGroup) -> ContentItem:
    name = _GROUP_CONCEPTS[reported.name]
    code = concept.group_code(reported.group) if reported.group is not None else None
    return code_item(name, code) if code is not None else text_item(name, reported.text)
