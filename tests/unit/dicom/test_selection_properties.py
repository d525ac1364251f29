"""Whatever a study holds, it is selected or refused: the same way in any order of its objects, and without a name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES
from pdl1es.dicom.selection.rules import SegmentRules, SelectionRules
from pdl1es.dicom.selection.survey import Survey, select, survey
from pdl1es.dicom.series import CT_SOP_CLASSES
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.synthetic_ct import (
    ALTERED,
    ENHANCED_CT_IMAGE,
    LUNG,
    NEOPLASM,
    TISSUE,
    ct_instance,
    ct_stack,
    references_to,
    seg_instance,
    segment_item,
)

pytestmark = pytest.mark.filterwarnings("ignore:(The value length|Invalid value for VR CS)")
SECRET: Final = "Zebrafink"
PET: Final = "1.2.840.10008.5.1.4.1.1.128"
LIVER: Final = ("10200004", "SCT", "Liver")

Objects = tuple[Instance, ...]

# Each attribute has its usual value where the key is absent. Most values are faults that somebody's files had.
CT_ATTRIBUTES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "ConvolutionKernel": st.sampled_from(["B30f", ["Br59", "3"], "STANDARD", "", None]),
    "ImageType": st.sampled_from([["ORIGINAL", "PRIMARY", "LOCALIZER"], ["DERIVED", "SECONDARY", "MPR"], None]),
    "FrameOfReferenceUID": st.sampled_from(["1.2.3.99", None]),
    "RescaleType": st.sampled_from(["US", "HU_MOD", "hu ", None]),
    "RescaleSlope": st.sampled_from([0, None]),
    "SOPClassUID": st.sampled_from([PET, ENHANCED_CT_IMAGE]),
    "ImageOrientationPatient": st.sampled_from([[1, 0, 0, 0, 0, -1], [1, 0, 0, 0, 0.9848, 0.1736], [0] * 6, None]),
    "ImagePositionPatient": st.sampled_from([[0, 0, 0], [1e9, 0, 0], None]),
    "PixelSpacing": st.sampled_from([[0, 0], [0.7, 0.8], [0.8], None]),
    "Rows": st.sampled_from([1, 128, None]),
    "SliceThickness": st.sampled_from([0, 7, None]),
    "Manufacturer": st.sampled_from(["GE MEDICAL SYSTEMS", "", None]),
    "Modality": st.sampled_from(["PT", f"{SECRET}^Quendolin", None]),
    "SeriesNumber": st.sampled_from([0, None]),
    "SeriesDescription": st.just(SECRET),
    "InstanceNumber": st.integers(-5, 5),
}
SEG_ATTRIBUTES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "SegmentSequence": st.none(),
    "NumberOfFrames": st.sampled_from([1, 999, None]),
    "SegmentationType": st.sampled_from(["FRACTIONAL", "LABELMAP", "SOMETHING", None]),
    "PerFrameFunctionalGroupsSequence": st.none(),
    "SharedFunctionalGroupsSequence": st.none(),
    "FrameOfReferenceUID": st.sampled_from(["1.9.9", None]),
    "Rows": st.sampled_from([0, None]),
    "SOPClassUID": st.sampled_from(["1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.66.5"]),
}


def some_of(attributes: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Draw values for at most so many of the attributes."""
    keys = st.lists(st.sampled_from(sorted(attributes)), max_size=most, unique=True)
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({key: attributes[key] for key in chosen}))


@st.composite
def series(draw: st.DrawFn, uid: str) -> Objects:
    """Draw the images of one series, now and then with an image that does not fit the others."""
    zs = [draw(st.sampled_from([0.0, 6.0, 300.0])) + 3.0 * n for n in range(draw(st.sampled_from([5, 5, 3, 1])))]
    images = list(ct_stack(zs, series=uid, **draw(some_of(CT_ATTRIBUTES, 2))))
    if draw(st.integers(0, 3)) == 0:
        odd = draw(some_of(CT_ATTRIBUTES, 2))
        images.append(
            ct_instance(zs[-1] + draw(st.sampled_from([0.0, 0.5, 3.0, 9.0])), uid=f"{uid}.5", **odd, series=uid)
        )
    return tuple(images)


