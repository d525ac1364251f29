"""Several passes in one series: told apart, and the one taken on which the tumour was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.passes import overlapping_passes
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.selection.survey import Selection, select
from pdl1es.dicom.stack import placed_slices
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.synthetic_ct import CT_IMAGE, SERIES, ct_instance, references_to, seg_instance, study_of

ZS = tuple(float(z) for z in range(0, 120, 3))
TUMOUR = (48.0, 51.0, 54.0)


def one_pass(zs: Sequence[float] = ZS, first: int = 1, **attributes: Any) -> tuple[Instance, ...]:
    """Return images at these places, numbered from ``first``."""
    return tuple(
        ct_instance(z, uid=f"{SERIES}.{first + n}", InstanceNumber=first + n, **attributes) for n, z in enumerate(zs)
    )


FIRST = one_pass(AcquisitionNumber=1, AcquisitionTime="101500", ContentTime="101600")


def drawn_on(stack: Sequence[Instance], zs: Sequence[float] = TUMOUR) -> Instance:
    """Return a SEG whose frames name the images of a pass."""
    seg = seg_instance(zs=zs)
    at = {float(i.header.ImagePositionPatient[2]): i.sop_instance_uid for i in stack}
    for frame in seg.header.PerFrameFunctionalGroupsSequence:
        source, derivation = Dataset(), Dataset()
        z = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = CT_IMAGE, at[z]
        derivation.SourceImageSequence = [source]
        frame.DerivationImageSequence = [derivation]
    return seg


def chosen(*parts: Instance | Sequence[Instance]) -> Selection:
    return select(study_of(*parts), SelectionRules(), ProtocolRules())


def code_of(*parts: Instance | Sequence[Instance]) -> RefusalCode:
    with pytest.raises(Refusal) as caught:
        chosen(*parts)
    return caught.value.code


def uids(selection: Selection) -> list[str]:
    return [s.instance.sop_instance_uid for s in selection.ct.slices]


def second(places: str, **attributes: Any) -> tuple[Instance, ...]:
    """Return a second pass, as long as the first or at the tumour alone, half a spacing on or at the same places."""
    zs = ZS if places.startswith("whole") else tuple(z for z in ZS if 30 <= z <= 72)
    shift = 1.5 if places.endswith("between") else 1.1 if places.endswith("beside") else 0.0
    told = {"AcquisitionNumber": 1, "AcquisitionTime": "101500", "ContentTime": "101600"} | attributes
    return one_pass([z + shift for z in zs], 201, **told)


PLACES = ("whole, between", "whole, at the same", "tumour, between", "tumour, at the same", "tumour, beside")
TOLD: dict[str, dict[str, Any]] = {
    "acquisition number": {"AcquisitionNumber": 2},
    "acquisition time": {"AcquisitionTime": "101530"},
    "content time": {"ContentTime": "101730"},
    "temporal position": {"TemporalPositionIdentifier": 2},
    "phase": {"NominalPercentageOfCardiacPhase": 40},
    "kernel": {"ConvolutionKernel": "B30f"},
    "instance number": {},
}


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("places", PLACES)
def test_the_pass_on_which_the_tumour_was_drawn_is_scored_alone_and_told(places: str, told: str) -> None:
    other = second(places, **TOLD[told])
    for stack, zs in ((FIRST, TUMOUR), (other, [float(i.header.ImagePositionPatient[2]) for i in other[6:9]])):
        selection = chosen(FIRST, other, drawn_on(stack, zs))
        assert sorted(uids(selection)) == sorted(i.sop_instance_uid for i in stack)
        assert "OTHER_PASS_LEFT_OUT" in [warning.code for warning in selection.warnings]
        assert any("of another pass" in reason for reason in selection.candidates[0].reasons)


def test_images_that_were_listed_tell_the_pass_where_frames_name_none() -> None:
    other = second("whole, at the same", AcquisitionNumber=2)
    assert uids(chosen(FIRST, other, seg_instance(zs=TUMOUR, references=references_to(FIRST)))) == [
        i.sop_instance_uid for i in FIRST
    ]


def test_the_places_of_the_frames_tell_the_pass_where_nothing_is_named() -> None:
    other = second("whole, between", AcquisitionNumber=2)
    selection = chosen(FIRST, other, seg_instance(zs=TUMOUR))
    assert len(uids(selection)) == len(FIRST)
    assert {warning.code for warning in selection.warnings} == {"SEG_WITHOUT_REFERENCES", "OTHER_PASS_LEFT_OUT"}


@pytest.mark.parametrize("seg", [seg_instance(zs=TUMOUR), drawn_on(FIRST)])
def test_passes_that_share_places_away_from_the_tumour_do_not_disturb(seg: Instance) -> None:
    other = one_pass([z for z in ZS if z >= 90], 201, AcquisitionNumber=2)
    assert len(uids(chosen(FIRST, other, seg))) == len(FIRST)


def test_passes_that_lie_between_each_other_away_from_the_tumour_change_nothing() -> None:
    other = one_pass([z + 1.5 for z in ZS if z >= 90], 201, AcquisitionNumber=2)
    selection = chosen(FIRST, other, drawn_on(FIRST))
    assert len(uids(selection)) == len(FIRST) + len(other)
    assert selection.warnings == ()


def test_passes_that_lie_beside_each_other_or_in_other_frames_of_reference_are_told_apart() -> None:
    moved = [
        ct_instance(
            float(i.header.ImagePositionPatient[2]) + shift,
            uid=f"{SERIES}.{300 + n}",
            ImagePositionPatient=[-140, -120, float(i.header.ImagePositionPatient[2]) + shift],
            AcquisitionNumber=2,
            FrameOfReferenceUID=frame,
        )
        for shift, frame, n0 in ((1.5, "1.2.3.9", 0), (0.0, "1.2.3.10", 100))
        for n, i in enumerate(FIRST, n0)
    ]
    for other in (moved[: len(FIRST)], moved[len(FIRST) :]):
        assert uids(chosen(FIRST, other, drawn_on(FIRST))) == [i.sop_instance_uid for i in FIRST]


def test_images_that_are_there_twice_under_two_uids_are_told_by_the_list_of_the_segmentation() -> None:
    again = [ct_instance(z, uid=f"{SERIES}.{900 + n}", InstanceNumber=n + 1) for n, z in enumerate(ZS)]
    first = one_pass()
    listing = seg_instance(zs=TUMOUR, references=references_to(first))
    assert uids(chosen(first, again, listing)) == [i.sop_instance_uid for i in first]
    # the tumour's own images alone do not tell which of two lie beside it
    assert code_of(first, again, drawn_on(first)) is RefusalCode.DUPLICATE_SLICES


@pytest.mark.parametrize("told", ["acquisition number", "instance number"])
def test_where_nothing_says_on_which_pass_the_tumour_was_drawn_the_study_is_refused(told: str) -> None:
    other = second("whole, at the same", **TOLD[told])
    both = {SERIES: [i.sop_instance_uid for i in (*FIRST, *other)]}
    for seg in (seg_instance(zs=TUMOUR), seg_instance(zs=TUMOUR, references=both)):
        assert code_of(FIRST, other, seg) is RefusalCode.DUPLICATE_SLICES


def test_a_tumour_that_was_drawn_on_both_passes_is_refused() -> None:
    other = second("whole, at the same", AcquisitionNumber=2)
    at = drawn_on(FIRST)
    frame = at.header.PerFrameFunctionalGroupsSequence[1]
    frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = other[17].sop_instance_uid
    assert code_of(FIRST, other, at) is RefusalCode.DUPLICATE_SLICES


def test_one_slice_that_is_there_twice_makes_no_two_passes_of_one_scan() -> None:
    twice = one_pass((*ZS[:30], ZS[29], *ZS[30:]))
    assert code_of(twice, drawn_on(twice)) is RefusalCode.DUPLICATE_SLICES


ONE_SCAN: dict[str, Callable[[], tuple[Instance, ...]]] = {
    "parts that follow each other": lambda: (
        *one_pass(ZS[:20], AcquisitionNumber=1),
        *one_pass(ZS[20:], 100, AcquisitionNumber=2),
    ),
    "a number for each rotation": lambda: tuple(ct_instance(z, AcquisitionNumber=n + 1) for n, z in enumerate(ZS)),
    "a time for each slice, from head to feet": lambda: tuple(
        ct_instance(z, AcquisitionTime=f"1015{59 - n:02d}") for n, z in enumerate(ZS)
    ),
    "content times in the order of a parallel reconstruction": lambda: tuple(
        ct_instance(z, ContentTime=f"10160{n % 3}") for n, z in enumerate(ZS)
    ),
    "images numbered as they came": lambda: tuple(
        ct_instance(z, InstanceNumber=(7 * n) % 40 + 1) for n, z in enumerate(ZS)
    ),
    "odd images numbered before even ones": lambda: tuple(
        ct_instance(z, InstanceNumber=n // 2 + (20 if n % 2 else 0)) for n, z in enumerate(ZS)
    ),
    "thick slices that overlap": lambda: tuple(
        ct_instance(z, SliceThickness=6, InstanceNumber=n) for n, z in enumerate(ZS)
    ),
    "finer steps in the middle": lambda: one_pass([*ZS[:10], *(ZS[10] + 1.5 * n for n in range(20))]),
}


@pytest.mark.parametrize("scan", ONE_SCAN)
def test_one_scan_is_one_pass_however_it_is_numbered(scan: str) -> None:
    slices, _ = placed_slices(ONE_SCAN[scan]())
    assert overlapping_passes(slices, np.array([0.0, 0.0, 1.0])) is None
