"""A cohort's table is checked as a whole: every fault at once, with row, column and remedy; doubts are warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cohort.table import read_cohort, write_cohort
from training.cohort.table_cell import CohortTableError
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
    [(b"id,ct\n\x81,x\n", "UTF-8"), (b"id,ct\n", "no patient"), (b'id,ct\n"A,b\n', "not CSV"), (b"", "no patient")],
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


WORDS = "id;ct;age;histology;pdl1_tps;pfs_months;progressed\nA;ct/0;61,5;{0};80;12,5;1\nB;ct/1;57;{0};5;3;0\n"


@pytest.mark.parametrize(
    ("encoding", "word", "name"),
    [
        ("utf-8", "腺癌", None),
        ("utf-16", "腺癌", "UTF-16"),
        ("utf-16-le", "Adeno", "UTF-16"),
        ("gb18030", "腺癌", "GB18030"),
        ("cp1252", "Adénocarcinome", "Windows-1252"),
    ],
)
def test_semicolons_decimal_commas_months_and_usual_encodings_are_read_and_told(
    tmp_path: Path, encoding: str, word: str, name: str | None
) -> None:
    path = _table(tmp_path, "")
    path.write_bytes(WORDS.format(word).encode(encoding))
    checked = read_cohort(path)
    assert checked.faults == ()
    first = checked.rows[0]
    assert (first.age, first.histology, first.pfs_days) == (61.5, word, 380)
    told = "\n".join(checked.notes)
    for said in ("semicolons", "1 decimal commas in age", "2 times in months"):
        assert said in told
    assert (name in told) if name else ("read as" not in told)


def test_a_workbook_is_read_with_its_dates_and_percentages(tmp_path: Path) -> None:
    """As a spreadsheet program stores them: a date as a day's number, 80 % as 0.8."""
    from datetime import date

    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    for cells in (["id", "ct", "age", "pdl1_tps", "ct_date"], ["A", "ct/0", 61, 0.8, date(2019, 5, 2)]):
        sheet.append(cells)
    sheet["D2"].number_format = "0%"
    book.create_sheet("more")
    _table(tmp_path, "")
    book.save(tmp_path / "cohort.xlsx")
    checked = read_cohort(tmp_path / "cohort.xlsx")
    assert checked.faults == ()
    (row,) = checked.rows
    assert (row.age, row.pdl1_tps, row.ct_date) == (61.0, 80.0, date(2019, 5, 2))
    assert checked.notes == ("the workbook has 2 sheets; the first was read",)


def test_a_formula_without_a_stored_value_is_no_missing_value(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["id", "label"], ["A", "=1"]):
        book.active.append(row)
    book.save(tmp_path / "cohort.xlsx")
    with pytest.raises(CohortTableError, match="row 2 has a formula"):
        read_cohort(tmp_path / "cohort.xlsx")


def test_a_damaged_workbook_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cohort.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    with pytest.raises(CohortTableError, match="no Excel workbook"):
        read_cohort(tmp_path / "cohort.xlsx")


@pytest.mark.parametrize(
    ("cell", "tps", "high"),
    [
        ("80", 80.0, 1),
        ("80 %", 80.0, 1),
        ("49,5%", 49.5, 0),
        ("<1", 0.0, 0),
        ("<1%", 0.0, 0),
        (">=50 %", None, 1),
        ("≥50％", None, 1),
        (">50", None, 1),
        ("50-60", None, 1),
        ("50–60 %", None, 1),
        ("1-49", None, 0),
        ("<50", None, 0),
    ],
)
def test_scores_as_pathologists_write_them(tmp_path: Path, cell: str, tps: float | None, high: int) -> None:
    """An interval gives the label and no number, because none within it is known."""
    checked = read_cohort(_table(tmp_path, f'id,ct,pdl1_tps\nA,ct/0,"{cell}"\n'))
    assert checked.faults == ()
    assert [(row.pdl1_tps, row.high_expression) for row in checked.rows] == [(tps, high)]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("pdl1_tps", ">=1"),
        ("pdl1_tps", "<=50"),
        ("pdl1_tps", "40-60"),
        ("pdl1_tps", "60-50"),
        ("pdl1_tps", "positive"),
        ("pdl1_tps", "101"),
        ("age", "8_0"),
        ("age", "nan(1)"),
        ("slice_thickness_mm", "1,250"),
        ("ct_date", "0"),
        ("ct_date", "43587"),
        ("ct_date", "2019-05-02T10:00"),
        ("family_history", "none"),
        ("sex", "2"),
    ],
)
def test_a_cell_that_could_mean_something_else_is_a_fault(tmp_path: Path, column: str, cell: str) -> None:
    checked = read_cohort(_table(tmp_path, f'id,ct,{column}\nA,ct/0,"{cell}"\n'))
    assert [(note.row, note.column) for note in checked.faults] == [(2, column)]


