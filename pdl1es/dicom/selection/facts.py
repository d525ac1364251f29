"""What a study holds, parsed once: its series, the stacks that they form, its segmentations, and what is wrong with them.

Nothing is judged here: a fault is kept as a refusal, and `survey` decides which one is raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.uid import UID

from pdl1es.dicom.concatenation import group_parts, parse_parts
from pdl1es.dicom.free_text import MODALITIES, shown_term
from pdl1es.dicom.header_elements import attribute_value
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES, Segmentation
from pdl1es.dicom.selection.copies import refuse_different
from pdl1es.dicom.series import CT_SOP_CLASSES, CTSeries, series_of
from pdl1es.dicom.stack import ct_series
from pdl1es.dicom.structure_set import RT_STRUCTURE_SET, StructureSet, parse_structure_set
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """One series of the study.

    Attributes
    ----------
    uid
        Series Instance UID.
    instances
        Its objects.
    stack
        The stack that its CT images form; None where they form none, and for a series without CT images.
    fault
        Why its CT images form no stack, else None.
    """

    uid: str
    instances: tuple[Instance, ...] = field(repr=False)
    stack: CTSeries | None
    fault: Refusal | None

    @property
    def has_ct(self) -> bool:
        """Whether any of its objects is a CT image."""
        return self.stack is not None or self.fault is not None

    @property
    def modality(self) -> str:
        """Modality of its first object, as `modality_of`."""
        return modality_of(self.instances[0])

    @property
    def number(self) -> int | None:
        """Series Number, or None."""
        try:
            return int(_text(self.instances[0], "SeriesNumber"))
        except ValueError:
            return None

    @property
    def frames_of_reference(self) -> frozenset[str]:
        """Frame of Reference UIDs of its objects."""
        return frozenset(instance.frame_of_reference_uid for instance in self.instances) - {""}


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What a study holds.

    Attributes
    ----------
    objects
        Number of DICOM objects.
    patients
        Number of patients whose objects they are. An object that names none does not count.
    study_uids
        Study Instance UIDs, ascending.
    modalities
        Modalities, ascending.
    sop_instance_uids
        UIDs of all objects.
    series
        By UID.
    segmentations
        Every readable SEG, by SOP Instance UID.
    unreadable
        Why the other SEG objects and structure sets cannot be read.
    structure_sets
        Every readable structure set, by SOP Instance UID.
    copies
        Number of further files of objects that are one image all the same: of another transfer syntax, or with other
        values of attributes that decide nothing.
    stored_otherwise
        Storage classes that are no CT images, with the number of their objects whose Modality is CT.
    """

    objects: int
    patients: int
    study_uids: tuple[str, ...]
    modalities: tuple[str, ...]
    sop_instance_uids: frozenset[str] = field(repr=False)
    series: tuple[SeriesFacts, ...]
    segmentations: tuple[Segmentation, ...]
    unreadable: tuple[Refusal, ...]
    structure_sets: tuple[StructureSet, ...] = ()
    copies: int = 0
    stored_otherwise: tuple[tuple[str, int], ...] = ()


def parse_study(study: Study, minimum_slices: int) -> StudyFacts:
    """Parse a study's headers.

    Parameters
    ----------
    study
        The headers.
    minimum_slices
        Fewest slices that form a stack.

    Returns
    -------
    StudyFacts
        Independent of the order of ``study.instances``.
    """
    instances = sorted(study.instances, key=lambda instance: (instance.sop_instance_uid, str(instance.path)))
    contradicted, copies = _judge_copies(study.copies)
    segmentations, unreadable = _parse_segmentations(instances, contradicted)
    structure_sets, unreadable_sets = _parse_structure_sets(instances)
    return StudyFacts(
        objects=len(instances),
        patients=_count_patients(instances),
        study_uids=tuple(sorted({instance.study_instance_uid for instance in instances} - {""})),
        modalities=tuple(sorted({modality_of(instance) for instance in instances})),
        sop_instance_uids=frozenset(instance.sop_instance_uid for instance in instances),
        series=tuple(
            _parse_series(uid, objects, minimum_slices, contradicted) for uid, objects in series_of(instances).items()
        ),
        segmentations=segmentations,
        unreadable=(*unreadable, *unreadable_sets),
        structure_sets=structure_sets,
        copies=copies,
        stored_otherwise=_stored_otherwise(instances),
    )


