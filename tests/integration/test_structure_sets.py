"""A study whose tumour is drawn in an RT Structure Set is scored as if the same pixels were a SEG."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.selection.rules import SegmentRules, SelectionRules
from pdl1es.phantom.dicom import PhantomStudy
from tests.integration.chain_runs import Score, Scored
from tests.structure_sets import Drawn, Region, circle, images_of, outlines_of_seg, structure_set, write

REGION_IN_SPACE = ("130488", "DCM")


def warned(scored: Scored) -> set[str]:
    return {warning["code"] for warning in scored.result["warnings"]}


@pytest.fixture(scope="module")
def contours(phantom_study: PhantomStudy) -> tuple[Drawn, ...]:
    """Contours around the pixels of the phantom's SEG, each on its slice."""
    return outlines_of_seg(phantom_study.seg_path, images_of(phantom_study.folder / "CT"))


def study_with(phantom: PhantomStudy, folder: Path, regions: list[Region], *, seg: bool = False, **kwargs: Any) -> Path:
    """The phantom with a structure set, with or without its SEG."""
    folder.mkdir(parents=True)
    shutil.copytree(phantom.folder / "CT", folder / "CT")
    shutil.copy(phantom.clinical_path, folder / "clinical.json")
    if seg:
        shutil.copy(phantom.seg_path, folder / "seg.dcm")
    write(structure_set(images_of(phantom.folder / "CT")[0], regions, **kwargs), folder / "rs.dcm")
    return folder


@pytest.fixture(scope="module")
def drawn(
    phantom_study: PhantomStudy, contours: tuple[Drawn, ...], score: Score, tmp_path_factory: pytest.TempPathFactory
) -> Scored:
    lungs = Region("Lungs", (Drawn(circle((0.0, 0.0, 0.0), 5.0)),), "ORGAN")
    folder = study_with(phantom_study, tmp_path_factory.mktemp("rs") / "study", [lungs, Region("GTV_Lung_R", contours)])
    return score(folder, outputs=("sr", "cam", "pdf", "json"))


@pytest.fixture(scope="module")
def segmented(phantom_study: PhantomStudy, score: Score) -> Scored:
    return score(phantom_study.folder)


def test_the_same_pixels_have_the_same_score(drawn: Scored, segmented: Scored) -> None:
    mine, segs = drawn.result["assessment"], segmented.result["assessment"]
    assert mine["score"] == segs["score"]
    assert mine["tumour"] == segs["tumour"]
    assert mine["groups"] == segs["groups"]
    assert mine["contributions"] == segs["contributions"]


def test_result_names_the_structure_set_and_the_region(drawn: Scored) -> None:
    selection = drawn.result["assessment"]["selection"]
    assert selection["contour_source"] == "RTSTRUCT"
    assert selection["segment"]["number"] == 2
    assert selection["segment"]["algorithm_type"] == "MANUAL"
    assert "OTHER_CONTOUR_IGNORED" not in warned(drawn)


def test_the_report_and_the_picture_refer_to_the_structure_set(drawn: Scored) -> None:
    uid = drawn.result["assessment"]["selection"]["segmentation_sop_instance_uid"]
    files = {report["kind"]: drawn.folder / report["file"] for report in drawn.result["reports"]}
    report = pydicom.dcmread(files["sr"])
    items = list(report.ContentSequence)
    found = {}
    while items:
        item = items.pop()
        items.extend(item.get("ContentSequence", []))
        if item.RelationshipType == "CONTAINS" and item.ValueType in ("COMPOSITE", "IMAGE"):
            code = item.ConceptNameCodeSequence[0]
            found[code.CodeValue, code.CodingSchemeDesignator] = (
                item.ValueType,
                item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID,
            )
    assert found[REGION_IN_SPACE] == ("COMPOSITE", uid)
    assert ("121191", "DCM") not in found
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert uid in {sop.ReferencedSOPInstanceUID for series in evidence for sop in series.ReferencedSOPSequence}
    picture = pydicom.dcmread(files["cam"])
    assert picture.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == uid


def test_the_real_case_has_the_score_of_its_seg(shared_data: Path, score: Score, tmp_path: Path) -> None:
    case = shared_data / "ct_4dlung113"
    study = tmp_path / "study"
    shutil.copytree(case / "CT", study / "CT")
    shutil.copytree(case / "RTSTRUCT", study / "RTSTRUCT")
    own = score(study).result
    assert own["assessment"]["selection"]["contour_source"] == "RTSTRUCT"
    assert own["assessment"]["selection"]["segment"]["algorithm_type"] == "SEMIAUTOMATIC"
    assert own["assessment"]["tumour"]["source_voxels"] == 23611
    both = score(case)
    assert both.result["assessment"]["score"] == pytest.approx(
        own["assessment"]["score"], abs=1e-4
    )  # dcmqi rounds places
    assert both.result["assessment"]["selection"]["contour_source"] == "SEG"
    assert "OTHER_CONTOUR_IGNORED" in warned(both)


# --- which is taken, and on which series -----------------------------------------------------------------------------


