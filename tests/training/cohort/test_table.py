"""A cohort's table is checked as a whole: every fault at once, with row, column and remedy; doubts are warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cohort.table import CohortTableError, read_cohort, write_cohort
from training.commands.cli import app


def _table(folder: Path, text: str) -> Path:
    (folder / "ct").mkdir(exist_ok=True)
    for number in range(9):
        (folder / "ct" / str(number)).mkdir(exist_ok=True)
    path = folder / "cohort.csv"
    path.write_text(text, encoding="utf-8")
    return path


FAULTY = """id,ct,age,sex,smoking,pdl1_tps,label,pfs_days,progressed,ct_date,hospital
A,ct/0,150,male,never,50%,0,,,2020-01-01,
A,ct/1,50,x,heavy,<1,,10,,01.02.2020,Chengdu
,ct/2,50,f,smoker,10,,10,1,,
B b,ct/nowhere,50,f,smoker,10,,,1,,
"""


def test_every_fault_is_told_at_once_with_row_column_and_remedy(tmp_path: Path) -> None:
    checked = read_cohort(_table(tmp_path, FAULTY))
    places = {(note.row, note.column) for note in checked.faults}
    assert places >= {
        (1, "hospital"),
        (2, "age"),
        (3, "sex"),
        (3, "smoking"),
        (3, "pdl1_tps"),
        (3, "progressed"),
        (3, "ct_date"),
        (3, "id"),
        (4, "id"),
        (5, "id"),
        (5, "ct"),
        (5, "pfs_days"),
    }
    assert all(note.remedy for note in checked.faults)


def test_no_message_repeats_an_id_a_date_or_a_path(tmp_path: Path) -> None:
    text = " ".join(str(note) for note in read_cohort(_table(tmp_path, FAULTY)).faults)
    for private in ("B b", "01.02.2020", "nowhere", str(tmp_path)):
        assert private not in text


def test_a_label_that_contradicts_the_tps_is_a_fault(tmp_path: Path) -> None:
    checked = read_cohort(_table(tmp_path, "id,ct,pdl1_tps,label\nA,ct/0,50,0\nB,ct/1,50,1\nC,ct/2,,1\nD,ct/3,49.9,\n"))
    assert [note.row for note in checked.faults] == [2]
    assert [(row.id, row.high_expression) for row in checked.rows] == [("B", 1), ("C", 1), ("D", 0)]


def test_doubts_are_warnings_that_do_not_stop_the_preparation(tmp_path: Path) -> None:
    """Two assays, a CT after the treatment began, a biopsy half a year before the CT."""
    checked = read_cohort(
        _table(
            tmp_path,
            "id,ct,pdl1_tps,pdl1_assay,ct_date,pdl1_date,treatment_start\n"
            "A,ct/0,50,SP142,2020-03-10,2020-03-01,2020-03-01\n"
            "B,ct/1,10,22C3,2020-07-01,2020-01-01,2020-07-10\n",
        )
    )
    assert checked.faults == ()
    assert [(note.row, note.column) for note in checked.warnings] == [
        (None, "pdl1_assay"),
        (2, "ct_date"),
        (3, "pdl1_date"),
    ]
    assert "9 days after" in checked.warnings[1].found
    assert len(checked.rows) == 2


def test_who_lacks_what_the_method_needs_is_counted_once_by_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "volume.nrrd").write_bytes(b"")
    checked = read_cohort(
        _table(
            tmp_path,
            "id,ct,pdl1_tps,pfs_days,progressed\nA,,50,,\nB,ct/1,,,\nC,ct/volume.nrrd,,,\nD,ct/2,,90,1\nE,ct/3,7,,\n",
        )
    )
    assert checked.screened == 5
    assert checked.exclusions == (
        ("No CT", 1),
        ("No tumour segmentation", 1),
        ("Neither PD-L1 expression nor follow-up known", 1),
    )
    assert [row.id for row in checked.rows] == ["D", "E"]
    scored_only = read_cohort(tmp_path / "cohort.csv", without_outcome=True)
    assert [row.id for row in scored_only.rows] == ["B", "D", "E"]


def test_a_patient_of_pretraining_needs_no_outcome_and_a_label_that_is_not_used_is_told(tmp_path: Path) -> None:
    checked = read_cohort(_table(tmp_path, "id,ct,label,split\nA,ct/0,,pretrain\nB,ct/1,1,pretrain\nC,ct/2,,\n"))
    assert [row.id for row in checked.rows] == ["A", "B"]
    assert [(note.row, note.column) for note in checked.warnings] == [(3, "split")]
    assert "looks at no label" in checked.warnings[0].found


def test_a_smoker_of_unknown_grade_is_no_missing_value(tmp_path: Path) -> None:
    checked = read_cohort(_table(tmp_path, "id,ct,label,smoking\nA,ct/0,1,smoker\nB,ct/1,1,unknown\nC,ct/2,0,2\n"))
    assert [(row.smoking, row.smoking_graded) for row in checked.rows] == [(None, False), (None, True), (2.0, True)]


def test_excels_byte_order_mark_and_capital_headers_are_accepted(tmp_path: Path) -> None:
    checked = read_cohort(_table(tmp_path, "\ufeffID, CT ,Label\nA,ct/0,1\n\n"))
    assert checked.faults == ()
    assert checked.screened == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"id,ct\n\xff,x\n", "UTF-8"), (b"id,ct\n", "no patient"), (b'id,ct\n"A,b\n', "not CSV"), (b"", "no patient")],
)
def test_what_is_no_table_is_refused_with_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "cohort.csv"
    path.write_bytes(content)
    with pytest.raises(CohortTableError, match=reason):
        read_cohort(path)


def test_a_written_table_reads_back(tmp_path: Path) -> None:
    content = write_cohort(
        [{"id": "A", "ct": "ct/0", "label": 1, "stage": "IV, M1a"}, {"id": "B", "ct": "ct/1", "label": 0}]
    )
    checked = read_cohort(_table(tmp_path, content.decode()))
    assert [(row.id, row.stage) for row in checked.rows] == [("A", "IV, M1a"), ("B", None)]


def test_the_command_ends_with_2_where_there_are_faults_and_0_where_not(tmp_path: Path) -> None:
    runner = CliRunner()
    good = _table(tmp_path, "id,ct,label\nA,ct/0,1\n")
    assert runner.invoke(app, ["cohort", "check", str(good)]).exit_code == 0
    bad = _table(tmp_path, FAULTY)
    result = runner.invoke(app, ["cohort", "check", str(bad)])
    assert result.exit_code == 2
    assert "column smoking" in result.output
