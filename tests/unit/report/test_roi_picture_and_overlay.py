"""The class activation map as a picture, read back with pydicom alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment
from pdl1es.grid.whole_slice import WholeSlice
from pdl1es.report.build import build_cam, build_sr, draw_roi
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.options import ReportOptions
from pdl1es.report.roi_panels import CONTOUR, HALO, LINE, LOWERS, NO_SHARE, RAISES
from pdl1es.report.roi_picture import (
    BACKGROUND,
    BANNER,
    BAR,
    CORNER,
    HEIGHT,
    IN_THE_REPORT,
    LOCATOR,
    NOTICE_FILL,
    PANEL,
    PANEL_TOP,
    PANELS_LEFT,
    SUMMARY,
    SUMMARY_LETTERS,
    WIDTH,
    frame_order,
    roi_pictures,
    summary_lines,
)
from pdl1es.report.summary import estimate_sentences, summary_sentences
from pdl1es.report.typeface import in_own_letters, picture_font
from pdl1es.score_warning import ScoreWarning
from tests.contrast import contour_line, least_contrast
from tests.report_cases import OPTIONS, ROOT, SMOOTH, WHEN, Case, metadata, prediction, report_case
from tests.varied_reports import varied_report

LUNG, SOFT, MAP = PANELS_LEFT


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


def cell(frame: np.ndarray, row: int, column: int) -> tuple[int, ...]:
    """A pixel of a cell of the map, away from its number and lines."""
    return tuple(frame[PANEL_TOP + row * PANEL // 3 + 12, MAP + column * PANEL // 3 + 12].tolist())


def panel(frame: np.ndarray, left: int) -> np.ndarray:
    return frame[PANEL_TOP : PANEL_TOP + PANEL, left : left + PANEL]


def with_patches(assessment: Assessment, **changes: Any) -> Assessment:
    return replace(assessment, patches=replace(assessment.patches, **changes))


def test_it_is_a_multi_frame_true_colour_secondary_capture(picture: Dataset) -> None:
    assert picture.SOPClassUID == picture.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    assert (picture.Modality, picture.ConversionType, picture.SeriesNumber) == ("OT", "WSD", 9602)
    assert (picture.PhotometricInterpretation, picture.SamplesPerPixel, picture.NumberOfFrames) == ("RGB", 3, 3)
    assert list(picture.ImageType) == ["DERIVED", "SECONDARY"]
    assert list(picture.SliceLocationVector) == [-94, -95, -93]
    assert picture.FrameIncrementPointer == 0x00182005
    assert picture.pixel_array.shape == (3, picture.Rows, picture.Columns, 3)


def test_viewers_open_it_on_the_roi_slice(case: Case, picture: Dataset) -> None:
    assert picture.RepresentativeFrameNumber == 1
    assert [frame_order(count) for count in (1, 3, 5)] == [(0,), (1, 0, 2), (2, 0, 1, 3, 4)]
    hu = np.stack([np.full((112, 112), value, np.float32) for value in (-1350.0, 150.0, -600.0)])
    frames = roi_pictures(with_patches(case.assessment, hu=hu))
    assert [int(panel(frame, LUNG)[5, 5, 0]) for frame in frames] == [255, 0, 128]


def test_it_says_that_notice_and_numbers_are_burnt_in(picture: Dataset) -> None:
    assert picture.BurnedInAnnotation == "YES"
    assert picture.RecognizableVisualFeatures == "NO"
    assert picture.ImageComments.startswith("DEMONSTRATION MODEL - NOT FOR CLINICAL USE (research use only")
    assert picture.SeriesDescription == "DEMO PD-L1ES map, not clinical"


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


def test_every_frame_bears_the_notice_in_letters_that_a_thumbnail_of_128_pixels_still_shows(picture: Dataset) -> None:
    for frame in picture.pixel_array:
        band = frame[BANNER[0] + 1 : BANNER[1]]
        assert np.mean(np.all(band == NOTICE_FILL, axis=2)) > 0.5
        white = np.all(band[:90] == 255, axis=2)
        letters = np.flatnonzero(white.any(axis=1))
        height = (letters[-1] - letters[0] + 1) * 128 / WIDTH
        assert height >= 7, "a capital letter needs seven pixels"
        assert white.any(axis=0)[: WIDTH // 10].any(), "the words take the whole width"


def test_every_frame_says_the_estimates_with_what_unsettles_them_or_that_they_are_withheld(case: Case) -> None:
    mixed = replace(case.assessment.prediction, slice_scores=np.array([0.4, 0.6, 0.7]))
    unsettled = replace(case.assessment, prediction=mixed)
    withheld = report_case(warnings=(SMOOTH,)).assessment
    for assessment, part in ((case.assessment, "high."), (unsettled, "borderline: 1 of"), (withheld, "withheld.")):
        letters, lines = summary_lines(assessment)
        first = " ".join(lines)
        assert summary_sentences(assessment)[:-2] == estimate_sentences(assessment)
        assert first == " ".join(estimate_sentences(assessment))
        assert part in first
        drawn = Image.new("RGB", (WIDTH, SUMMARY[1] - SUMMARY[0]), BACKGROUND)
        top = (drawn.height - len(lines) * (letters + letters // 3)) // 2
        for number, line in enumerate(lines):
            place = 20, top + number * (letters + letters // 3)
            font = picture_font(letters, bold=True)
            ImageDraw.Draw(drawn).text(place, line, font=font, fill=(255, 255, 255), anchor="la")
        for frame in roi_pictures(assessment):
            assert np.array_equal(frame[SUMMARY[0] : SUMMARY[1]], np.asarray(drawn))


def test_the_pictures_estimates_stay_readable_and_say_where_more_stands(case: Case) -> None:
    for seed in range(40):
        assessment = varied_report(case, seed).assessment
        letters, lines = summary_lines(assessment)
        assert letters >= SUMMARY_LETTERS[1]
        assert max(picture_font(letters, bold=True).getlength(line) for line in lines) <= WIDTH - 40
        said = " ".join(lines)
        whole = " ".join(in_own_letters(sentence, "result.json") for sentence in estimate_sentences(assessment))
        assert said == whole or said.endswith(IN_THE_REPORT)
    reasons = tuple(ScoreWarning(f"F{n}", "Somebody wrote this at length. " * 20, "withhold_group") for n in range(9))
    letters, lines = summary_lines(report_case(warnings=reasons).assessment)
    assert letters >= SUMMARY_LETTERS[1]
    assert " ".join(lines) == f"Estimated PD-L1 expression and risk of progression: withheld. {IN_THE_REPORT}"


def test_the_four_corners_are_left_to_the_viewers_own_text() -> None:
    names = {"name": "N" * 300, "version": "v" * 300}
    wide = report_case(model=metadata(**names), predicted=prediction(cam=np.full((3, 3, 3), -123.456))).assessment
    tall = WholeSlice(np.zeros((900, 200), np.int16), (-100, -450), -94)
    width, height = CORNER
    for assessment in (wide, with_patches(wide, whole_slice=tall)):
        for frame in roi_pictures(assessment):
            for rows in (slice(0, height), slice(HEIGHT - height, HEIGHT)):
                for columns in (slice(0, width), slice(WIDTH - width, WIDTH)):
                    assert np.all(frame[rows, columns] == BACKGROUND)


def test_cells_have_the_colour_of_their_share_with_no_grey_of_the_ct_in_it(case: Case) -> None:
    cam = np.zeros((3, 3, 3))
    cam[1, 0, 0], cam[1, 2, 2], cam[1, 0, 2] = 0.4, -0.4, 0.2
    bright = with_patches(with_cam(case.assessment, cam), hu=np.full((3, 112, 112), 150.0, np.float32))
    for assessment in (bright, with_cam(case.assessment, cam)):
        frame = roi_pictures(assessment)[0]
        assert (cell(frame, 0, 0), cell(frame, 2, 2), cell(frame, 0, 1)) == (RAISES, LOWERS, NO_SHARE)
        half = (np.array(NO_SHARE) + RAISES) / 2
        assert cell(frame, 0, 2) == pytest.approx(half, abs=0.5)


def test_the_colour_bar_has_the_cells_colours(case: Case) -> None:
    shares = np.array([1.0, 0.75, 0.5, 0.25, 0.0, -0.25, -0.5, -0.75, -1.0])
    frame = roi_pictures(with_cam(case.assessment, np.stack([shares.reshape(3, 3)] * 3)))[0]
    bar = frame[PANEL_TOP + 20 : PANEL_TOP + PANEL - 20, BAR[0] + 5].astype(int)
    for place, share in enumerate(shares):
        at = round((1 - share) / 2 * (len(bar) - 1))
        beside = bar[np.clip([at, at - 1, at + 1], 1, len(bar) - 2)]  # the ends are the frame of the bar
        colour = np.array(cell(frame, place // 3, place % 3))
        assert np.abs(beside - colour).max(axis=1).min() <= 2, share


def test_a_map_of_zeros_has_no_colour(case: Case) -> None:
    frame = roi_pictures(with_cam(case.assessment, np.zeros((3, 3, 3))))[0]
    assert {cell(frame, row, column) for row in range(3) for column in range(3)} == {NO_SHARE}


def test_the_cells_are_the_maps_rows_and_columns_as_they_lie_in_the_patch(case: Case) -> None:
    """Row 0 is the front of the patient, column 0 the patient's right: as the patch's own rows and columns."""
    cam = np.zeros((3, 3, 3))
    cam[1, 2, 0] = 1.0
    hu = np.full((3, 112, 112), -1350.0, np.float32)
    hu[1, 80:90, 0:20] = 150.0
    frame = roi_pictures(with_patches(with_cam(case.assessment, cam), hu=hu))[0]
    bright = np.argwhere(panel(frame, LUNG)[: PANEL - 60, :, 0] > 240).mean(axis=0) / PANEL
    assert bright[0] > 0.7
    assert bright[1] < 0.3
    coloured = [(row, column) for row in range(3) for column in range(3) if cell(frame, row, column) != NO_SHARE]
    assert coloured == [(2, 0)]


def test_both_windows_show_what_they_are_for(case: Case) -> None:
    """Lung: -1350 to 150 HU; soft tissue: -160 to 240 HU."""
    for hu, lung, soft in ((-1350, 0, 0), (-600, 128, 0), (40, 236, 128), (240, 255, 255)):
        frame = roi_pictures(with_patches(case.assessment, hu=np.full((3, 112, 112), hu, np.float32)))[0]
        shown = [int(panel(frame, left)[5, 5, 0]) for left in (LUNG, SOFT)]
        assert shown == pytest.approx([lung, soft], abs=1), hu


@pytest.mark.parametrize("rectangle", [(0, 0, 59, 19), (0, 0, 19, 59)])
def test_a_patch_is_drawn_in_the_patients_proportions(case: Case, rectangle: tuple[int, int, int, int]) -> None:
    hu = np.full((3, 112, 112), 300.0, np.float32)
    shown = panel(roi_pictures(with_patches(case.assessment, hu=hu, rectangle=rectangle))[0], SOFT)[..., 0] > 250
    wide = rectangle[2] > rectangle[3]
    assert int(shown[PANEL // 2 - 20].sum()) == pytest.approx(PANEL if wide else PANEL / 3, abs=2)
    assert int(shown[:, PANEL // 2 - 20].sum()) == pytest.approx(PANEL / 3 if wide else PANEL, abs=2)


def test_the_contour_is_the_tumours(case: Case) -> None:
    mask = np.zeros((3, 112, 112), bool)
    mask[:, 40:72, 40:72] = True
    frame = roi_pictures(with_patches(case.assessment, mask=mask))[0]
    scale = PANEL / 112
    for left in PANELS_LEFT:
        yellow = np.argwhere(np.all(panel(frame, left) == CONTOUR, axis=2))
        assert yellow.min(axis=0) == pytest.approx([40 * scale, 40 * scale], abs=3)
        assert yellow.max(axis=0) == pytest.approx([72 * scale, 72 * scale], abs=3)


def test_the_contour_is_drawn_where_scipys_erosion_leaves_the_tumour(case: Case) -> None:
    mask = np.random.default_rng(4).random((3, 112, 112)) < 0.9
    mask[:, 30:60, :40] = True
    frame = roi_pictures(with_patches(case.assessment, mask=mask))[0]
    yellow = (panel(frame, SOFT) == CONTOUR).all(axis=2)
    assert np.array_equal(yellow, contour_line(mask[1], (PANEL, PANEL)))


@pytest.mark.parametrize("hu", ["white", "black", "grey", "noise", "half"])
def test_the_contour_stands_out_from_any_tissue_at_least_3_to_1(case: Case, hu: str) -> None:
    values = {
        "white": np.full((3, 112, 112), 3000.0),
        "black": np.full((3, 112, 112), -1350.0),
        "grey": np.full((3, 112, 112), -400.0),
        "noise": np.random.default_rng(5).uniform(-1350, 400, (3, 112, 112)),
        "half": np.broadcast_to(np.linspace(-1400, 400, 112), (3, 112, 112)),
    }[hu].astype(np.float32)
    y, x = np.mgrid[:112, :112]
    mask = np.stack([(y - 56) ** 2 + 2 * (x - 50) ** 2 < 1000] * 3)
    frame = roi_pictures(with_patches(case.assessment, hu=values, mask=mask, rectangle=(0, 0, 39, 39)))[0]
    line = contour_line(mask[1], (PANEL, PANEL))
    assert line.sum() > 700
    for left in (LUNG, SOFT):
        assert np.all(panel(frame, left)[line] == CONTOUR)
        assert least_contrast(panel(frame, left), line) >= 3


def test_the_locator_boxes_the_patch_on_the_whole_slice(case: Case) -> None:
    """A body of 300 x 200 mm in air; the patch lies in its right and back quarter."""
    hu = np.full((400, 500), -1000, np.int16)
    hu[100:300, 100:400] = 0
    whole = WholeSlice(hu, (-250, -200), -94)
    frame = roi_pictures(with_patches(case.assessment, whole_slice=whole, rectangle=(-120, 40, -80, 80)))[0]
    left, top, width, height = LOCATOR
    shown = frame[top : top + height, left : left + width]
    box = np.argwhere(np.all(shown == CONTOUR, axis=2))
    body = np.argwhere(np.all(np.abs(shown.astype(int) - 230) <= 1, axis=2))  # 0 HU in the lung window
    scale = (np.ptp(body[:, 1]) + 1) / 300
    assert (np.ptp(body[:, 0]) + 1) / 200 == pytest.approx(scale, rel=0.03)
    assert scale * 300 > 0.7 * width, "the air around the body is left out"
    first = box.min(axis=0) - body.min(axis=0)
    assert first == pytest.approx([(40 + 100) * scale, (-120 + 150) * scale], abs=2 * LINE + 1)
    assert np.ptp(box, axis=0) == pytest.approx([41 * scale, 41 * scale], abs=4 * LINE + 2)
    assert np.any(np.all(shown == HALO, axis=2))


def test_a_patch_at_the_edge_of_the_scan_and_a_slice_of_air_have_a_locator_too(case: Case) -> None:
    whole = WholeSlice(np.full((100, 100), -1000, np.int16), (0, 0), -94)
    for rectangle in ((-6, -6, 20, 20), (90, 90, 106, 106)):
        frame = roi_pictures(with_patches(case.assessment, whole_slice=whole, rectangle=rectangle))[0]
        left, top, width, height = LOCATOR
        assert np.any(np.all(frame[top : top + height, left : left + width] == CONTOUR, axis=2))


def test_a_model_trained_on_patients_is_still_for_research() -> None:
    case = report_case(model=metadata(training_data="patients"))
    picture = built(case.assessment).dataset
    assert picture.SeriesDescription == "PD-L1ES map, research use only"
    assert "DEMONSTRATION" not in picture.ImageComments


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
