"""Segmentations as archives and tools store them, through the whole chain: the score is that of the plain one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pdl1es.phantom.dicom import PhantomStudy
from tests.altered_phantom import AlteredPhantom, copied, put_frames
from tests.integration.chain_runs import Score, Scored

Alter = Callable[[AlteredPhantom], None]


@pytest.fixture
def scored_with(phantom_study: PhantomStudy, score: Score, tmp_path: Path) -> Callable[..., Scored]:
    """Score the phantom, altered."""

    def run(*alterations: Alter, **sections: Any) -> Scored:
        study = AlteredPhantom(phantom_study)
        for alter in alterations:
            alter(study)
        return score(study.write(tmp_path / "study"), **sections)

    return run


@pytest.fixture(scope="module")
def plain(phantom_study: PhantomStudy, score: Score) -> Scored:
    return score(phantom_study.folder)


def in_parts(study: AlteredPhantom) -> list[str]:
    """Store the segmentation in three objects; return their UIDs."""
    whole, groups, frames = study.seg, study.groups, study.frames
    bounds = [0, 2, len(groups) - 1, len(groups)]
    parts = []
    for number in range(3):
        own = slice(bounds[number], bounds[number + 1])
        part = copied(
            whole,
            SOPInstanceUID=f"1.2.3.4.{9 - number}",
            ConcatenationUID="1.2.3.4.1",
            SOPInstanceUIDOfConcatenationSource=whole.SOPInstanceUID,
            InConcatenationNumber=number + 1,
            InConcatenationTotalNumber=3,
            ConcatenationFrameOffsetNumber=bounds[number],
        )
        put_frames(part, groups[own], frames[own])
        parts.append(part)
    study.seg, study.further = parts[0], parts[1:]
    return [part.SOPInstanceUID for part in parts]


def test_a_segmentation_in_several_objects_scores_as_one_and_the_report_names_them_all(
    scored_with: Callable[..., Scored], plain: Scored
) -> None:
    uids: list[str] = []
    done = scored_with(lambda study: uids.extend(in_parts(study)))
    for key in ("score", "tumour", "roi", "contributions", "groups", "plausibility"):
        assert done.result["assessment"][key] == plain.result["assessment"][key]
    assert done.result["warnings"] == plain.result["warnings"]
    named = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in items_of(done.report)
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeMeaning == "Referenced Segment"
    ]
    assert named == uids
    evidence = str(done.report.CurrentRequestedProcedureEvidenceSequence)
    assert all(uid in evidence for uid in uids)


def items_of(item: Dataset) -> list[Dataset]:
    return [item, *(found for child in item.get("ContentSequence", []) for found in items_of(child))]


def test_a_segmentation_of_which_a_part_is_missing_is_refused(scored_with: Callable[..., Scored]) -> None:
    def alter(study: AlteredPhantom) -> None:
        in_parts(study)
        study.further.pop()

    assert scored_with(alter).code == "SEG_INCOMPLETE"


def second_segment(study: AlteredPhantom) -> None:
    item = copied(study.seg.SegmentSequence[0], SegmentNumber=2, SegmentLabel="Tumour 2", TrackingUID="1.2.3.4.22")
    study.seg.SegmentSequence.append(item)
    shared = study.seg.SharedFunctionalGroupsSequence[0]
    identification = shared.get("SegmentIdentificationSequence")
    if identification:
        for group in study.groups:
            group.SegmentIdentificationSequence = Sequence([copied(identification[0])])
        del shared.SegmentIdentificationSequence


def with_empty_frames(study: AlteredPhantom) -> None:
    second_segment(study)
    further = [copied(group) for group in study.groups]
    for group in further:
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 2
    put_frames(study.seg, study.groups + further, np.concatenate([study.frames, np.zeros_like(study.frames)]))


def in_an_object_of_its_own(study: AlteredPhantom) -> None:
    study.further.append(copied(study.seg, SOPInstanceUID="1.2.3.4.5"))
    put_frames(study.further[0], study.groups, np.zeros_like(study.frames))


@pytest.mark.parametrize("alter", [second_segment, with_empty_frames, in_an_object_of_its_own])
def test_a_second_tumour_that_holds_nothing_is_ignored_and_told(
    alter: Alter, scored_with: Callable[..., Scored], plain: Scored
) -> None:
    result = scored_with(alter).result
    assert result["assessment"]["score"] == plain.result["assessment"]["score"]
    codes = [warning["code"] for warning in plain.result["warnings"]]
    assert [warning["code"] for warning in result["warnings"]] == ["EMPTY_SEGMENT_IGNORED", *codes]


def test_where_all_that_is_called_a_tumour_is_empty_the_segment_is_refused_as_empty(
    scored_with: Callable[..., Scored],
) -> None:
    def alter(study: AlteredPhantom) -> None:
        second_segment(study)
        put_frames(study.seg, study.groups, np.zeros_like(study.frames))

    assert scored_with(alter).code == "SEGMENT_EMPTY"
