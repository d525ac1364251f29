"""The content tree of the structured report (PS3.16 TID 1500), in the order in which a radiologist reads.

TID 1500 and 1411 are extensible; what they do not foresee (notices, limits, clinical values) stands as labelled text,
never in place of a coded item.
"""

from __future__ import annotations

from dataclasses import replace

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
from pdl1es.dicom.segmentation import LABEL_MAP_SEGMENTATION_STORAGE
from pdl1es.report import codes as concept
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
from pdl1es.report.statements import ReportStatement, in_section, report_statements
from pdl1es.report.uids import tracking


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
    statements = report_statements(
        assessment, show_clinical_values=options.show_clinical_values, predecessors=predecessors
    )
    root = container(concept.REPORT_TITLE, template="1500", root=True)
    content = root.ContentSequence
    # The result comes before language and observer, because every viewer shows those as lines of their own.
    content.extend(_items(in_section(statements, "notice")))
    content.extend(text_item(name, text) for name, text in _joined(in_section(statements, "summary")))
    content.extend(
        header_items(options.software, assessment.roi_slice.instance.header, assessment.prediction.model_sha256)
    )
    measurements = container(concept.IMAGING_MEASUREMENTS)
    measurements.ContentSequence.append(_measurement_group(assessment, statements, cam))
    content.append(measurements)
    return root


def _measurement_group(
    assessment: Assessment, statements: tuple[ReportStatement, ...], cam: Dataset | None
) -> ContainerContentItem:
    """Return the tumour's measurement group (TID 1411), in a reader's order.

    Results, reasons, warnings, the tumour, the inputs, limits, the method; references come last because nobody reads them.
    """
    group = container(concept.MEASUREMENT_GROUP, template="1411")
    content = group.ContentSequence
    content.extend(_items(in_section(statements, "result")))
    content.extend(_items(in_section(statements, "why")))
    warnings = in_section(statements, "warnings")
    if warnings:
        content.append(_container(concept.WARNINGS, warnings))
    content.extend(_finding(assessment))
    content.extend(_items(in_section(statements, "tumour")))
    content.append(_container(concept.CLINICAL_VALUES, in_section(statements, "clinical")))
    content.extend(_items(in_section(statements, "limits")))
    content.append(_container(concept.METHOD, in_section(statements, "model")))
    content.extend(_algorithm(assessment))
    content.extend(_references(assessment, cam))
    return group


def _items(statements: tuple[ReportStatement, ...]) -> list[ContentItem]:
    return [_item(statement) for statement in statements]


def _item(statement: ReportStatement) -> ContentItem:
    """Return a statement as a number, a code where its words have one, or text."""
    if statement.value is not None and statement.unit is not None:
        item = number_item(statement.concept, statement.value, statement.text, statement.unit)
        if statement.concept == concept.DIAMETER_3D:
            item.ContentSequence = ContentSequence([code_item(concept.DERIVATION, concept.MAXIMUM, HAS_CONCEPT_MOD)])
        return item
    code = concept.group_code(statement.group) if statement.group is not None else None
    return code_item(statement.concept, code) if code is not None else text_item(statement.concept, statement.text)


def _joined(statements: tuple[ReportStatement, ...]) -> list[tuple[Code, str]]:
    """Return the sentences of each concept as one text: a viewer shows it as one line."""
    texts: dict[Code, list[str]] = {}
    for statement in statements:
        texts.setdefault(statement.concept, []).append(statement.text)
    return [(name, " ".join(sentences)) for name, sentences in texts.items()]


def _container(title: Code, statements: tuple[ReportStatement, ...]) -> ContainerContentItem:
    return text_container(title, [(statement.concept, statement.text) for statement in statements])


def _finding(assessment: Assessment) -> list[ContentItem]:
    """Return which finding it is: tracking, type and site."""
    segment = assessment.selection.segment
    identifier, uid = tracking(assessment)
    site = _drawn_as(segment.anatomic_region)
    return [
        *TrackingIdentifier(uid=UID(str(uid)), identifier=identifier),
        code_item(concept.FINDING, _drawn_as(segment.property_type) or concept.NEOPLASM),
        *([FindingSite(anatomic_location=coded(site))] if site is not None else []),
    ]


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

    A label map is referred to as a region in space too: dcmtk 3.6.7 does not know its SOP class as an image's and reads
    nothing of a report with an IMAGE item on it. The segment's number stands in the contour's text.
    """
    selection = assessment.selection
    return [
        composite_item(concept.REGION_IN_SPACE, part.sop_class_uid, part.sop_instance_uid)
        if selection.segmentation.kind == "RTSTRUCT" or part.sop_class_uid == LABEL_MAP_SEGMENTATION_STORAGE
        else image_item(
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
