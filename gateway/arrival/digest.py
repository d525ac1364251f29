"""The digest of the objects that go into a run: the same objects are the same input, whoever sent them and when."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from pydicom import uid as uids

from gateway.records import StoredObject
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES
from pdl1es.dicom.series import CT_SOP_CLASSES

CONTOUR_SOP_CLASSES: Final = frozenset({*SEGMENTATION_SOP_CLASSES, uids.RTStructureSetStorage})
"""SEG and RT Structure Set."""
INPUT_SOP_CLASSES: Final = CT_SOP_CLASSES | CONTOUR_SOP_CLASSES
"""What a score is made from. Reports are not among it: this software's own come back from many a PACS."""


def objects_digest(objects: Iterable[StoredObject]) -> str:
    """Return the SHA-256 of what a study's objects are: SOP Instance UIDs and the digests of their data sets.

    Parameters
    ----------
    objects
        In any order. Those that no score is made from do not count.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    lines = sorted(
        f"{stored.sop_instance_uid} {stored.sha256}\n"
        for stored in objects
        if stored.sop_class_uid in INPUT_SOP_CLASSES
    )
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
