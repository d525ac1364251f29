"""What the headers of a study's objects say of its completeness: asked of the chain's own selection, so that both say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from gateway.arrival.digest import CONTOUR_SOP_CLASSES, INPUT_SOP_CLASSES, objects_digest
from gateway.arrival.judgement import ArrivalEvidence, ChosenInput
from gateway.objects.store import ObjectStore
from gateway.records import StoredObject
from pdl1es.chain import read_mask
from pdl1es.dicom.concatenation import group_parts
from pdl1es.dicom.gaps import slice_gaps
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.selection.segment import drawn_at
from pdl1es.dicom.selection.survey import Selection, survey
from pdl1es.dicom.series import MULTI_FRAME_CT_SOP_CLASSES, CTSeries
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal
from pdl1es.grid.placement import PlacedMask, place_mask
from pdl1es.method import RADIOMICS_MARGIN_MM
from pdl1es.settings import Settings

_SHOWN: Final = 5
SAME_LESION: Final = 0.5
"""Two contours are of one lesion where their boxes share this much of the box around both, or they have one Tracking UID."""


class OtherIdentityError(RuntimeError):
    """A file's header says other UIDs than the index: nothing may be decided of its study."""


def read_evidence(store: ObjectStore, objects: Sequence[StoredObject], settings: Settings) -> ArrivalEvidence:
    """Read a study's headers, and its contour's voxels.

    Of several contours of one lesion, the one that was drawn last counts: it is a correction. Where a header does not say when, or all say
    the same, the one that came last does: an archive sends a study's contours in any order. Contours of different lesions stay for the
    chain's own rules, which refuse to guess.

    Parameters
    ----------
    store
        Where its objects lie.
    objects
        The study's.
    settings
        ``app.yaml``.

    Returns
    -------
    ArrivalEvidence

    Raises
    ------
    OtherIdentityError
        A file says other UIDs than the index.
    """
    everything = objects_digest(objects)
    inputs = [stored for stored in objects if stored.sop_class_uid in INPUT_SOP_CLASSES]
    try:
        with silenced_pydicom():
            study = _study_of(store, inputs, settings)
            contours = _contours_that_count(study, inputs, settings)
            judged = survey(_with_contours(study, contours), settings.selection, settings.protocol)
            if judged.selection is None:
                assert judged.refusal is not None  # a survey has one or the other
                return ArrivalEvidence(None, judged.refusal.code.name, judged.refusal.found, everything)
            return ArrivalEvidence(_chosen(judged.selection, inputs), "", "", everything)
    except Refusal as refusal:
        return ArrivalEvidence(None, refusal.code.name, refusal.found, everything)


def _study_of(store: ObjectStore, inputs: Sequence[StoredObject], settings: Settings) -> Study:
    """Return the study as the chain reads it, without files that are not in the index yet."""
    indexed = {store.path_of(stored).resolve(): stored for stored in inputs}
    study = scan_study(store.study_folder(inputs[0].study), settings.limits)
    instances = tuple(instance for instance in study.instances if instance.path in indexed)
    for instance in instances:
        stored = indexed[instance.path]
        if (instance.sop_instance_uid, instance.series_instance_uid, instance.study_instance_uid) != (
            stored.sop_instance_uid,
            stored.series_instance_uid,
            stored.study_instance_uid,
        ):
            raise OtherIdentityError("a file says other UIDs than the index")
    return replace(study, instances=instances)


def _with_contours(study: Study, contours: Sequence[Instance]) -> Study:
    """Return the study with these contours alone."""
    kept = {instance.sop_instance_uid for instance in contours}
    return replace(
        study,
        instances=tuple(
            instance
            for instance in study.instances
            if instance.sop_class_uid not in CONTOUR_SOP_CLASSES or instance.sop_instance_uid in kept
        ),
    )