def test_an_interval_that_contradicts_the_label_is_a_fault(tmp_path: Path) -> None:
    checked = read_cohort(_table(tmp_path, "id,ct,pdl1_tps,label\nA,ct/0,>=50,0\nB,ct/1,>=50,1\n"))
    assert [(note.row, note.column) for note in checked.faults] == [(2, "pdl1_tps")]


def test_one_folder_under_three_spellings_is_one_ct(tmp_path: Path) -> None:
    table = _table(tmp_path, f"id,ct,label\nA,ct/0,1\nB,./ct/0/,0\nC,{tmp_path}/ct/../ct/0,1\nD,ct/1,1\n")
    (fault,) = read_cohort(table).faults
    assert "rows 2, 3, 4" in fault.found


def test_one_segmentation_for_two_patients_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "mask.nrrd").touch()
    table = _table(tmp_path, "id,ct,seg,label\nA,ct/0,mask.nrrd,1\nB,ct/1,./mask.nrrd,0\nC,ct/2,,0\nD,ct/3,,0\n")
    (fault,) = read_cohort(table).faults
    assert (fault.column, "rows 2, 3" in fault.found) == ("seg", True)


def test_a_ct_given_as_its_own_mask_is_a_fault_and_a_folder_of_both_is_none(tmp_path: Path) -> None:
    (tmp_path / "ct.nrrd").touch()
    (fault,) = read_cohort(
        _table(tmp_path, "id,ct,seg,label\nA,ct.nrrd,./ct.nrrd,1\nB,ct/1,ct/1,0\nC,ct/2,,0\n")
    ).faults
    assert (fault.row, fault.column, "own file" in fault.found) == (2, "seg", True)


@pytest.mark.parametrize("text", ["free text " * 60, "a/" * 3000])
def test_a_text_that_is_no_path_is_a_fault_of_its_row_that_repeats_none_of_it(tmp_path: Path, text: str) -> None:
    checked = read_cohort(_table(tmp_path, f"id,ct,seg,label\nA,{text},{text},1\nB,ct/1,,0\n"))
    assert [(note.row, note.column) for note in checked.faults] == [(2, "ct"), (2, "seg")]
    assert text not in "".join(map(str, checked.faults))
    assert [row.id for row in checked.rows] == ["B"]


@pytest.mark.parametrize(
    "text", ["id,ct,label\nA;ct/0;1\nB;ct/1;0\n", "id;ct;label\nA,ct/0,1\nB,ct/1,0\n", "id/ct/label\nA/ct/1\nB/ct/0\n"]
)
def test_a_wrong_delimiter_is_one_message(tmp_path: Path, text: str) -> None:
    with pytest.raises(CohortTableError, match=r"separated by|names no column"):
        read_cohort(_table(tmp_path, text))


IMPROBABLE = """id,ct,age,sex,pdl1_tps,pfs_days,progressed
A,ct/0,61,1,0.8,12.5,1
B,ct/1,7,1,0,3,0
C,ct/2,55,0,0.05,30,1
"""


def test_what_is_improbable_is_warned_of_and_what_was_understood_is_echoed(tmp_path: Path) -> None:
    """Fractions of a TPS, months among days, a child."""
    table = _table(tmp_path, IMPROBABLE)
    checked = read_cohort(table)
    assert checked.faults == ()
    assert [note.column for note in checked.warnings] == ["pdl1_tps", "pfs_days", "age"]
    said = CliRunner().invoke(app, ["cohort", "check", str(table)]).stdout
    for line in (
        "id: 3 given",
        "age: 3 given; 7 to 61 years, median 55",
        "sex: 3 given; female 1, male 2",
        "pdl1_tps: 3 given; 0 to 0.8 %, median 0.05",
        "pfs_days: 3 given; 3 to 30 days, median 12.5",
        "progressed: 3 given; censored 1, progressed 2",
    ):
        assert line in said


def test_months_and_days_together_are_a_fault(tmp_path: Path) -> None:
    checked = read_cohort(_table(tmp_path, "id,ct,pfs_days,pfs_months,progressed\nA,ct/0,30,1,1\n"))
    assert [(note.row, note.column) for note in checked.faults] == [(2, "pfs_months")]