def _stored_otherwise(instances: Iterable[Instance]) -> tuple[tuple[str, int], ...]:
    """Count the objects whose Modality is CT but whose storage class is no CT image, by that class's name."""
    counts = Counter(
        UID(instance.sop_class_uid).name
        for instance in instances
        if modality_of(instance) == "CT" and instance.sop_class_uid not in CT_SOP_CLASSES
    )
    return tuple(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def modality_of(instance: Instance) -> str:
    """Return Modality where it is one of DICOM's terms, ``unknown`` where it is absent, else what may be told of it."""
    return shown_term(_text(instance, "Modality"), MODALITIES) or "unknown"


def _judge_copies(copies: Iterable[Sequence[Instance]]) -> tuple[dict[str, Refusal], int]:
    """Return why files of one SOP Instance UID are several images, by that UID, and how many are copies of one."""
    contradicted: dict[str, Refusal] = {}
    harmless = 0
    for files in copies:
        try:
            refuse_different(files)
        except Refusal as refusal:
            contradicted[files[0].sop_instance_uid] = refusal
        else:
            harmless += len(files) - 1
    return contradicted, harmless


def _parse_series(
    uid: str, instances: tuple[Instance, ...], minimum_slices: int, contradicted: Mapping[str, Refusal]
) -> SeriesFacts:
    images = [instance for instance in instances if instance.sop_class_uid in CT_SOP_CLASSES]
    if not images:
        return SeriesFacts(uid, instances, stack=None, fault=None)
    for image in images:
        if image.sop_instance_uid in contradicted:
            return SeriesFacts(uid, instances, stack=None, fault=contradicted[image.sop_instance_uid])
    try:
        return SeriesFacts(uid, instances, stack=ct_series(images, minimum_slices=minimum_slices), fault=None)
    except Refusal as refusal:
        return SeriesFacts(uid, instances, stack=None, fault=refusal)


def _parse_segmentations(
    instances: Iterable[Instance], contradicted: Mapping[str, Refusal]
) -> tuple[tuple[Segmentation, ...], tuple[Refusal, ...]]:
    objects = {i.sop_instance_uid: i for i in instances if i.sop_class_uid in SEGMENTATION_SOP_CLASSES}
    segmentations, unreadable = [], []
    for parts in group_parts(objects.values()):
        try:
            for part in parts:
                if part.sop_instance_uid in contradicted:
                    raise contradicted[part.sop_instance_uid]
            segmentations.append(parse_parts(parts))
        except Refusal as refusal:
            unreadable.append(refusal)
    segmentations.sort(key=lambda segmentation: segmentation.instance.sop_instance_uid)
    return tuple(segmentations), tuple(unreadable)


def _parse_structure_sets(instances: Iterable[Instance]) -> tuple[tuple[StructureSet, ...], tuple[Refusal, ...]]:
    structure_sets, unreadable = [], []
    for instance in instances:
        if instance.sop_class_uid == RT_STRUCTURE_SET:
            try:
                structure_sets.append(parse_structure_set(instance))
            except Refusal as refusal:
                unreadable.append(refusal)
    return tuple(structure_sets), tuple(unreadable)


def _count_patients(instances: Iterable[Instance]) -> int:
    """Count the patients: an id with and without an issuer is one patient, the same id of two issuers is two."""
    issuers: dict[str, set[str]] = {}
    for instance in instances:
        patient = _text(instance, "PatientID")
        if patient:
            issuers.setdefault(patient, set()).add(_text(instance, "IssuerOfPatientID"))
    return sum(max(1, len(known - {""})) for known in issuers.values())


def _text(instance: Instance, keyword: str) -> str:
    value = attribute_value(instance.header, keyword)
    return "" if value is None else str(value).strip()
