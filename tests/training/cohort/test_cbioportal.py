"""cBioPortal's studies differ in files and columns: meta files and a mapping say where what is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cohort.cbioportal import read_cbioportal
from training.cohort.collection_cell import CollectionError
from training.cohort.table import read_cohort
from training.commands.cli import app

PATIENTS = "#Patient\tAge\n#STRING\tNUMBER\nPATIENT_ID\tAGE\tSEX\tPFS_MONTHS\tPFS_STATUS\np1\t70\tMale\t2\t1:Event\np2\t60\tFemale\t3\t0:Censor\n"
SAMPLES = "SAMPLE_ID\tPATIENT_ID\tTPS\tSMOKER\ns1\tp1\t>=50%\tEver\ns2\tp2\t5\tNever\ns3\tp2\t30\tNever\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study whose files have names of their own, and whose PD-L1 is a column of the samples."""
    folder = tmp_path / "study"
    folder.mkdir()
    for kind, content in (("PATIENT", PATIENTS), ("SAMPLE", SAMPLES)):
        name = f"own_{kind.lower()}.txt"
        (folder / name).write_text(content)
        (folder / f"meta_clinical_{kind.lower()}.txt").write_text(
            f"cancer_study_identifier: x\ngenetic_alteration_type: CLINICAL\ndatatype: {kind}_ATTRIBUTES\ndata_filename: {name}\n"
        )
    return folder


def test_meta_files_name_the_tables_and_a_mapping_names_the_column(study: Path) -> None:
    """A patient whose samples differ in PD-L1 has none; one with equal smoking keeps it."""
    rows, notes = read_cbioportal(study, {"pdl1_tps": "TPS"})
    first, second = rows
    assert (first["id"], first["pdl1_tps"], first["smoking"], first["pfs_days"]) == ("p1", ">=50%", "smoker", 61)
    assert (second["age"], second["pdl1_tps"], second["smoking"], second["progressed"]) == ("60", None, "never", 0)
    said = "\n".join(notes)
    assert "pdl1_tps from TPS" in said
    assert "1 patients with several values in TPS" in said
    assert "no column was found for histology" in said


def test_a_study_without_samples_and_one_of_samples_alone_are_read(study: Path, tmp_path: Path) -> None:
    (study / "meta_clinical_sample.txt").unlink()
    rows, _ = read_cbioportal(study)
    assert [row["pdl1_tps"] for row in rows] == [None, None]
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "data_clinical_sample.txt").write_text(SAMPLES)
    rows, _ = read_cbioportal(tmp_path / "alone", {"pdl1_tps": "TPS"})
    assert [row["smoking"] for row in rows] == ["smoker", "never"]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [({"pdl1_tps": "NOWHERE"}, "no column NOWHERE"), ({"tps": "TPS"}, "a mapping has no tps; it may name age")],
)
def test_a_mapping_that_does_not_fit_is_refused(study: Path, mapping: dict[str, str], said: str) -> None:
    with pytest.raises(CollectionError, match=said):
        read_cbioportal(study, mapping)


def test_a_meta_file_cannot_name_a_file_elsewhere(study: Path) -> None:
    (study / "meta_clinical_sample.txt").write_text("datatype: SAMPLE_ATTRIBUTES\ndata_filename: ../own_sample.txt\n")
    (study.parent / "own_sample.txt").write_text(SAMPLES)
    with pytest.raises(CollectionError, match="the study's folder lacks"):
        read_cbioportal(study)


def test_a_folder_without_clinical_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="neither data_clinical_patient"):
        read_cbioportal(tmp_path)


def test_the_command_takes_a_mapping_and_its_table_is_read_without_faults(study: Path, tmp_path: Path) -> None:
    (tmp_path / "columns.json").write_text(json.dumps({"pdl1_tps": "TPS"}))
    arguments = ["cohort", "import", "cbioportal", str(study), str(tmp_path / "x.csv")]
    ended = CliRunner().invoke(app, [*arguments, "--mapping", str(tmp_path / "columns.json")])
    assert ended.exit_code == 0, ended.output
    checked = read_cohort(tmp_path / "x.csv", without_images=True, without_outcome=True)
    assert checked.faults == ()
    assert [row.high_expression for row in checked.rows] == [1, None]
    (tmp_path / "columns.json").write_text("[]")
    assert CliRunner().invoke(app, [*arguments, "--mapping", str(tmp_path / "columns.json")]).exit_code == 2