@st.composite
def segmentation(draw: st.DrawFn, uid: str, stacks: tuple[Objects, ...]) -> Instance:
    """Draw a SEG of one or two segments, with and without references."""
    items = [
        segment_item(
            number,
            draw(st.sampled_from(["GTV-1", "Tumour", "Heart", "Lymph node"])),
            draw(st.sampled_from([NEOPLASM, NEOPLASM, TISSUE, LIVER, None])),
            draw(st.sampled_from([LUNG, LUNG, LIVER, None])),
            draw(st.sampled_from([ALTERED, ("123037004", "SCT", "Anatomical Structure"), None])),
            draw(st.sampled_from([None, "left"])),
        )
        for number in range(1, draw(st.sampled_from([2, 2, 3])))
    ]
    references: dict[str, Any] = {}
    referenced = draw(st.sampled_from((None, *stacks)))
    if referenced is not None:
        references = references_to(referenced)
        if draw(st.integers(0, 4)) == 0:
            references["1.2.3.77"] = ["1.2.3.77.1"]
    zs = draw(st.sampled_from([(9.0, 12.0), (200.0,)]))
    return seg_instance(items, zs, uid=uid, references=references, **draw(some_of(SEG_ATTRIBUTES, 1)))


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """Draw a study of up to three CT series and up to two SEGs."""
    stacks = tuple(draw(series(f"1.2.3.{10 + n}")) for n in range(draw(st.sampled_from([1, 1, 1, 2, 2, 3, 0]))))
    segs = [draw(segmentation(f"1.2.3.8.{n}", stacks)) for n in range(draw(st.sampled_from([1, 1, 1, 1, 1, 2, 0])))]
    return Study(Path(), (*(image for stack in stacks for image in stack), *segs))


RULES = st.builds(
    lambda segment: SelectionRules(segment=segment),
    st.sampled_from(
        [SegmentRules(), SegmentRules(any_site=True), SegmentRules(label="gtv-1"), SegmentRules(number=1)],
    ),
)
PROTOCOLS = st.sampled_from([ProtocolRules(), ProtocolRules(smooth_kernel="refuse", gantry_tilt="refuse")])
SOON = settings(max_examples=40, deadline=None)


def verdict(seen: Survey) -> tuple[object, ...]:
    """Return everything of a survey, its refusal by what it says."""
    refusal = None if seen.refusal is None else seen.refusal.message
    return seen.candidates, seen.segments, refusal, seen.selection


def told(seen: Survey) -> str:
    """Return every word that a survey can show."""
    warnings = () if seen.selection is None else seen.selection.warnings
    return repr((seen, seen.candidates, seen.segments, seen.refusal and seen.refusal.message, warnings))


@SOON
@given(studies(), RULES, PROTOCOLS, st.randoms(use_true_random=False))
def test_the_order_of_the_objects_changes_nothing(
    study: Study, rules: SelectionRules, protocol: ProtocolRules, random: Any
) -> None:
    shuffled = list(study.instances)
    random.shuffle(shuffled)
    other = replace(study, instances=tuple(shuffled))
    assert verdict(survey(study, rules, protocol)) == verdict(survey(other, rules, protocol))


@SOON
@given(studies(), RULES, PROTOCOLS)
def test_a_study_is_either_selected_or_refused_and_the_survey_says_what_select_does(
    study: Study, rules: SelectionRules, protocol: ProtocolRules
) -> None:
    seen = survey(study, rules, protocol)
    assert (seen.selection is None) is (seen.refusal is not None)
    assert {c.series_instance_uid for c in seen.candidates} == {i.series_instance_uid for i in study.instances}
    if seen.selection is None:
        assert seen.refusal is not None
        with pytest.raises(Refusal, match=re.escape(seen.refusal.message)):
            select(study, rules, protocol)
        assert not any(candidate.chosen for candidate in seen.candidates)
    else:
        assert select(study, rules, protocol) == seen.selection
        selection = seen.selection
        assert [c.series_instance_uid for c in seen.candidates if c.chosen] == [selection.ct.series_instance_uid]
        (segment,) = (s for s in seen.segments if s.chosen)
        assert (segment.accepted, segment.number) == (True, selection.segment.number)
        assert segment.sop_instance_uid == selection.segmentation.instance.sop_instance_uid
        assert {s.rescale_type for s in selection.ct.slices} <= {None, "HU", "hu"}


@SOON
@given(studies(), RULES, PROTOCOLS)
def test_no_name_is_told_whatever_is_wrong(study: Study, rules: SelectionRules, protocol: ProtocolRules) -> None:
    for instance in study.instances:
        instance.header.PatientName = instance.header.PatientID = SECRET
    assert SECRET not in told(survey(study, rules, protocol))


@SOON
@given(studies(), RULES, PROTOCOLS)
def test_the_first_fault_of_the_table_is_told_whatever_else_is_wrong(
    study: Study, rules: SelectionRules, protocol: ProtocolRules
) -> None:
    def code_with(*further: Instance) -> RefusalCode | None:
        refusal = survey(replace(study, instances=(*study.instances, *further)), rules, protocol).refusal
        return None if refusal is None else refusal.code

    classes = {instance.sop_class_uid for instance in study.instances}
    if classes.isdisjoint(CT_SOP_CLASSES):
        assert code_with() is RefusalCode.NO_CT
    elif classes.isdisjoint(SEGMENTATION_SOP_CLASSES):
        assert code_with() is RefusalCode.NO_SEG
    if study.instances:
        other_study = ct_instance(0.0, series="1.2.3.44", StudyInstanceUID="1.2.33")
        other_patient = ct_instance(0.0, series="1.2.3.45", PatientID="P2")
        assert code_with(other_study) is RefusalCode.SEVERAL_STUDIES
        assert code_with(other_study, other_patient) is RefusalCode.SEVERAL_PATIENTS
