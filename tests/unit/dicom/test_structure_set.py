"""An RT Structure Set's region is the pixels whose centres its contours enclose, on the CT's own slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from skimage.draw import polygon2mask

from pdl1es.dicom import planar_contours, structure_set
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.planar_contours import enclosed_pixels, read_region_mask, region_volume_mm3
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.selection.facts import parse_study
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.selection.survey import survey
from pdl1es.dicom.series import CTSeries
from pdl1es.dicom.stack import ct_series
from pdl1es.dicom.structure_set import RegionOfInterest, contour_points, parse_structure_set
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal, RefusalCode
from tests.structure_sets import Drawn, Region, circle, write
from tests.structure_sets import structure_set as make
from tests.unit.dicom.synthetic_ct import FRAME_OF_REFERENCE, ct_header, ct_instance

IMAGES = [ct_header(3.0 * index) for index in range(10)]
"""Slices of 256 x 256 pixels of 0.8 mm from (-100, -120), at 0, 3, ... 27 mm."""
MIDDLE = (0.0, 0.0, 12.0)


def a_stack() -> CTSeries:
    return ct_series([ct_instance(3.0 * index) for index in range(10)], minimum_slices=3)


def region_of(tmp_path: Path, *contours: Drawn, **kwargs: Any) -> RegionOfInterest:
    path = write(make(IMAGES[0], [Region("GTV", contours, **kwargs)]), tmp_path / "rs.dcm")
    return parse_structure_set(read_instance(path)).regions[0]


def mask_of(tmp_path: Path, *contours: Drawn) -> SegmentMask:
    return read_region_mask(region_of(tmp_path, *contours), a_stack())


def refusal_of(tmp_path: Path, *contours: Drawn) -> Refusal:
    with pytest.raises(Refusal) as raised:
        mask_of(tmp_path, *contours)
    return raised.value


def square(left: float, top: float, size: float, z: float = 12.0) -> NDArray[np.float64]:
    corners = [(left, top), (left + size, top), (left + size, top + size), (left, top + size)]
    return np.array([(x, y, z) for x, y in corners])


# --- published masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "structure_file", "mask_file", "number", "voxels"),
    [
        ("ct_4dlung113/CT", "ct_4dlung113/RTSTRUCT/1-1.dcm", "ct_4dlung113/mask.nrrd", 17, 23611),
        (
            "ibsi1/ct_phantom/dicom/image",
            "ibsi1/ct_phantom/dicom/mask/DCM_RS_00060.dcm",
            "ibsi1/ct_phantom/nifti/mask/mask.nii.gz",
            1,
            125256,
        ),
    ],
    ids=["4D-Lung by Pinnacle", "IBSI phantom (LUNG1) by CERR"],
)
def test_published_contours_give_the_published_masks_voxels(
    shared_data: Path, folder: str, structure_file: str, mask_file: str, number: int, voxels: int
) -> None:
    stack = next(series.stack for series in parse_study(scan_study(shared_data / folder), 3).series if series.stack)
    regions = parse_structure_set(read_instance(shared_data / structure_file)).regions
    mask = read_region_mask(next(region for region in regions if region.segment.number == number), stack)
    image = sitk.ReadImage(str(shared_data / mask_file))
    published = sitk.GetArrayFromImage(image) > 0
    found = np.zeros_like(published)
    for plane, pixels in zip(mask.planes, mask.masks, strict=True):
        found[round((plane.position[2] - image.GetOrigin()[2]) / image.GetSpacing()[2])] = pixels
    assert np.count_nonzero(found) == voxels
    assert np.array_equal(found, published)


# --- which pixels ----------------------------------------------------------------------------------------------------


def test_a_polygon_encloses_the_pixels_that_scikit_image_finds() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        points = random.uniform(-5, 45, size=(random.integers(3, 12), 2))
        mine = enclosed_pixels(points[:, 0], points[:, 1], np.arange(40.0), np.arange(36.0))
        assert np.array_equal(mine, polygon2mask((36, 40), points[:, ::-1]))


def test_a_square_of_three_pixels_with_corners_on_pixel_centres_has_nine() -> None:
    x, y = np.array([2.0, 5, 5, 2]), np.array([2.0, 2, 5, 5])
    assert np.count_nonzero(enclosed_pixels(x, y, np.arange(8.0), np.arange(8.0))) == 9


def test_squares_that_share_an_edge_share_no_pixel_and_leave_none_out() -> None:
    centres = np.arange(12.0)
    left = enclosed_pixels(np.array([1.0, 5, 5, 1]), np.array([1.0, 1, 9, 9]), centres, centres)
    right = enclosed_pixels(np.array([5.0, 9, 9, 5]), np.array([1.0, 1, 9, 9]), centres, centres)
    assert not (left & right).any()
    assert np.count_nonzero(left | right) == 64


def test_a_contour_within_a_contour_is_a_hole_and_one_within_the_hole_is_tumour(tmp_path: Path) -> None:
    sizes = [np.count_nonzero(mask_of(tmp_path, Drawn(circle(MIDDLE, r))).masks) for r in (30.0, 20.0, 10.0)]
    nested = mask_of(tmp_path, *(Drawn(circle(MIDDLE, r)) for r in (10.0, 30.0, 20.0)))
    assert np.count_nonzero(nested.masks) == sizes[0] - sizes[1] + sizes[2]


def test_a_keyhole_is_a_hole(tmp_path: Path) -> None:
    outer, inner = circle(MIDDLE, 30.0), circle(MIDDLE, 10.0)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, outer[:1]])
    nested = mask_of(tmp_path, Drawn(outer), Drawn(inner))
    assert np.array_equal(mask_of(tmp_path, Drawn(keyhole)).masks, nested.masks)


def test_two_contours_apart_on_one_slice_are_both_tumour(tmp_path: Path) -> None:
    both = mask_of(tmp_path, Drawn(square(-40, 0, 20)), Drawn(square(10, 0, 20)))
    assert len(both.planes) == 1
    assert np.count_nonzero(both.masks) == 2 * 25 * 25


def test_a_contour_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    once = mask_of(tmp_path, Drawn(circle(MIDDLE, 20.0)))
    twice = mask_of(tmp_path, Drawn(circle(MIDDLE, 20.0)), Drawn(circle(MIDDLE, 20.0)))
    assert np.array_equal(once.masks, twice.masks)


def test_contours_that_are_declared_exclusive_are_combined_by_xor(tmp_path: Path) -> None:
    first, second = (Drawn(square(x, 0, 40), geometric_type="CLOSEDPLANAR_XOR") for x in (-20, 0))
    assert np.count_nonzero(mask_of(tmp_path, first, second).masks) == 2 * 25 * 50


def test_the_mask_does_not_depend_on_how_the_ct_is_stored(tmp_path: Path) -> None:
    contours = tuple(Drawn(square(-8, -8, 24.0, z)) for z in (9.0, 12.0))  # corners on pixel centres
    region = region_of(tmp_path, *contours)
    upright = read_region_mask(region, a_stack())
    mirrored = ct_series(
        [
            ct_instance(3.0 * i, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0], ImagePositionPatient=[104, -120, 3.0 * i])
            for i in range(10)
        ],
        minimum_slices=3,
    )
    assert np.array_equal(read_region_mask(region, mirrored).masks[..., ::-1], upright.masks)


def test_regions_are_ranked_by_their_volume(tmp_path: Path) -> None:
    small = region_of(tmp_path, *(Drawn(circle((0, 0, z), 10.0)) for z in (9.0, 12.0)))
    large = region_of(tmp_path, *(Drawn(circle((0, 0, z), 12.0)) for z in (9.0, 12.0)))
    assert region_volume_mm3(small) == pytest.approx(np.pi * 100 * 6, rel=0.05)
    assert region_volume_mm3(large) > region_volume_mm3(small)


# --- what is refused -------------------------------------------------------------------------------------------------

CIRCLE = Drawn(circle(MIDDLE, 15.0))


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "SPLINE"])
def test_a_contour_that_encloses_no_area_is_refused(tmp_path: Path, kind: str) -> None:
    refusal = refusal_of(tmp_path, CIRCLE, replace(CIRCLE, geometric_type=kind))
    assert refusal.code is RefusalCode.SEG_GEOMETRY
    assert refusal.tag == "ContourGeometricType (3006,0042)"


@pytest.mark.parametrize(
    ("points", "code"),
    [
        (circle(MIDDLE, 15.0)[:2], RefusalCode.SEG_GEOMETRY),
        (circle((0.0, 0.0, 13.5), 15.0), RefusalCode.SEG_GEOMETRY),
        (circle((0.0, 0.0, 52.0), 15.0), RefusalCode.SEGMENT_OUTSIDE_VOLUME),
        (circle((150.0, 0.0, 12.0), 15.0), RefusalCode.SEGMENT_OUTSIDE_VOLUME),
        (circle(MIDDLE, 15.0) + np.outer(np.linspace(0, 2, 72), (0, 0, 1)), RefusalCode.SEG_GEOMETRY),
    ],
    ids=["two points", "between the slices", "beyond the last slice", "beyond the image", "not planar"],
)
def test_a_contour_that_lies_on_no_slice_is_refused(tmp_path: Path, points: Any, code: RefusalCode) -> None:
    assert refusal_of(tmp_path, Drawn(points)).code is code


def test_a_contour_on_a_slice_that_is_missing_says_so(tmp_path: Path) -> None:
    stack = ct_series([ct_instance(3.0 * index) for index in range(10) if index != 4], minimum_slices=3)
    with pytest.raises(Refusal) as raised:
        read_region_mask(region_of(tmp_path, CIRCLE), stack)
    assert raised.value.code is RefusalCode.MISSING_SLICES


def test_a_contour_that_names_another_slice_than_its_own_is_refused(tmp_path: Path) -> None:
    refusal = refusal_of(tmp_path, replace(CIRCLE, image_uid=str(IMAGES[7].SOPInstanceUID)))
    assert refusal.code is RefusalCode.SEG_GEOMETRY
    assert "another slice" in refusal.found


def test_coordinates_rounded_to_tenths_are_on_their_slice(tmp_path: Path) -> None:
    assert len(mask_of(tmp_path, Drawn(circle((0, 0, 12.05), 15.0))).planes) == 1


def test_contours_that_overlap_in_part_are_refused(tmp_path: Path) -> None:
    refusal = refusal_of(tmp_path, Drawn(square(-20, 0, 40)), Drawn(square(0, 0, 40)))
    assert refusal.code is RefusalCode.SEG_GEOMETRY
    assert "overlap" in refusal.found


def test_a_region_without_contours_is_empty(tmp_path: Path) -> None:
    assert refusal_of(tmp_path).code is RefusalCode.SEGMENT_EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"nan\\0\\12" * 1,
        b"1\\2\\three",
        b"1e999\\2\\12",
        b"1\\2",
        b"",
        b"1_0\\2\\12",
        b"9" * 400 + b"\\2\\12",
        b"1\\\\2",
    ],
    ids=["NaN", "a word", "infinity", "two values", "nothing", "an underscore", "a long number", "an empty value"],
)
def test_malformed_coordinates_are_refused_and_not_repeated(tmp_path: Path, data: bytes) -> None:
    region = region_of(tmp_path, CIRCLE)
    with pytest.raises(Refusal) as raised:
        contour_points(replace(region.contours[0], data=data), region.instance)
    assert raised.value.code is RefusalCode.SEG_UNREADABLE
    assert "three" not in raised.value.message


def test_more_points_than_the_header_says_are_refused(tmp_path: Path) -> None:
    contour = replace(CIRCLE, attributes=(("NumberOfContourPoints", 71),))
    assert refusal_of(tmp_path, contour).code is RefusalCode.SEG_UNREADABLE


def test_limits_hold_for_points_bytes_items_and_crossings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = region_of(tmp_path, CIRCLE)
    with monkeypatch.context() as patched:
        patched.setattr(planar_contours, "MAX_POINTS", 71)
        with pytest.raises(Refusal, match="LIMIT_EXCEEDED"):
            read_region_mask(region, a_stack())
    with monkeypatch.context() as patched:
        patched.setattr(planar_contours, "MAX_CROSSINGS", 50)
        with pytest.raises(Refusal, match="LIMIT_EXCEEDED"):
            read_region_mask(region, a_stack())
    for name, limit in (("MAX_BYTES", 500), ("MAX_ITEMS", 3)):
        with monkeypatch.context() as patched:
            patched.setattr(structure_set, name, limit)
            with pytest.raises(Refusal, match="LIMIT_EXCEEDED"):
                parse_structure_set(region.instance)


def without(keyword: str) -> Callable[[Dataset], None]:
    return lambda whole: delattr(whole, keyword)


def same_number_twice(whole: Dataset) -> None:
    whole.StructureSetROISequence = [*whole.StructureSetROISequence, *whole.StructureSetROISequence]


@pytest.mark.parametrize(
    "spoil", [without("StructureSetROISequence"), same_number_twice], ids=["no regions", "a number twice"]
)
def test_a_structure_set_that_contradicts_itself_is_refused(tmp_path: Path, spoil: Callable[[Dataset], None]) -> None:
    whole = make(IMAGES[0], [Region("GTV", (CIRCLE,))])
    spoil(whole)
    with pytest.raises(Refusal, match="SEG_UNREADABLE"):
        parse_structure_set(read_instance(write(whole, tmp_path / "rs.dcm")))


def test_any_truncation_gives_the_same_contours_or_a_refusal(tmp_path: Path) -> None:
    path = write(make(IMAGES[0], [Region("GTV", (CIRCLE,))]), tmp_path / "rs.dcm")
    whole = read_instance(path)
    content = path.read_bytes()
    kept = parse_structure_set(whole).regions[0].contours
    codes = set()
    for length in range(800, len(content), 97):
        path.write_bytes(content[:length])
        try:
            found = parse_structure_set(whole).regions[0].contours
        except Refusal as refusal:
            codes.add(refusal.code)
        else:
            assert not found or found == kept
    assert codes == {RefusalCode.SEG_UNREADABLE}


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
@pytest.mark.parametrize("undefined_length", [True, False])
def test_every_encoding_gives_the_same_pixels(tmp_path: Path, syntax: UID, undefined_length: bool) -> None:
    """A long contour too, whose coordinates no explicit VR of DS can hold: it is written as UN."""
    contour = Drawn(circle(MIDDLE, 15.0, 8000))
    whole = make(IMAGES[0], [Region("GTV", (contour,))])
    whole.file_meta.TransferSyntaxUID = syntax
    for sequence in (whole["ROIContourSequence"], whole.ROIContourSequence[0]["ContourSequence"]):
        sequence.is_undefined_length = undefined_length
    region = parse_structure_set(read_instance(write(whole, tmp_path / "rs.dcm"))).regions[0]
    assert len(region.contours[0].data) > 2**16
    plain = mask_of(tmp_path, Drawn(circle(MIDDLE, 15.0, 8000)))
    assert np.array_equal(read_region_mask(region, a_stack()).masks, plain.masks)


def test_of_several_structure_sets_each_is_named(tmp_path: Path) -> None:
    files = [
        write(make(IMAGES[0], [Region("GTV", (CIRCLE,))], uid=f"1.2.9.{n}"), tmp_path / f"{n}.dcm") for n in (1, 2)
    ]
    instances = tuple(ct_instance(3.0 * index) for index in range(10))
    study = Study(tmp_path, (*instances, *(read_instance(file) for file in files)))
    refusal = survey(study, SelectionRules(), ProtocolRules()).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.SEVERAL_TUMOUR_SEGMENTS
    assert "1.2.9.1" in refusal.found
    assert "1.2.9.2" in refusal.found
    assert refusal.tag == "StructureSetROISequence (3006,0020)"


def test_a_region_has_its_own_frame_of_reference_or_the_only_one(tmp_path: Path) -> None:
    assert region_of(tmp_path, CIRCLE).frame_of_reference_uid == FRAME_OF_REFERENCE
    assert region_of(tmp_path, CIRCLE, frame_of_reference_uid="1.2.77").frame_of_reference_uid == "1.2.77"