def _contours_that_count(study: Study, inputs: Sequence[StoredObject], settings: Settings) -> list[Instance]:
    """Return the contours without those that a later one of the same lesion replaces."""
    found = [instance for instance in study.instances if instance.sop_class_uid in CONTOUR_SOP_CLASSES]
    groups = group_parts(found)
    if len(groups) < 2:
        return found
    came = {stored.sop_instance_uid: stored.received_at for stored in inputs}
    drawn = {id(group): max((drawn_at(part) or "" for part in group), default="") for group in groups}
    if not all(drawn.values()):
        drawn = dict.fromkeys(drawn, "")
    groups.sort(key=lambda group: (drawn[id(group)], max(came[part.sop_instance_uid] for part in group)), reverse=True)
    kept: list[Instance] = []
    lesions: list[tuple[Selection, PlacedMask]] = []
    for group in groups:
        lesion = _lesion(_with_contours(study, group), settings)
        if lesion is not None:
            if any(_is_same_lesion(lesion, later) for later in lesions):
                continue
            lesions.append(lesion)
        kept.extend(group)
    return kept


def _lesion(study: Study, settings: Settings) -> tuple[Selection, PlacedMask] | None:
    selection = survey(study, settings.selection, settings.protocol).selection
    if selection is None:
        return None
    try:
        return selection, place_mask(read_mask(selection), selection.ct)
    except Refusal:
        return None


def _is_same_lesion(one: tuple[Selection, PlacedMask], other: tuple[Selection, PlacedMask]) -> bool:
    uids = {selection.segment.tracking_uid for selection, _ in (one, other)}
    if None not in uids and "" not in uids and len(uids) == 1:
        return True
    if one[0].ct.frame_of_reference_uid != other[0].ct.frame_of_reference_uid:
        return False
    (low_a, high_a), (low_b, high_b) = _box(one[1]), _box(other[1])
    shared = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None)
    around = np.maximum(high_a, high_b) - np.minimum(low_a, low_b)
    return bool(np.prod(shared) >= SAME_LESION * np.prod(around))


def _box(placed: PlacedMask) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the box around a lesion, mm, each shape (3,)."""
    x, y = placed.in_plane()
    z = np.array([edge for f in placed.occupied() for edge in (f.z - f.thickness / 2, f.z + f.thickness / 2)])
    return np.array([x.min(), y.min(), z.min()]), np.array([x.max(), y.max(), z.max()])


def _chosen(selection: Selection, inputs: Sequence[StoredObject]) -> ChosenInput:
    contour = tuple(instance.sop_instance_uid for instance in selection.segmentation.instances)
    series = selection.ct.series_instance_uid
    going_in = [
        stored for stored in inputs if stored.series_instance_uid == series or stored.sop_instance_uid in contour
    ]
    return ChosenInput(contour, series, objects_digest(going_in), _lack(selection, going_in))


def _lack(selection: Selection, going_in: Sequence[StoredObject]) -> str:
    """Say what the geometry lacks; nothing where the series is one stack without gaps that reaches beyond the tumour."""
    ct = selection.ct
    try:
        placed = place_mask(read_mask(selection), ct)
    except Refusal as refusal:
        return refusal.found
    if gaps := slice_gaps(ct):
        places = [f"{gap.low:.1f} and {gap.high:.1f} mm" for gap in gaps]
        return f"slices are missing between {_few(places)} along the stack"
    tumour = [frame.z for frame in placed.occupied()]
    below = min(tumour) - float(placed.stack.z[0])
    above = float(placed.stack.z[-1]) - max(tumour)
    if min(below, above) < RADIOMICS_MARGIN_MM:
        end = "below" if below < above else "above"
        return f"the slices end {max(min(below, above), 0.0):.1f} mm {end} the tumour, and {RADIOMICS_MARGIN_MM} mm are looked at"
    return _missing_numbers(ct)


def _missing_numbers(ct: CTSeries) -> str:
    """Say how many images are missing by Instance Number, where the series is numbered from one on.

    Slices that are missing at one end, or every second one everywhere, leave no gap in the geometry.
    """
    if any(s.instance.sop_class_uid in MULTI_FRAME_CT_SOP_CLASSES for s in ct.slices):
        return ""
    numbers = {s.instance_number for s in ct.slices}
    if None in numbers or len(numbers) < len(ct.slices):
        return ""
    known = sorted(number for number in numbers if number is not None)
    first = known[0] if known[0] > len(known) else min(known[0], 1)  # some writers number on from another series
    missing = known[-1] - first + 1 - len(known) - len(ct.set_aside)
    if missing <= 0:
        return ""
    absent = [str(number) for number in range(first, known[-1]) if number not in numbers]
    return f"{missing} images are missing by Instance Number: {_few(absent)}"


def _few(found: Sequence[str]) -> str:
    """Return the first of many in words."""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
