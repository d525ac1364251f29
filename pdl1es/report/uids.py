"""UIDs that are derived from what they name: the same lesion, series or content always has the same UID.

All are UUID-derived (PS3.5 B.2: ``2.25.`` and the UUID as a decimal number), the UUID being name-based (RFC 9562,
version 5, SHA-1 over a namespace of this project and the parts).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from typing import TYPE_CHECKING

from pydicom import config
from pydicom.uid import UID

from pdl1es.dicom.free_text import shown_words
from pdl1es.report.kinds import ReportKind

if TYPE_CHECKING:
    from pdl1es.assessment import Assessment

NAMESPACE = uuid.UUID("6f5b3b0e-4c1d-5b7a-9a3e-2f0c7d1e8b94")
"""Drawn once for this project; another value would change the UIDs of all series."""

VIEWER_TRACKING = re.compile(r"^\s*(cornerstone|dcmjs|ohif)|@", re.IGNORECASE)
"""Tracking identifiers that a viewer takes for its own drawings: OHIF would replace the score by its own measurement."""


def derived_uid(kind: str, *parts: str) -> UID:
    """Return the UID that belongs to these parts.

    Parameters
    ----------
    kind
        What is named, as ``"series"``: the same parts give another UID for another kind.
    parts
        What it follows from; their boundaries count.

    Returns
    -------
    UID
        ``2.25.`` and up to 39 digits.
    """
    name = json.dumps([kind, *parts], ensure_ascii=True, separators=(",", ":"))
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, name).int}")


def lesion_key(assessment: Assessment) -> tuple[str, ...]:
    """Return what a report is about: study, CT series, segmentation object, segment, model and its version."""
    selection = assessment.selection
    return (
        selection.ct.study_instance_uid,
        selection.ct.series_instance_uid,
        selection.segmentation.instance.sop_instance_uid,
        str(selection.segment.number),
        assessment.model.name,
        assessment.model.version,
    )


def tracking(assessment: Assessment) -> tuple[str, UID]:
    """Return the tumour's Tracking Identifier and Tracking Unique Identifier (TID 1411 through TID 4108).

    The segment's own are kept where it has them (PS3.3 C.8.20.2: they name the same finding in SEG and SR), so that
    the tumour stays the same one across reports and models. Otherwise both are derived from study, CT series, segment
    and model. An identifier that a viewer would take for its own drawing, or that could hold a
    name, is replaced; the UID stays.

    Returns
    -------
    tuple of str and UID
        Identifier for people (at most 64 characters) and for machines.
    """
    segment = assessment.selection.segment
    what = "segment" if assessment.selection.segmentation.kind == "SEG" else "ROI"
    own_id = (segment.tracking_id or "").strip()
    if not own_id or VIEWER_TRACKING.search(own_id) or shown_words(own_id) != own_id:
        own_id = f"PD-L1ES tumour, {what} {segment.number}"
    own_uid = UID((segment.tracking_uid or "").strip(), validation_mode=config.IGNORE)
    return own_id[:64], own_uid if own_uid and own_uid.is_valid else derived_uid("tracking", *lesion_key(assessment))


def series_uid(assessment: Assessment, kind: ReportKind) -> UID:
    """Return the UID of the series that holds this tumour's reports of one kind by this model.

    Parameters
    ----------
    assessment
        Of the tumour.
    kind
        Of the reports.

    Returns
    -------
    UID
    """
    return derived_uid("series", kind.upper(), *lesion_key(assessment))


def content_uid(encoded: bytes) -> UID:
    """Return the SOP Instance UID of an object from the object itself, encoded without its SOP Instance UID.

    Any difference, even of the time, gives another UID, so that no UID names two different objects.
    """
    return derived_uid("instance", hashlib.sha256(encoded).hexdigest())
