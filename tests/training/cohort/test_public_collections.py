"""Public collections become cohort tables whose values are the collections' own, and whose gaps are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from typer.testing import CliRunner

from pdl1es.phantom.dicom import PhantomStudy
from tests.structure_sets import Region, images_of, outlines_of_seg, structure_set, write
from training.cohort.case import CaseSource, PreparationSettings, read_case
from training.cohort.collection_cell import CollectionError
from training.cohort.public_collections import import_collection
from training.cohort.table import read_cohort, write_cohort
from training.commands.cli import app


def test_msk_patients_keep_pdl1_and_progression_and_have_no_ct(shared_data: Path, tmp_path: Path) -> None:
    """75 patients; the table's first row is 70, female, TPS 2 %, progression after 1.4127 months."""
    imported = import_collection("cbioportal", shared_data / "clinical" / "nsclc_mskcc_2018", None, tmp_path)
    (tmp_path / "cohort.csv").write_bytes(write_cohort(imported.rows))
    checked = read_cohort(tmp_path / "cohort.csv")
    assert checked.faults == ()
    assert checked.screened == 75
    assert checked.exclusions == (("No CT", 75),)
    first = imported.rows[0]
    assert (first["age"], first["sex"], first["smoking"], first["pdl1_tps"]) == ("70", "female", "smoker", "2.0")
    assert (first["pfs_days"], first["progressed"]) == (43, 1)
    assert sum(row["progressed"] for row in imported.rows) == 50
    assert sum(row["pdl1_tps"] is None for row in imported.rows) == 5
    fitted = KaplanMeierFitter().fit(
        [row["pfs_days"] for row in imported.rows], [row["progressed"] for row in imported.rows]
    )
    assert 150 < fitted.median_survival_time_ < 300


def test_lung1_patients_have_neither_pdl1_nor_progression_and_that_is_told(shared_data: Path, tmp_path: Path) -> None:
    imported = import_collection("lung1", shared_data / "clinical" / "LUNG1_clinical_v3.csv", None, tmp_path)
    (tmp_path / "cohort.csv").write_bytes(write_cohort(imported.rows))
    checked = read_cohort(tmp_path / "cohort.csv")
    assert checked.faults == ()
    assert checked.screened == 422
    assert sum(row["sex"] == "male" for row in imported.rows) == 290
    assert imported.rows[0]["age"] == "78.7515"
    assert any("overall survival" in note for note in imported.notes)
    assert any("0 of 422" in note for note in imported.notes)


def test_radiogenomics_smokers_are_of_unknown_grade(shared_data: Path, tmp_path: Path) -> None:
    imported = import_collection(
        "radiogenomics", shared_data / "clinical" / "NSCLC_Radiogenomics_labels.csv", None, tmp_path
    )
    (tmp_path / "cohort.csv").write_bytes(write_cohort(imported.rows))
    assert read_cohort(tmp_path / "cohort.csv").faults == ()
    smoking = [row["smoking"] for row in imported.rows]
    assert (smoking.count("never"), smoking.count("smoker")) == (48, 163)
    assert imported.rows[0]["ct_date"] == "1994-08-10"


@pytest.mark.parametrize("drawn_in", ["SEG", "RTSTRUCT"])
def test_images_are_found_where_the_nbia_data_retriever_puts_them(
    phantom_study: PhantomStudy, tmp_path: Path, drawn_in: str
) -> None:
    """manifest / collection / patient / study / series; the study without a tumour is not the one."""
    study = phantom_study.folder
    patient = tmp_path / "manifest-1" / "NSCLC-Radiomics" / "LUNG1-001"
    (patient / "01-01-2008-NA-PET").mkdir(parents=True)
    ct = sorted((study / "CT").iterdir())
    shutil.copy(ct[0], patient / "01-01-2008-NA-PET" / "1-001.dcm")
    shutil.copytree(study, patient / "01-02-2008-NA-CT")
    if drawn_in == "RTSTRUCT":
        images = images_of(study / "CT")
        region = Region("GTV-1", outlines_of_seg(phantom_study.seg_path, images))
        shutil.rmtree(patient / "01-02-2008-NA-CT" / "SEG")
        write(structure_set(images[0], [region]), patient / "01-02-2008-NA-CT" / "RTSTRUCT" / "1-1.dcm")
    clinical = tmp_path / "clinical.csv"
    clinical.write_text(
        "PatientID,age,Overall.Stage,Histology,gender\nLUNG1-001,NA,IIIb,nos,male\nLUNG1-002,60,I,NA,female\n"
    )
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "cohort.csv"
    result = CliRunner().invoke(
        app, ["cohort", "import", "lung1", str(clinical), str(table), "--images", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert "1 of 2 patients" in result.output
    lines = table.read_text().splitlines()
    assert lines[1].startswith("LUNG1-001,../manifest-1/NSCLC-Radiomics/LUNG1-001/01-02-2008-NA-CT,")
    assert lines[2].startswith("LUNG1-002,,")
    source = CaseSource("LUNG1-001", table.parent / lines[1].split(",")[1], None, {})
    case = read_case(source, PreparationSettings())
    assert len(case.ct.slices) == len(ct)
    drawn = read_case(CaseSource("LUNG1-001", study, None, {}), PreparationSettings())
    assert np.array_equal(case.resampled().volume.mask, drawn.resampled().volume.mask)


def test_another_collections_table_is_refused_by_its_missing_columns(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="PatientID"):
        import_collection("lung1", shared_data / "clinical" / "NSCLC_Radiogenomics_labels.csv", None, tmp_path)


MSK_HEADER = "PATIENT_ID\tAGE_YRS\tSEX\tSMOKING_STATUS\tHISTOLOGY\tPDL1_EXP\tPFS_MONTHS\tPFS_STATUS\n"


@pytest.mark.parametrize(
    ("months", "status", "said"),
    [
        ("soon", "1:Event", "row 4, column PFS_MONTHS: 'soon' is not a number of months"),
        ("-1", "1:Event", "row 4, column PFS_MONTHS: '-1' is not a number of months"),
        ("3.5", "Event", "row 4, column PFS_STATUS: 'Event' is not 1 \\(event\\) or 0"),
    ],
)
def test_a_malformed_cell_is_named_by_row_and_column(tmp_path: Path, months: str, status: str, said: str) -> None:
    """The first line is a comment, as cBioPortal's files have them; row 4 is the file's fourth line."""
    table = tmp_path / "data_clinical_patient.txt"
    good = "p1\t70\tFemale\tFormer\tSquamous\t2.0\t1.4\t0:Censor\n"
    table.write_text(f"#Comment\n{MSK_HEADER}{good}p2\t70\tMale\tNever\tSquamous\t2.0\t{months}\t{status}\n")
    with pytest.raises(CollectionError, match=f"{said}.*; correct the cell, or leave it empty"):
        import_collection("cbioportal", tmp_path, None, tmp_path)


def test_a_malformed_date_ends_the_command_with_a_sentence(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "clinical" / "NSCLC_Radiogenomics_labels.csv").read_text(encoding="utf-8-sig")
    (tmp_path / "clinical.csv").write_text(text.replace("8/10/1994", "10.8.1994", 1))
    arguments = ["cohort", "import", "radiogenomics", str(tmp_path / "clinical.csv"), str(tmp_path / "cohort.csv")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "row 2, column CT Date: '10.8.1994' is not a date as month/day/year" in " ".join(result.output.split())
    assert not (tmp_path / "cohort.csv").exists()
