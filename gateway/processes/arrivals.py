"""What the executor asks of the stores about a study that arrived: how far it is, what its header says, what it lacks."""

from __future__ import annotations

from typing import Final

from gateway.objects.store import ObjectStore
from gateway.records import StudyKey
from gateway.workflow.study_header import StudyHeader, read_study_header

CT_CLASSES: Final = frozenset({
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
})  # fmt: skip


def header_of(objects: ObjectStore, study: StudyKey) -> StudyHeader:
    """Read what the gateway needs of a study's header, from a CT image where there is one.

    Parameters
    ----------
    objects
        The object store.
    study
        Which study.

    Returns
    -------
    StudyHeader
    """
    there = sorted(
        objects.objects_of(study), key=lambda one: (one.sop_class_uid not in CT_CLASSES, one.sop_instance_uid)
    )
    return read_study_header(objects.path_of(stored) for stored in there)