def test_a_setting_decides_where_both_are_there_and_the_other_is_told(
    phantom_study: PhantomStudy, contours: tuple[Drawn, ...], score: Score, tmp_path: Path
) -> None:
    study = study_with(phantom_study, tmp_path / "both", [Region("GTV", contours)], seg=True)
    for source, kind in (("seg", "SEG"), ("rtstruct", "RTSTRUCT")):
        rules = SelectionRules(segment=SegmentRules.model_validate({"source": source}))
        scored = score(study, selection=rules)
        assert scored.result["assessment"]["selection"]["contour_source"] == kind
        assert "OTHER_CONTOUR_IGNORED" in warned(scored)


def test_an_empty_region_is_not_preferred_to_a_seg(phantom_study: PhantomStudy, score: Score, tmp_path: Path) -> None:
    study = study_with(phantom_study, tmp_path / "both", [Region("GTV", ())], seg=True)
    scored = score(study, selection=SelectionRules(segment=SegmentRules(source="rtstruct")))
    assert scored.result["assessment"]["selection"]["contour_source"] == "SEG"
    assert "EMPTY_SEGMENT_IGNORED" in warned(scored)


def test_without_references_the_frame_of_reference_decides_and_it_is_told(
    phantom_study: PhantomStudy, contours: tuple[Drawn, ...], score: Score, tmp_path: Path
) -> None:
    bare = tuple(Drawn(contour.points) for contour in contours)
    scored = score(study_with(phantom_study, tmp_path / "bare", [Region("GTV", bare)], references=False))
    assert scored.code == "scored"
    assert "SEG_WITHOUT_REFERENCES" in warned(scored)


@pytest.mark.parametrize("where", ["listed", "named by a contour"])
def test_images_that_are_absent_are_missing_as_they_are_for_a_seg(
    phantom_study: PhantomStudy, contours: tuple[Drawn, ...], score: Score, tmp_path: Path, where: str
) -> None:
    absent = "1.2.3.4.5"
    drawn = contours if where == "listed" else (Drawn(contours[0].points, absent), *contours[1:])
    listed = [absent] if where == "listed" else []
    study = study_with(phantom_study, tmp_path / "study", [Region("GTV", drawn)], listed=listed)
    assert score(study).code == "SEG_REFERENCES_ABSENT_INSTANCES"


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("nothing is drawn", "SEGMENT_EMPTY"),
        ("other frame of reference", "SEG_FRAME_OF_REFERENCE"),
        ("every third slice forgotten", "CONTOUR_GAPS"),
        ("every second slice drawn", "CONTOUR_GAPS"),
        ("two tumours", "SEVERAL_TUMOUR_SEGMENTS"),
        ("two bodies", "SEVERAL_LESIONS"),
        ("nodes alone", "NO_TUMOUR_SEGMENT"),
        ("a margin alone", "NO_TUMOUR_SEGMENT"),
        ("coded as a metastasis", "NO_TUMOUR_SEGMENT"),
        ("points", "SEG_GEOMETRY"),
    ],
)
def test_a_structure_set_is_refused_as_a_seg_would_be(
    phantom_study: PhantomStudy, contours: tuple[Drawn, ...], score: Score, tmp_path: Path, case: str, code: str
) -> None:
    far = tuple(Drawn(np.add(contour.points, (0.0, 60.0, 0.0)), contour.image_uid) for contour in contours)
    planes = sorted({float(contour.points[0, 2]) for contour in contours})
    forgotten = set(planes[1::3])
    regions = {
        "nothing is drawn": [Region("GTV", ())],
        "other frame of reference": [Region("GTV", contours, frame_of_reference_uid="1.2.3.99")],
        "every third slice forgotten": [
            Region("GTV", tuple(c for c in contours if float(c.points[0, 2]) not in forgotten))
        ],
        "every second slice drawn": [
            Region("GTV", tuple(c for c in contours if float(c.points[0, 2]) in set(planes[::2])))
        ],
        "two tumours": [Region("GTV-1", contours), Region("GTV-2", far)],
        "two bodies": [Region("GTV", (*contours, *far))],
        "nodes alone": [Region("GTV node", contours), Region("LN 4R", contours)],
        "a margin alone": [Region("PTV", contours, "PTV"), Region("CTV_tumor", contours, "CTV")],
        "coded as a metastasis": [
            Region(
                "NEDF1", contours, "GTV", identification=Code("94391008", "SCT", "Secondary malignant neoplasm of lung")
            )
        ],
        "points": [Region("GTV", tuple(Drawn(c.points, c.image_uid, "POINT") for c in contours))],
    }[case]
    assert score(study_with(phantom_study, tmp_path / "study", regions)).code == code


def test_an_empty_second_tumour_and_an_automatic_contour_are_told(
    phantom_study: PhantomStudy, contours: tuple[Drawn, ...], score: Score, tmp_path: Path
) -> None:
    regions = [Region("GTV", contours, algorithm="AUTOMATIC"), Region("GTV-2", ())]
    scored = score(study_with(phantom_study, tmp_path / "study", regions), contour_stability="on")
    assert {"EMPTY_SEGMENT_IGNORED", "CONTOUR_AUTOMATIC"} <= warned(scored)
    assert b"no person drew it" in scored.report_bytes
    assert b"drawn by software alone" in scored.report_bytes
    assert scored.result["assessment"]["contour_stability"] is not None
