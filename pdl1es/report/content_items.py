"""Content items of the structured reports, made from this project's codes; relationship CONTAINS where none is named.

Every container is SEPARATE: viewers drop the labels of continuous ones.
"""

from __future__ import annotations

from typing import Final

from highdicom import UID
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    CompositeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from pdl1es.dicom.coded_concept import Code
from pdl1es.report import codes as concept
from pdl1es.report.software import SoftwareIdentity

CONTAINS: Final = RelationshipTypeValues.CONTAINS
HAS_CONCEPT_MOD: Final = RelationshipTypeValues.HAS_CONCEPT_MOD
LANGUAGE: Final = CodedConcept("en-GB", "RFC5646", "English (United Kingdom)")
DEVICE: Final = CodedConcept("121007", "DCM", "Device")
"""Observer type of CID 270."""


def coded(code: Code) -> CodedConcept:
    """Return a code as highdicom takes it."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def container(name: Code, *, template: str | None = None, root: bool = False) -> ContainerContentItem:
    """Return an empty container.

    Parameters
    ----------
    name
        Its concept name.
    template
        Identifier of the PS3.16 template that it follows.
    root
        Whether it is the root of the document.

    Returns
    -------
    ContainerContentItem
        SEPARATE: its items are shown as labelled lines.
    """
    item = ContainerContentItem(
        coded(name), is_content_continuous=False, template_id=template, relationship_type=None if root else CONTAINS
    )
    item.ContentSequence = ContentSequence([], is_root=False)
    return item


def text_item(name: Code, text: str) -> TextContentItem:
    """Return a TEXT; a text that is empty is said not to be stated.

    Parameters
    ----------
    name
        Its concept name.
    text
        Its value.

    Returns
    -------
    TextContentItem
    """
    return TextContentItem(coded(name), text or "not stated", relationship_type=CONTAINS)


def text_container(name: Code, lines: list[tuple[Code, str]]) -> ContainerContentItem:
    """Return a container of TEXT items.

    Parameters
    ----------
    name
        The container's concept name.
    lines
        Concept name and text of each item.

    Returns
    -------
    ContainerContentItem
    """
    parent = container(name)
    parent.ContentSequence.extend(text_item(line_name, line) for line_name, line in lines)
    return parent


def code_item(
    name: Code, value: Code, relationship: RelationshipTypeValues = RelationshipTypeValues.CONTAINS
) -> CodeContentItem:
    """Return a CODE.

    Parameters
    ----------
    name
        Its concept name.
    value
        Its concept code.
    relationship
        To its parent.

    Returns
    -------
    CodeContentItem
    """
    return CodeContentItem(coded(name), coded(value), relationship_type=relationship)


def number_item(name: Code, value: float, text: str, unit: Code) -> NumContentItem:
    """Return a NUM that shows ``text`` and keeps the whole value as Floating Point Value (PS3.3 C.18.1).

    Parameters
    ----------
    name
        Its concept name.
    value
        The number, in ``unit``.
    text
        The same, rounded for a reader.
    unit
        UCUM.

    Returns
    -------
    NumContentItem
    """
    item = NumContentItem(coded(name), value=float(value), unit=coded(unit), relationship_type=CONTAINS)
    item.MeasuredValueSequence[0].NumericValue = DSfloat(text)
    return item


def image_item(
    name: Code, sop_class_uid: str, sop_instance_uid: str, *, frame: int | None = None, segment: int | None = None
) -> ImageContentItem:
    """Return an IMAGE.

    Parameters
    ----------
    name
        Its concept name.
    sop_class_uid, sop_instance_uid
        The object.
    frame, segment
        Number of the frame or of the segment that is meant; without, the whole object is.

    Returns
    -------
    ImageContentItem
    """
    return ImageContentItem(
        coded(name),
        referenced_sop_class_uid=sop_class_uid,
        referenced_sop_instance_uid=sop_instance_uid,
        referenced_frame_numbers=frame,
        referenced_segment_numbers=segment,
        relationship_type=CONTAINS,
    )


def composite_item(name: Code, sop_class_uid: str, sop_instance_uid: str) -> CompositeContentItem:
    """Return a COMPOSITE: a reference to an object that is no image.

    Parameters
    ----------
    name
        Its concept name.
    sop_class_uid, sop_instance_uid
        The object.

    Returns
    -------
    CompositeContentItem
    """
    return CompositeContentItem(
        coded(name),
        referenced_sop_class_uid=sop_class_uid,
        referenced_sop_instance_uid=sop_instance_uid,
        relationship_type=CONTAINS,
    )


def header_items(
    software: SoftwareIdentity, image_header: Dataset, model_sha256: str | None = None
) -> list[ContentItem]:
    """Return the items about the report itself: language, observer and procedure.

    Parameters
    ----------
    software
        The device that observes.
    image_header
        Header of an image of the study.
    model_sha256
        Of the model that had a part in it, or None.

    Returns
    -------
    list of ContentItem
        TID 1204, TID 1002 and (121058, DCM, "Procedure reported").
    """
    observer = ObserverContext(
        observer_type=DEVICE,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=UID(str(software.device_uid_with(model_sha256))),
            name=software.name,
            manufacturer_name=software.manufacturer,
            model_name=f"{software.name} {software.version}",
        ),
    )
    return [
        *LanguageOfContentItemAndDescendants(LANGUAGE),
        *ObservationContext(observer_device_context=observer),
        code_item(concept.PROCEDURE_REPORTED, procedure_code(image_header), HAS_CONCEPT_MOD),
    ]


def procedure_code(header: Dataset) -> Code:
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
