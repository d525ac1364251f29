"""A segmentation that is stored in several objects: joined where all are there, refused where one is missing."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pdl1es.dicom.concatenation import group_parts, parse_parts
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.pixels.segment_reader import read_segment_mask
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segmentation import Segmentation
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.selection.survey import Selection, select
from pdl1es.dicom.study import scan_study
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.small_files import segmentation_dataset, write
from tests.unit.dicom.synthetic_ct import ct_stack, references_to, seg_instance, segment_item, study_of

STACK = ct_stack()
ZS = (9.0, 12.0, 15.0, 18.0, 21.0, 24.0)


def parts_of(sizes: tuple[int, ...] = (2, 3, 1), **attributes: Any) -> list[Instance]:
    """Split a SEG of six frames into a concatenation; ``attributes`` replace those of every part, and None removes."""
    parts: list[Instance] = []
    for number, size in enumerate(sizes, 1):
        offset = sum(sizes[: number - 1])
        values: dict[str, Any] = {
            "ConcatenationUID": "1.2.3.8.77",
            "SOPInstanceUIDOfConcatenationSource": "1.2.3.8.1",
            "InConcatenationNumber": number,
            "InConcatenationTotalNumber": len(sizes),
            "ConcatenationFrameOffsetNumber": offset,
        }
        values.update(attributes)
        # UIDs that descend, so that their order is not the parts'
        uid = f"1.2.3.8.{9 - number}"
        kept = {key: value for key, value in values.items() if value is not None}
        parts.append(seg_instance(zs=ZS[offset : offset + size], uid=uid, references=references_to(STACK), **kept))
    return parts


def chosen(*parts: Instance, **segment: Any) -> Selection:
    rules = SelectionRules.model_validate({"segment": segment})
    return select(study_of(STACK, *parts), rules, ProtocolRules())


def refusal_of(*parts: Instance) -> Refusal:
    with pytest.raises(Refusal) as caught:
        chosen(*parts)
    return caught.value


def heights(selection: Selection) -> list[float]:
    assert isinstance(selection.segmentation, Segmentation)
    return [frame.plane.position[2] for frame in selection.segmentation.frames if frame.plane is not None]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_parts_are_one_segmentation_in_any_order_of_the_files(order: tuple[int, ...]) -> None:
    parts = parts_of()
    selection = chosen(*(parts[place] for place in order))
    assert heights(selection) == list(ZS)
    assert [part.sop_instance_uid for part in selection.segmentation.instances] == [
        "1.2.3.8.8",
        "1.2.3.8.7",
        "1.2.3.8.6",
    ]
    assert selection.warnings == ()


@pytest.mark.parametrize(
    "absent",
    [
        ("InConcatenationNumber",),
        ("ConcatenationFrameOffsetNumber",),
        ("ConcatenationUID",),
        ("SOPInstanceUIDOfConcatenationSource",),
    ],
)
def test_what_one_attribute_fails_to_say_another_says(absent: tuple[str, ...]) -> None:
    assert heights(chosen(*parts_of((2, 3, 1), **dict.fromkeys(absent)))) == list(ZS)


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("attributes", [{}, {"InConcatenationNumber": None}, {"ConcatenationFrameOffsetNumber": None}])
def test_a_missing_part_is_refused_with_a_remedy_that_is_true(missing: int, attributes: dict[str, Any]) -> None:
    parts = parts_of(**attributes)
    del parts[missing]
    refusal = refusal_of(*parts)
    assert refusal.code is RefusalCode.SEG_INCOMPLETE
    assert "send every object of the segmentation's series" in refusal.remedy


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("numbered", [True, False])
def test_without_their_total_a_gap_is_told_by_offsets_and_frames(missing: int, numbered: bool) -> None:
    without = {"InConcatenationTotalNumber": None} | ({} if numbered else {"InConcatenationNumber": None})
    parts = parts_of((2, 3, 1), **without)
    del parts[missing]
    assert refusal_of(*parts).code is RefusalCode.SEG_INCOMPLETE


def test_without_their_total_nothing_tells_of_the_last_part_and_the_group_is_withheld() -> None:
    selection = chosen(*parts_of(InConcatenationTotalNumber=None))
    assert heights(selection) == list(ZS)
    assert [(w.code, w.effect) for w in selection.warnings] == [("SEG_END_UNKNOWN", "withhold_group")]


def test_one_part_alone_is_refused_also_where_it_does_not_say_how_many_there_are() -> None:
    assert refusal_of(parts_of(InConcatenationTotalNumber=None)[0]).code is RefusalCode.SEG_INCOMPLETE


def test_a_concatenation_of_one_is_a_segmentation() -> None:
    assert heights(chosen(*parts_of((6,)))) == list(ZS)


@pytest.mark.parametrize(
    "attributes",
    [
        {"Rows": 128},
        {"SegmentationType": "FRACTIONAL"},
        {"FrameOfReferenceUID": "1.2.3.10"},
        {"SegmentSequence": [segment_item(1, "Heart", ("80891009", "SCT", "Heart"), None)]},
        {"ConcatenationFrameOffsetNumber": 1},
        {"InConcatenationNumber": 1},
        {"InConcatenationTotalNumber": 5},
    ],
)
def test_parts_that_contradict_each_other_are_refused(attributes: dict[str, Any]) -> None:
    parts = parts_of()
    header = copy.deepcopy(parts[1].header)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    parts[1] = replace(parts[1], header=header)
    assert refusal_of(*parts).code is RefusalCode.SEG_UNREADABLE


def test_two_segmentations_that_share_a_concatenation_uid_by_mistake_are_two() -> None:
    other = [
        replace(part, header=copy.deepcopy(part.header)) for part in parts_of(SOPInstanceUIDOfConcatenationSource="1.9")
    ]
    for number, part in enumerate(other):
        part.header.SOPInstanceUID = f"1.2.3.8.20{number}"
    assert refusal_of(*parts_of(), *other).code is RefusalCode.SEVERAL_TUMOUR_SEGMENTS


def test_an_incomplete_segmentation_beside_a_whole_one_is_ignored_and_told() -> None:
    whole = seg_instance(uid="1.2.3.8.500", references=references_to(STACK))
    selection = chosen(whole, parts_of()[0])
    assert selection.segmentation.instance.sop_instance_uid == "1.2.3.8.500"
    assert [warning.code for warning in selection.warnings] == ["SEG_IGNORED"]


@pytest.mark.parametrize("sizes", [(3, 3), (1, 4, 1), (5, 1)])
def test_the_voxels_of_all_parts_are_those_of_the_whole(sizes: tuple[int, ...], tmp_path: Path) -> None:
    """Frames of 5 x 7 pixels end within a byte, so that a part's first frame does not lie where the whole's frame did."""
    masks = np.random.default_rng(0).random((6, 5, 7)) > 0.5
    start = 0
    for number, size in enumerate(sizes, 1):
        part = segmentation_dataset(
            masks[start : start + size],
            (1,) * size,
            uid=f"1.2.3.2.{number}",
            ConcatenationUID="1.2.3.77",
            InConcatenationNumber=number,
            InConcatenationTotalNumber=len(sizes),
            ConcatenationFrameOffsetNumber=start,
        )
        for index, frame in enumerate(part.PerFrameFunctionalGroupsSequence):
            frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2 * (start + index)]
        write(tmp_path / f"{number}.dcm", part)
        start += size
    (group,) = group_parts(scan_study(tmp_path).instances)
    found = read_segment_mask(parse_parts(group), 1)
    assert np.array_equal(found.masks, masks)
    assert [plane.position[2] for plane in found.planes] == [0, 2, 4, 6, 8, 10]
