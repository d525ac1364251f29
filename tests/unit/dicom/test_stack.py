"""Stacks of slices: what is one, what is refused, and what is missing in it."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.dicom.gaps import slice_gaps
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.series import CT_SOP_CLASSES, CTSeries, median_slice_spacing, series_of, slice_positions
from pdl1es.dicom.stack import ct_series
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.synthetic_ct import ENHANCED_CT_IMAGE, SERIES, ct_header, ct_instance, ct_stack


def refusal_of(*instances: Instance, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ct_series(instances, **options)
    return caught.value


def real_series(folder: Path) -> CTSeries:
    """Return the one CT series of a folder of real files."""
    objects = [Instance(p, pydicom.dcmread(p, stop_before_pixels=True)) for p in sorted(folder.rglob("*.dcm"))]
    return ct_series(i for i in objects if i.sop_class_uid in CT_SOP_CLASSES)


def enhanced(zs: list[float], **changes: Any) -> Instance:
    """Return an enhanced multi-frame CT with its frames at these positions."""
    header = ct_header(uid="1.2.3.5.1", SOPClassUID=ENHANCED_CT_IMAGE)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                    "RescaleSlope", "RescaleIntercept", "RescaleType", "ConvolutionKernel"):  # fmt: skip
        delattr(header, keyword)
    orientation, measures, values, reconstruction, kind, shared = (Dataset() for _ in range(6))
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.8], 2
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, -1000, "HU"
    reconstruction.ConvolutionKernel = ["Br59", "3"]
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence, shared.CTReconstructionSequence = [values], [reconstruction]
    shared.CTImageFrameTypeSequence = [kind]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = []
    for number, z in enumerate(zs, start=1):
        position, content, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, content.InStackPositionNumber = [-100, -120, z], number
        frame.PlanePositionSequence, frame.FrameContentSequence = [position], [content]
        header.PerFrameFunctionalGroupsSequence.append(frame)
    header.NumberOfFrames = len(zs)
    for keyword, value in changes.items():
        setattr(header, keyword, value)
    return Instance(Path("enhanced.dcm"), header)


# --- what a stack is -------------------------------------------------------------------------------------------------


def test_slices_are_sorted_by_position_whatever_their_order_names_and_numbers() -> None:
    stack = list(ct_stack())
    for number, instance in enumerate(reversed(stack)):
        instance.header.InstanceNumber = number
    expected = ct_series(stack)
    random.Random(7).shuffle(stack)
    series = ct_series(stack)
    assert series == expected
    assert slice_positions(series).tolist() == [float(z) for z in range(0, 60, 3)]
    assert series.tilt_degrees == 0.0


def test_slices_ascend_towards_the_head_for_feet_first_and_face_down_storage() -> None:
    turned = ct_series(ct_stack(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]))
    assert slice_positions(turned).tolist() == [float(z) for z in range(0, 60, 3)]


def test_uneven_distances_alone_are_no_fault() -> None:
    series = ct_series(ct_stack([0, 3, 6.5, 9, 12.2, 15, 19]))
    assert median_slice_spacing(series) == 3.0
    assert slice_gaps(series) == ()


def test_the_frames_of_an_enhanced_ct_are_slices_with_their_own_values() -> None:
    series = ct_series([enhanced([6.0, 2.0, 4.0])])
    assert [(s.frame, s.plane.position[2]) for s in series.slices] == [(1, 2.0), (2, 4.0), (0, 6.0)]
    first = series.slices[0]
    assert (first.rescale_slope, first.rescale_intercept, first.rescale_type) == (2.0, -1000.0, "HU")
    assert (first.convolution_kernel, first.slice_thickness, first.instance_number) == (("Br59", "3"), 2.0, 2)
    assert first.image_type == ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")


def test_missing_rescale_and_kernel_stay_missing() -> None:
    series = ct_series(ct_stack(RescaleSlope=None, RescaleIntercept=None, ConvolutionKernel=None, SliceThickness=None))
    first = series.slices[0]
    assert (first.rescale_slope, first.rescale_intercept, first.slice_thickness) == (None, None, None)
    assert first.convolution_kernel == ()


def test_a_second_copy_of_a_file_changes_nothing() -> None:
    stack = ct_stack()
    assert ct_series((*stack, *stack)) == ct_series(stack)


def test_the_objects_of_a_study_are_grouped_by_series() -> None:
    grouped = series_of((*ct_stack([0], series="1.9"), *ct_stack([0, 3], series="1.10")))
    assert {uid: len(objects) for uid, objects in grouped.items()} == {"1.10": 2, "1.9": 1}


# --- what is set aside -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImagePositionPatient": None},
        {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "PERFUSION"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "Rows": 512, "Columns": 512},
    ],
)
def test_an_image_of_another_type_that_shares_the_series_is_set_aside_with_its_reason(odd: dict[str, Any]) -> None:
    stack = ct_stack()
    stray = ct_instance(9.0, uid="1.2.3.99", **odd)
    series = ct_series((*stack, stray))
    assert series.slices == ct_series(stack).slices
    assert [entry.sop_instance_uid for entry in series.set_aside] == ["1.2.3.99"]
    assert series.set_aside[0].reason.startswith("Image Type")


@pytest.mark.parametrize(
    "page",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "ImagePositionPatient": None},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "PixelSpacing": None, "Rows": 768, "Columns": 1024},
        {"ImagePositionPatient": None, "ImageOrientationPatient": None},
        {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None, "ImageType": None},
        {"ImagePositionPatient": None, "ImageOrientationPatient": None, "FrameOfReferenceUID": None},
    ],
)
@pytest.mark.parametrize("pages", [1, 3])
def test_pages_without_a_place_in_space_are_set_aside_and_told(page: dict[str, Any], pages: int) -> None:
    stack = ct_stack()
    series = ct_series((*(ct_instance(0.0, uid=f"1.2.3.99.{n}", **page) for n in range(pages)), *stack))
    assert series.slices == ct_series(stack).slices
    assert [entry.reason for entry in series.set_aside] == ["without a place in space"] * pages


@pytest.mark.parametrize("lost", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_slice_that_lost_a_part_of_its_place_is_refused_because_it_would_leave_a_gap(lost: str) -> None:
    refusal = refusal_of(*ct_stack(), ct_instance(60.0, uid="1.2.3.99", **{lost: None}))
    assert (refusal.code, refusal.uid) == (RefusalCode.GEOMETRY_MISSING, "1.2.3.99")


# --- tolerances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [0.78125, 0.8, 0.75005, 0.9765625, 0.70325])
@pytest.mark.parametrize("difference", [1e-7, -1e-7, 5e-5, -5e-5])
def test_spacings_that_differ_by_rounding_are_one_wherever_a_step_would_lie(edge: float, difference: float) -> None:
    stack = [
        ct_instance(z, PixelSpacing=[edge, edge] if n % 3 else [edge + difference, edge])
        for n, z in enumerate(range(0, 60, 3))
    ]
    series = ct_series(stack)
    assert len(series.slices) == 20
    assert {(s.plane.row_spacing, s.plane.column_spacing) for s in series.slices} == {(edge, edge)}


def test_of_two_spacings_as_frequent_the_one_of_fewer_digits_is_taken_also_of_transposed_images() -> None:
    stack = [
        ct_instance(z, PixelSpacing=[0.7812501, 0.9]) if n % 2 else ct_instance(z, PixelSpacing=[0.78125, 0.9])
        for n, z in enumerate(range(0, 60, 3))
    ]
    transposed = [
        ct_instance(
            float(z), uid=f"1.2.3.98.{z}", PixelSpacing=[0.9, 0.78125], ImageOrientationPatient=[0, 1, 0, 1, 0, 0]
        )
        for z in (60, 63)
    ]
    planes = [s.plane for s in ct_series([*stack, *transposed]).slices]
    assert {(p.row_spacing, p.column_spacing) for p in planes[:20]} == {(0.78125, 0.9)}
    assert {(p.row_spacing, p.column_spacing) for p in planes[20:]} == {(0.9, 0.78125)}


@pytest.mark.parametrize("noise", [1e-7, 1e-5, 2e-4])
def test_orientations_that_differ_by_rounding_are_one(noise: float) -> None:
    stack = [
        ct_instance(z, ImageOrientationPatient=[1, 0, noise * (n % 2), 0, 1, -noise * (n % 3)])
        for n, z in enumerate(range(0, 60, 3))
    ]
    assert len(ct_series(stack).slices) == 20


def test_a_series_of_localizers_alone_is_no_eligible_ct() -> None:
    refusal = refusal_of(*ct_stack([0, 3, 6], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    assert refusal.code is RefusalCode.NO_ELIGIBLE_CT
    assert "LOCALIZER" in refusal.found
    assert "none of the series' 3 images" in refusal.found


def test_too_few_slices_beside_images_that_were_set_aside_tell_how_many() -> None:
    maps = [ct_instance(z, uid=f"1.2.3.99.{z}", ImageType=["DERIVED", "SECONDARY", "MIP"]) for z in range(200)]
    refusal = refusal_of(*ct_stack([0, 3]), *maps)
    assert refusal.code is RefusalCode.TOO_FEW_SLICES
    assert "200 images were set aside: Image Type MIP" in refusal.found


def test_a_volume_rendering_in_an_enhanced_object_is_no_ct_slice() -> None:
    assert refusal_of(enhanced([0, 2, 4], VolumeBasedCalculationTechnique="VOLUME_RENDER")).code is (
        RefusalCode.NO_ELIGIBLE_CT
    )


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "tag"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0.9848, 0.1736]}, "ImageOrientationPatient (0020,0037)"),
        ({"Rows": 512}, "Rows (0028,0010), Columns (0028,0011)"),
        ({"PixelSpacing": [0.7, 0.7]}, "PixelSpacing (0028,0030)"),
        ({"PixelSpacing": [0.8, 0.7]}, "PixelSpacing (0028,0030)"),
        ({"ImagePositionPatient": [-90, -120, 60]}, "ImagePositionPatient (0020,0032)"),
        ({"FrameOfReferenceUID": "1.2.3.10"}, "FrameOfReferenceUID (0020,0052)"),
    ],
)
def test_an_image_that_does_not_fit_its_series_is_refused_with_what_differs(odd: dict[str, Any], tag: str) -> None:
    refusal = refusal_of(*ct_stack(), ct_instance(60.0, uid="1.2.3.99", **odd))
    assert (refusal.code, refusal.tag) == (RefusalCode.GEOMETRY_INCONSISTENT, tag)
    assert refusal.uid in {"1.2.3.99", SERIES}


def test_a_series_of_images_that_all_lie_differently_is_given_up_soon() -> None:
    """Hostile or broken: a thousand orientations would otherwise be compared with each other."""
    turned = [
        ct_instance(
            float(n),
            uid=f"1.2.3.99.{n}",
            ImageOrientationPatient=[math.cos(n), math.sin(n), 0, -math.sin(n), math.cos(n), 0],
            ImageType=["DERIVED", "SECONDARY", f"T{n}"],
        )
        for n in range(1000)
    ]
    assert refusal_of(*turned).code is RefusalCode.GEOMETRY_INCONSISTENT


def test_an_image_without_position_is_refused() -> None:
    refusal = refusal_of(*ct_stack(), ct_instance(60.0, uid="1.2.3.99", ImagePositionPatient=None))
    assert (refusal.code, refusal.uid) == (RefusalCode.GEOMETRY_MISSING, "1.2.3.99")


@pytest.mark.parametrize("offset", [0.0, 0.009])
def test_two_images_at_one_position_are_refused(offset: float) -> None:
    """An image that was sent again under another UID, or a second phase of the same place."""
    refusal = refusal_of(*ct_stack(), ct_instance(9.0 + offset, uid="1.2.3.99"))
    assert refusal.code is RefusalCode.DUPLICATE_SLICES
    assert refusal.value == "9.00 mm along the stack"


def test_two_phases_in_one_series_are_refused_with_their_number() -> None:
    refusal = refusal_of(*ct_stack(), *(ct_instance(float(z), uid=f"1.2.3.99.{z + 1}") for z in range(0, 60, 3)))
    assert refusal.code is RefusalCode.DUPLICATE_SLICES
    assert "20 of 20 positions" in refusal.found


def test_two_interleaved_stacks_are_refused() -> None:
    refusal = refusal_of(*ct_stack(), *ct_stack([z + 0.5 for z in range(0, 60, 3)]))
    assert refusal.code is RefusalCode.DUPLICATE_SLICES
    assert "two stacks are interleaved" in refusal.found


def test_one_uid_for_two_images_is_refused() -> None:
    refusal = refusal_of(*ct_stack(), ct_instance(9.0, uid="1.5"), ct_instance(80.0, uid="1.5"))
    assert (refusal.code, refusal.uid) == (RefusalCode.DUPLICATE_SLICES, "1.5")


def test_too_few_slices_are_refused_with_their_number() -> None:
    assert refusal_of(*ct_stack([0, 3])).code is RefusalCode.TOO_FEW_SLICES
    refusal = refusal_of(*ct_stack(), minimum_slices=21)
    assert refusal.code is RefusalCode.TOO_FEW_SLICES
    assert "20 slices and 21" in refusal.found


def test_an_enhanced_object_that_lies_about_its_frames_is_refused() -> None:
    refusal = refusal_of(enhanced([0, 2, 4], NumberOfFrames=300))
    assert (refusal.code, refusal.value) == (RefusalCode.GEOMETRY_INCONSISTENT, "300")
    assert refusal_of(enhanced([])).code is RefusalCode.GEOMETRY_MISSING


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "slices", "spacing", "tilt"),
    [
        ("ct_4dlung113/CT", 99, 3.0, 0.0),
        ("ibsi1/ct_phantom/dicom/image", 60, 3.0, 0.0),
        ("seg_zoo/dcmqi/ct-3slice", 3, 1.0, 0.0),
        ("seg_zoo/dcmqi/24x38x3/multiframe", 3, 2.5, 0.0),
        # tilted by 18.5 degrees as its header says, in blocks of 4 and 7 mm: no slice is missing
        ("odd_ct/GE_tilt_nonuniform", 28, 4.0019, 18.5),
    ],
)
def test_real_series_form_the_stack_that_their_headers_describe(
    shared_data: Path, folder: str, slices: int, spacing: float, tilt: float
) -> None:
    series = real_series(shared_data / folder)
    assert len(series.slices) == slices
    assert median_slice_spacing(series) == pytest.approx(spacing, abs=1e-4)
    assert series.tilt_degrees == pytest.approx(tilt, abs=0.01)
    assert slice_gaps(series) == ()


def test_real_perfusion_maps_are_not_taken_for_ct(shared_data: Path) -> None:
    file = shared_data / "odd_ct" / "eCT_Supplemental.dcm"
    refusal = refusal_of(Instance(file, pydicom.dcmread(file, stop_before_pixels=True)))
    assert (refusal.code, "PERFUSION" in refusal.found) == (RefusalCode.NO_ELIGIBLE_CT, True)
