"""Two patients' CT, each with a SEG that dcmqi wrote: what the whole chain makes of them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import UID

from pdl1es import chain
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.phantom.ct_series import uid_of
from tests.integration.chain_runs import Score, Scored

MORE: Final = 100


@pytest.fixture(scope="module")
def lung_case(shared_data: Path) -> Path:
    """4D-Lung 113: 99 slices of 512 x 512, 3 mm apart."""
    return shared_data / "ct_4dlung113"


@pytest.fixture(scope="module")
def lung(lung_case: Path, score: Score) -> Scored:
    return score(lung_case)


@pytest.fixture(scope="module")
def ibsi(shared_data: Path, score: Score) -> Scored:
    """The chest CT of the Image Biomarker Standardisation Initiative: 60 slices of 204 x 201, 3 mm apart."""
    return score(shared_data / "ibsi1" / "ct_phantom")


def codes(scored: Scored) -> list[str]:
    return [warning["code"] for warning in scored.result["warnings"]]


# --- 4D-Lung ---------------------------------------------------------------------------------------------------------


def test_the_lung_case_is_scored_on_its_gtv_of_23611_voxels_and_67_56_ml(lung: Scored) -> None:
    assert lung.code == "scored"
    assessment = lung.result["assessment"]
    assert assessment["selection"]["segment"]["label"] == "GTV-1"
    assert assessment["tumour"]["source_voxels"] == 23611
    assert assessment["tumour"]["volume_ml"] == pytest.approx(67.56, abs=0.005)


def test_the_lung_case_is_taken_though_its_images_are_called_secondary_and_name_no_kernel(lung: Scored) -> None:
    (chosen,) = [series for series in lung.result["assessment"]["selection"]["series"] if series["chosen"]]
    assert (chosen["images"], chosen["kernel"], chosen["sharpness"]) == (99, None, "unknown")
    assert (chosen["tumour_coverage"], chosen["reasons"]) == (1.0, ["the segmentation references it"])
    # Nothing else is amiss: the slices are 3 mm thick, the gantry stood upright.
    expected = {
        "CLINICAL_VALUES_IMPUTED",
        "OTHER_CONTOUR_IGNORED",
        "KERNEL_MISSING",
    }  # the published RTSTRUCT is there too
    about_the_score = {"SLICES_DISAGREE", "UNLIKE_TRAINING"}  # a matter of the model
    assert expected <= set(codes(lung)) <= expected | about_the_score
    # The model knows phantoms alone: a patient's tumour lies beyond them, and has a score and no group for that reason.
    withholding = [warning["code"] for warning in lung.result["warnings"] if warning["effect"] == "withhold_group"]
    assert withholding == ["UNLIKE_TRAINING"]
    beyond = lung.result["assessment"]["training_likeness"]["beyond"]
    assert any("99.9 mm" in reason for reason in beyond)


def test_the_roi_slice_of_the_lung_case_is_an_image_of_the_series_at_its_table_position(
    lung: Scored, lung_case: Path
) -> None:
    roi = lung.result["assessment"]["roi"]
    images = {
        ds.SOPInstanceUID: ds for ds in (pydicom.dcmread(p, stop_before_pixels=True) for p in ct_files(lung_case))
    }
    image = images[roi["sop_instance_uid"]]
    assert roi["table_position_mm"] == image.ImagePositionPatient[2]
    assert roi["instance_number"] == image.InstanceNumber
    assert abs(roi["grid_z_mm"] - roi["table_position_mm"]) <= 1.5


def ct_files(case: Path) -> list[Path]:
    return sorted((case / "CT").iterdir())


def with_more_slices(case: Path, folder: Path) -> Path:
    """Copy the case's files, and write 100 more slices below and above, each a copy of the outermost under its own UID."""
    for path in case.rglob("*.dcm"):
        target = folder / path.relative_to(case)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    ends = sorted((pydicom.dcmread(path) for path in ct_files(case)), key=lambda ds: float(ds.ImagePositionPatient[2]))
    (folder / "more").mkdir()
    for end, step in ((ends[0], -3.0), (ends[-1], 3.0)):
        x, y, z = end.ImagePositionPatient
        for number in range(1, MORE // 2 + 1):
            end.ImagePositionPatient = [x, y, z + step * number]
            end.SOPInstanceUID = end.file_meta.MediaStorageSOPInstanceUID = UID(uid_of("more", step, number))
            end.InstanceNumber = 1000 + int(np.sign(step)) * number
            end.save_as(folder / "more" / f"{end.SOPInstanceUID}.dcm")
    return folder


@contextmanager
def watched() -> Iterator[dict[str, list[Any]]]:
    """Note every slice whose pixels are read, and the arrays that go to the model."""
    seen: dict[str, list[Any]] = {"slices": [], "patches": [], "features": []}
    read, cut, extract = (
        chain.read_ct_slice,
        chain.extract_patches,
        chain.extract_radiomics,
    )

    def noted_read(ct_slice: Any) -> NDArray[Any]:
        seen["slices"].append(ct_slice.instance.sop_instance_uid)
        return read(ct_slice)

    def noted_cut(volume: Any) -> Any:
        patches = cut(volume)
        seen["patches"].append(patches.hu)
        return patches

    def noted_extract(hu: Any, mask: Any, **options: Any) -> RadiomicFeatures:
        features = extract(hu, mask, **options)
        seen["features"].append(features.values)
        return features

    with (
        patch.object(chain, "read_ct_slice", noted_read),
        patch.object(chain, "extract_patches", noted_cut),
        patch.object(chain, "extract_radiomics", noted_extract),
    ):
        yield seen


def test_100_more_slices_change_no_byte_of_the_report_and_are_not_decoded(
    lung_case: Path, score: Score, tmp_path: Path
) -> None:
    """Cost follows the tumour: the same slices are read, the same patches and the same 1316 features come out."""
    with watched() as usual:
        reference = score(lung_case)
    with watched() as longer:
        again = score(with_more_slices(lung_case, tmp_path))
    (series,) = [series for series in again.result["assessment"]["selection"]["series"] if series["chosen"]]
    assert series["images"] == 99 + MORE
    assert longer["slices"] == usual["slices"]
    assert len(set(usual["slices"])) == len(usual["slices"]) < 99
    (patches,), (longer_patches,) = usual["patches"], longer["patches"]
    assert np.array_equal(patches, longer_patches)
    (features,), (longer_features,) = usual["features"], longer["features"]
    assert features.shape == (1316,)
    assert np.array_equal(features, longer_features, equal_nan=True)
    assert again.report_bytes == reference.report_bytes


# --- IBSI ------------------------------------------------------------------------------------------------------------


def test_the_ibsi_phantom_is_scored_although_it_says_next_to_nothing_of_its_patient(ibsi: Scored) -> None:
    """No sex, age, date or kernel: imputed, told, and left empty where the report must have the attribute."""
    assert ibsi.code == "scored"
    assert codes(ibsi)[:3] == ["CLINICAL_VALUES_IMPUTED", "OTHER_CONTOUR_IGNORED", "KERNEL_MISSING"]
    (first, *_) = ibsi.result["warnings"]
    assert first["message"].startswith("4 of the 4 clinical variables were not known")
    clinical = ibsi.result["assessment"]["clinical"]
    assert [value["imputed"] for value in clinical] == [True] * 4
    assert [value["value"] for value in clinical] == [None] * 4
    assert all(np.isfinite(value["used"]) for value in clinical)
    report = ibsi.report
    assert (report.PatientSex, report.StudyDate) == ("", "")
    assert "PatientAge" not in report or report.PatientAge == ""


@pytest.mark.parametrize(
    ("tag", "field", "per_unit"),
    [
        ("int_mask_vox_count_init_roi", "source_voxels", 1),
        ("morph_vol_approx", "volume_ml", 1000),
        ("morph_diam", "longest_diameter_mm", 1),
    ],
)
def test_the_ibsi_phantoms_size_is_the_reference_value(
    ibsi: Scored, shared_data: Path, tag: str, field: str, per_unit: float
) -> None:
    """IBSI 1, chest CT, configuration A (the scan's own grid): voxels, approximate volume, maximum 3-D diameter."""
    table = shared_data / "ibsi1" / "reference_values" / "ibsi_1_chest_config_a.csv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines(), delimiter=";")
    (row,) = [row for row in rows if row["tag"] == tag]
    found = per_unit * ibsi.result["assessment"]["tumour"][field]
    assert abs(found - float(row["reference value"])) <= float(row["tolerance"])


@pytest.mark.parametrize("case", ["lung", "ibsi"])
def test_the_score_of_a_real_case_is_the_exact_sum_of_its_terms(case: str, request: pytest.FixtureRequest) -> None:
    assessment = request.getfixturevalue(case).result["assessment"]
    terms = assessment["contributions"]
    total = terms["bias"] + terms["deep"] + terms["radiomic_total"] + terms["clinical_total"]
    assert assessment["score"] == pytest.approx(1 / (1 + np.exp(-total)), abs=1e-6)
    assert sum(term["log_odds"] for term in terms["radiomic"]) == pytest.approx(terms["radiomic_total"], abs=1e-9)
