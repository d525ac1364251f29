"""The class activation map as a picture, read back with pydicom alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from scipy.ndimage import binary_erosion

from pdl1es.assessment import Assessment
from pdl1es.report.build import build_cam, build_sr, draw_roi
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.options import ReportOptions
from pdl1es.report.roi_picture import CONTOUR, LOWERS, NOTICE_FILL, PANEL, PANEL_TOP, PANELS_LEFT, RAISES, roi_pictures
from tests.report_cases import OPTIONS, ROOT, WHEN, Case, metadata, prediction, report_case

CENTRES = [PANEL // 6, PANEL // 2, PANEL - PANEL // 6]


def built(assessment: Assessment, options: ReportOptions = OPTIONS) -> BuiltReport:
    return build_cam(assessment, options, draw_roi(assessment))


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def picture(case: Case) -> Dataset:
    return pydicom.dcmread(BytesIO(built(case.assessment).data))


def with_cam(assessment: Assessment, cam: np.ndarray) -> Assessment:
    return replace(assessment, prediction=replace(assessment.prediction, cam=cam))


def corner(frame: np.ndarray, row: int, column: int) -> np.ndarray:
    """A pixel of a cell, away from its number, lines and scale bar."""
    top, left = PANEL_TOP + row * PANEL // 3 + 12, PANELS_LEFT[1] + column * PANEL // 3 + 12
    return frame[top, left].astype(int)


def test_it_is_a_multi_frame_true_colour_secondary_capture(picture: Dataset) -> None:
    assert picture.SOPClassUID == picture.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    assert (picture.Modality, picture.ConversionType, picture.SeriesNumber) == ("OT", "WSD", 9602)
    assert (picture.PhotometricInterpretation, picture.SamplesPerPixel, picture.NumberOfFrames) == ("RGB", 3, 3)
    assert list(picture.ImageType) == ["DERIVED", "SECONDARY"]
    assert list(picture.SliceLocationVector) == [-95, -94, -93]
    assert picture.FrameIncrementPointer == 0x00182005
    assert picture.pixel_array.shape == (3, picture.Rows, picture.Columns, 3)


def test_it_says_that_notice_and_numbers_are_burnt_in(picture: Dataset) -> None:
    assert picture.BurnedInAnnotation == "YES"
    assert picture.RecognizableVisualFeatures == "NO"
    assert picture.ImageComments.startswith("DEMONSTRATION MODEL - NOT FOR CLINICAL USE (research use only")
    assert picture.SeriesDescription == "DEMONSTRATION MODEL - NOT FOR CLINICAL USE - PD-L1ES map"


def test_it_belongs_to_the_patient_and_study_of_the_images(case: Case, picture: Dataset) -> None:
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "ReferringPhysicianName"):
        assert picture[keyword].value == case.ct[0][keyword].value, keyword
    assert picture.SpecificCharacterSet == "ISO_IR 192"
    (source,) = picture.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == case.assessment.roi_slice.sop_instance_uid
    (equipment,) = picture.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Algorithm"
    assert list(equipment.SoftwareVersions)[1] == "phantom 0.3.1"


def test_the_same_assessment_and_clock_give_the_same_bytes_and_another_clock_another_uid(case: Case) -> None:
    first, second = (built(case.assessment).data for _ in range(2))
    assert first == second
    later = built(case.assessment, ReportOptions(WHEN + timedelta(seconds=1))).dataset
    assert later.SOPInstanceUID != pydicom.dcmread(BytesIO(first)).SOPInstanceUID


def test_no_frame_shows_a_name_an_id_or_a_date() -> None:
    """The drawing gets no header: another patient with the same tumour gives the same pixels."""
    one, other = (
        roi_pictures(report_case(ct={"PatientName": name, "PatientID": name, "StudyDate": date}).assessment)
        for name, date in (("Doe^Jane", "20200101"), ("Roe^Richard", "20240229"))
    )
    assert np.array_equal(one, other)


def test_every_frame_opens_with_the_notice(picture: Dataset) -> None:
    frames = picture.pixel_array
    for frame in frames:
        band = frame[:62].reshape(-1, 3)
        assert np.mean(np.all(band == NOTICE_FILL, axis=1)) > 0.7
        assert np.any(np.all(band == 255, axis=1))


def test_cells_are_tinted_by_the_sign_and_size_of_their_share(case: Case) -> None:
    cam = np.zeros((3, 3, 3))
    cam[1, 0, 0], cam[1, 2, 2], cam[1, 0, 2] = 0.4, -0.4, 0.2
    frame = roi_pictures(with_cam(case.assessment, cam))[1]
    plain, raised, lowered, half = (corner(frame, *cell) for cell in ((0, 1), (0, 0), (2, 2), (0, 2)))
    assert plain[0] == plain[1] == plain[2], "a share of zero has no tint"
    assert np.allclose(raised, plain + 0.55 * (np.array(RAISES) - plain), atol=1.5)
    assert np.allclose(lowered, plain + 0.55 * (np.array(LOWERS) - plain), atol=1.5)
    assert np.allclose(half, plain + 0.275 * (np.array(RAISES) - plain), atol=1.5)


def test_a_map_of_zeros_is_drawn_without_any_tint(case: Case) -> None:
    frame = roi_pictures(with_cam(case.assessment, np.zeros((3, 3, 3))))[1]
    panel = frame[PANEL_TOP + 5 : PANEL_TOP + PANEL - 5, PANELS_LEFT[1] + 5 : PANELS_LEFT[1] + PANEL - 5]
    assert np.array_equal(panel[..., 0], panel[..., 2])


def test_the_cells_are_the_maps_rows_and_columns_as_they_lie_in_the_patch(case: Case) -> None:
    """Row 0 is the front of the patient, column 0 the patient's right: as the patch's own rows and columns."""
    cam = np.zeros((3, 3, 3))
    cam[1, 2, 0] = 1.0
    hu = np.full((3, 112, 112), -1350.0, np.float32)
    hu[1, 90:112, 0:20] = 150.0
    assessment = with_cam(case.assessment, cam)
    assessment = replace(assessment, patches=replace(assessment.patches, hu=hu))
    frame = roi_pictures(assessment)[1]
    left_panel = frame[PANEL_TOP : PANEL_TOP + PANEL, PANELS_LEFT[0] : PANELS_LEFT[0] + PANEL, 0].astype(int)
    bright = np.argwhere(left_panel[: PANEL - 40] > 240).mean(axis=0) / PANEL
    assert bright[0] > 0.7
    assert bright[1] < 0.3
    tinted = corner(frame, 1, 0), corner(frame, 2, 1)
    assert all(pixel[0] == pixel[2] for pixel in tinted)
    pixel = frame[PANEL_TOP + PANEL - 25, PANELS_LEFT[1] + 60].astype(int)
    assert pixel[0] > pixel[2]


@pytest.mark.parametrize("rectangle", [(0, 0, 59, 19), (0, 0, 19, 59)])
def test_a_patch_is_drawn_in_the_patients_proportions(case: Case, rectangle: tuple[int, int, int, int]) -> None:
    assessment = case.assessment
    hu = np.full((3, 112, 112), 150.0, np.float32)
    frame = roi_pictures(replace(assessment, patches=replace(assessment.patches, hu=hu, rectangle=rectangle)))[1]
    left = PANELS_LEFT[0]
    column = frame[PANEL_TOP : PANEL_TOP + PANEL, left + 4, 0] > 250
    row = frame[PANEL_TOP + 4, left : left + PANEL, 0] > 250
    wide = rectangle[2] > rectangle[3]
    assert int(row.sum()) == pytest.approx(PANEL if wide else PANEL / 3, abs=2)
    assert int(column.sum()) == pytest.approx(PANEL / 3 if wide else PANEL, abs=2)


def test_the_contour_is_the_tumours(case: Case) -> None:
    mask = np.zeros((3, 112, 112), bool)
    mask[:, 40:72, 40:72] = True
    frame = roi_pictures(replace(case.assessment, patches=replace(case.assessment.patches, mask=mask)))[1]
    yellow = np.argwhere(np.all(frame[PANEL_TOP:, PANELS_LEFT[0] : PANELS_LEFT[0] + PANEL] == (255, 214, 0), axis=2))
    scale = PANEL / 112
    assert yellow.min(axis=0) == pytest.approx([40 * scale, 40 * scale], abs=3)
    assert yellow.max(axis=0) == pytest.approx([72 * scale, 72 * scale], abs=3)


def test_the_contour_is_drawn_where_scipys_erosion_leaves_the_tumour(case: Case) -> None:
    mask = np.random.default_rng(4).random((3, 112, 112)) < 0.9
    mask[:, 30:60, :40] = True
    plain, outlined = (
        roi_pictures(replace(case.assessment, patches=replace(case.assessment.patches, mask=drawn)))[1]
        for drawn in (np.zeros_like(mask), mask)
    )
    left, _ = PANELS_LEFT
    panel = (slice(PANEL_TOP, PANEL_TOP + PANEL), slice(left, left + PANEL))
    large = (
        np.asarray(Image.fromarray(mask[1].astype(np.uint8) * 255).resize((PANEL, PANEL), Image.Resampling.BILINEAR))
        >= 128
    )
    line = large & ~binary_erosion(large, iterations=2, border_value=1)
    yellow = (outlined[panel] == CONTOUR).all(axis=2) & ~(plain[panel] == CONTOUR).all(axis=2)
    free = (plain[panel] == plain[panel][PANEL // 2, PANEL // 2]).all(axis=2)  # no letters, no scale bar
    assert np.array_equal(yellow[free], line[free])


def test_a_model_trained_on_patients_is_still_for_research() -> None:
    case = report_case(model=metadata(training_data="patients"))
    picture = built(case.assessment).dataset
    assert picture.SeriesDescription == "RESEARCH USE ONLY - NOT A MEDICAL DEVICE - PD-L1ES map"
    assert "DEMONSTRATION" not in picture.ImageComments


def test_long_names_of_models_and_large_terms_still_fit(case: Case) -> None:
    model = metadata(name="N" * 300, version="v" * 300)
    wide = report_case(model=model, predicted=prediction(cam=np.full((3, 3, 3), -123.456))).assessment
    assert roi_pictures(wide).shape == roi_pictures(case.assessment).shape


def test_the_report_refers_to_the_picture(case: Case, picture: Dataset) -> None:
    report = build_sr(case.assessment, OPTIONS, cam=BuiltReport("cam", picture)).dataset
    group = report.ContentSequence[-1].ContentSequence[0]
    (item,) = [i for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "130402"]
    assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == picture.SOPInstanceUID
    evidence = {
        sop.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }
    assert picture.SOPInstanceUID in evidence
    assert f"{ROOT}.5" in evidence
