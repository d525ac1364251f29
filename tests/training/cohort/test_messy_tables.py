"""Tables as hospitals keep them: read right and told, or refused with a remedy that helps; never misread in silence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cohort.table import CheckedTable, CohortTableError, read_cohort
from training.commands.cli import app


def _read(path: Path) -> CheckedTable:
    return read_cohort(path, without_outcome=True, without_images=True)


def _csv(folder: Path, text: str) -> CheckedTable:
    path = folder / "cohort.csv"
    path.write_text(text, encoding="utf-8")
    return _read(path)


def _workbook(path: Path, *rows: list[object], formats: dict[str, str] | None = None, merged: str = "") -> Path:
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(row)
    for cell, written in (formats or {}).items():
        book.active[cell].number_format = written
    if merged:
        book.active.merge_cells(merged)
    book.save(path)
    return path


def test_a_title_and_merged_headings_above_the_header_are_left_out_and_told(tmp_path: Path) -> None:
    path = _workbook(
        tmp_path / "cohort.xlsx",
        ["PD-L1 of our hospital", None, None],
        ["Patient", None, "Pathology"],
        ["id", "age", "pdl1_tps"],
        ["A", 63, 50],
        merged="A2:B2",
    )
    checked = _read(path)
    assert checked.faults == ()
    assert [(row.id, row.age, row.pdl1_tps) for row in checked.rows] == [("A", 63.0, 50.0)]
    assert checked.notes == ("the header is row 3; what stands above it was left out",)


def test_a_title_above_a_csv_does_not_hide_its_delimiter(tmp_path: Path) -> None:
    checked = _csv(tmp_path, "Cohort, of 2024\nid;age;pdl1_tps\nA;63,5;50\n")
    assert checked.faults == ()
    assert checked.rows[0].age == 63.5


def test_empty_columns_at_the_end_are_nothing(tmp_path: Path) -> None:
    checked = _csv(tmp_path, "id,pdl1_tps,,\nA,50,,\nB,5,,\n")
    assert checked.faults == ()
    assert len(checked.rows) == 2


def test_a_remark_beside_the_table_is_a_fault_with_its_remedy(tmp_path: Path) -> None:
    (fault,) = _csv(tmp_path, "id,pdl1_tps,,\nA,50,,checked twice\n").faults
    assert (fault.row, "beyond the header" in fault.found, "empty the cell" in fault.remedy) == (2, True, True)


def test_a_workbook_whose_first_sheet_is_a_cover_says_where_the_table_belongs(tmp_path: Path) -> None:
    path = _workbook(tmp_path / "cohort.xlsx", ["Read me"], ["written by", "nobody"])
    with pytest.raises(CohortTableError, match="put the table on the first sheet"):
        _read(path)


def test_rows_that_a_filter_hides_are_counted(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["id", "pdl1_tps"], ["A", 50], ["B", 5], ["C", 60], ["D", 1]):
        book.active.append(row)
    for number in (3, 4, 20):
        book.active.row_dimensions[number].hidden = True
    book.save(tmp_path / "cohort.xlsx")
    checked = _read(tmp_path / "cohort.xlsx")
    assert len(checked.rows) == 4
    assert checked.notes == ("2 rows are hidden in the workbook, as by a filter; they were read with the others",)


def test_a_workbook_that_begins_with_a_chart_is_refused_in_a_sentence(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["id", "pdl1_tps"])
    book.create_chartsheet("chart", 0)
    book.save(tmp_path / "cohort.xlsx")
    with pytest.raises(CohortTableError, match="without charts"):
        _read(tmp_path / "cohort.xlsx")


@pytest.mark.parametrize(
    ("written", "value", "tps"),
    [
        ("0%", 0.8, 80.0),
        ("0.00%;[Red]-0.00%", 0.005, 0.5),
        ('0"%"', 80, 80.0),
        ('0"%"', 1, 1.0),
        ("0\\%", 1, 1.0),
        ('0" % of cells"', 1, 1.0),
        ("[$%]0", 1, 1.0),
        ('0%;-0%;"none"', 0.8, 80.0),
        ("General", 29.000000000000004, 29.0),
        ("General", 49.99999999999999, 50.0),
    ],
)
def test_a_workbooks_number_is_what_the_spreadsheet_shows(
    tmp_path: Path, written: str, value: float, tps: float
) -> None:
    """A quoted or escaped per cent sign is text: the number is of per cent already."""
    path = _workbook(tmp_path / "cohort.xlsx", ["id", "pdl1_tps"], ["A", value], formats={"B2": written})
    assert [row.pdl1_tps for row in _read(path).rows] == [tps]


def test_a_format_that_shows_per_cent_for_some_values_alone_is_refused(tmp_path: Path) -> None:
    path = _workbook(tmp_path / "cohort.xlsx", ["id", "pdl1_tps"], ["A", 1], formats={"B2": '[<=1]0%;0"%"'})
    with pytest.raises(CohortTableError, match="depending on its value"):
        _read(path)


@pytest.mark.parametrize(
    "cell", ["2020-01-05", "2020/1/5", "2020.01.05", "20200105", "2020年1月5日", "2020-01-05 13:45:00"]
)
def test_a_date_with_the_year_first_has_one_meaning(tmp_path: Path, cell: str) -> None:
    checked = _csv(tmp_path, f"id,ct_date,pdl1_tps\nA,{cell},50\n")
    assert checked.faults == ()
    assert checked.rows[0].ct_date == date(2020, 1, 5)
    assert bool(checked.notes) == (cell != "2020-01-05")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("05/01/2020", "could be exchanged"),
        ("5.1.20", "could be exchanged"),
        ("43835", "spreadsheets store dates"),
        ("5 Jan 2020", "no date as YYYY-MM-DD"),
        ("2020-02-30", "no such day"),
        ("20201305", "no such day"),
    ],
)
def test_a_date_that_could_mean_another_day_is_a_fault(tmp_path: Path, cell: str, reason: str) -> None:
    (fault,) = _csv(tmp_path, f"id,ct_date,pdl1_tps\nA,{cell},50\n").faults
    assert fault.column == "ct_date"
    assert reason in fault.found


def test_a_workbooks_time_of_day_is_left_out_of_a_date(tmp_path: Path) -> None:
    path = _workbook(tmp_path / "cohort.xlsx", ["id", "ct_date", "pdl1_tps"], ["A", datetime(2020, 1, 5, 13, 45), 50])
    assert _read(path).rows[0].ct_date == date(2020, 1, 5)


def test_an_interval_that_a_spreadsheet_made_a_date_is_told_as_one(tmp_path: Path) -> None:
    path = _workbook(tmp_path / "cohort.xlsx", ["id", "pdl1_tps"], ["A", datetime(2026, 1, 5)])
    (fault,) = _read(path).faults
    assert "spreadsheets make one of 1-5" in fault.found


def test_an_error_of_a_formula_is_told_as_one(tmp_path: Path) -> None:
    (fault,) = _csv(tmp_path, "id,age,pdl1_tps\nA,#DIV/0!,50\n").faults
    assert "a spreadsheet's error" in fault.found


def test_a_point_that_could_divide_thousands_of_days_is_a_fault(tmp_path: Path) -> None:
    (fault,) = _csv(tmp_path, "id;pfs_days;progressed\nA;1.234;1\n").faults
    assert "the point could divide thousands" in fault.found


def test_a_row_of_means_is_no_patient(tmp_path: Path) -> None:
    (fault,) = _csv(tmp_path, "id,age,pdl1_tps\nA,63,50\nB,70,5\nMean,66.5,27.5\n").faults
    assert (fault.row, "summary" in fault.found) == (4, True)


def test_ids_that_differ_by_capitals_alone_are_one_patient(tmp_path: Path) -> None:
    (fault,) = _csv(tmp_path, "id,pdl1_tps\nP1,5\np1,60\n").faults
    assert "rows 2, 3" in fault.found


TWELVE = range(12)


def _times(column: str, values: Iterable[float]) -> str:
    return f"id,{column},progressed\n" + "".join(f"P{i},{value},{i % 2}\n" for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("text", "column", "found"),
    [
        ("id,pdl1_tps\nA,0.8\nB,60\nC,5\n", "pdl1_tps", "could be fractions"),
        ("id,pdl1_tps\n" + "".join(f"P{i},{i % 2}\n" for i in TWELVE), "pdl1_tps", "look like labels"),
        (
            "id,pfs_days,progressed\n" + "".join(f"P{i},{3 + 10 * i},1\n" for i in range(9)),
            "pfs_days",
            "look like months",
        ),
        ("id,pfs_months,progressed\nA,400,1\nB,20,0\nC,30,1\n", "pfs_days", "1 times are longer than 15 years"),
        ("id,pfs_days,progressed\nA,9999,1\nB,400,0\n", "pfs_days", "1 times are longer than 15 years"),
        (
            "id,smoking,label\n" + "".join(f"P{i},{i % 2},{i % 2}\n" for i in TWELVE),
            "smoking",
            "1 was read as occasionally",
        ),
        (
            "id,smoking,label\n" + "".join(f"P{i},{1 + i % 2},{i % 2}\n" for i in TWELVE),
            "smoking",
            "nobody never smoked",
        ),
        (
            "id,smoking,label\n" + "".join(f"P{i},{2 * (i % 2)},{i % 2}\n" for i in TWELVE),
            "smoking",
            "2 was read as constantly",
        ),
        ("id,pdl1_tps\nA,0\nB,1\nC,1\n", "pdl1_tps", "look like labels"),
        ("id,pdl1_tps\nA,0\nB,3\nC,1\n", "pdl1_tps", "look like grades"),
        (_times("pfs_months", range(10, 170, 14)), "pfs_days", "look like days in pfs_months"),
        (_times("pfs_days", [*range(3, 50, 4), 2000]), "pfs_days", "look like months or weeks"),
        (_times("pfs_days", range(4, 230, 20)), "pfs_days", "look like months or weeks"),
        (_times("pfs_months", (0.1, 0.5, 2, 3)), "pfs_days", "they are short"),
        (_times("pfs_days", (400, 0, 500, 0, 300, 0)), "pfs_days", "3 of 6 values are 0 days"),
        (_times("pfs_days", (400, 999, 500, 999, 300, 999)), "pfs_days", "3 of 6 values are 999 days"),
        ("id,age,label\n" + "".join(f"P{i},{99 if i % 2 else 60},0\n" for i in TWELVE), "age", "6 of 12 values are 99"),
        ("id,ct_date,label\nA,1900-01-05,1\n", "ct_date", "1 dates lie before 1980"),
    ],
)
def test_what_another_scheme_of_codes_or_units_would_look_like_is_warned_of(
    tmp_path: Path, text: str, column: str, found: str
) -> None:
    checked = _csv(tmp_path, text)
    assert checked.faults == ()
    assert [note.found for note in checked.warnings if note.column == column and found in note.found]


def test_the_remedy_for_short_months_is_not_the_name_that_the_column_has(tmp_path: Path) -> None:
    (warning,) = _csv(tmp_path, _times("pfs_months", (0.5, 2, 3, 4))).warnings
    assert "name the column" not in warning.remedy


@pytest.mark.parametrize(
    "text",
    [
        _times("pfs_days", (400.0000001, 30, 90, 250, 700, 1200)),
        _times("pfs_months", (1.5, 3, 8, 12, 25, 40)),
        "id,pdl1_tps\nA,0\nB,0\nC,1\nD,80\n",
    ],
)
def test_usual_values_are_warned_of_by_nothing(tmp_path: Path, text: str) -> None:
    assert _csv(tmp_path, text).warnings == ()


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        *(("gb18030", word) for word in ("腺癌 陈镕", "镕", "鳞癌", "T细胞", "PD-L1阳性", "腺癌（右肺）", "≥50%")),
        *(
            ("cp1252", word)
            for word in ("Größe", "Müßig", "Adénocarcinome", "naïve", "ÄRZTE", "für die Straße", "50–60")
        ),
    ],
)
def test_an_encoding_is_told_by_the_words_that_it_gives(tmp_path: Path, encoding: str, word: str) -> None:
    """Chinese characters whose second byte is plain, and accents that stand together, are not taken for the other."""
    path = tmp_path / "cohort.csv"
    path.write_bytes(f"id,histology,label\nA,{word},1\n".encode(encoding))
    checked = _read(path)
    assert checked.rows[0].histology == word
    assert [note for note in checked.notes if {"gb18030": "GB18030", "cp1252": "Windows-1252"}[encoding] in note]


def test_words_of_either_encoding_are_refused_until_it_is_given(tmp_path: Path) -> None:
    """0xB5 and m are the unit µm, or one Chinese character."""
    path = tmp_path / "cohort.csv"
    path.write_bytes("id,histology,label\nA,µm,1\n".encode("cp1252"))
    with pytest.raises(CohortTableError, match="--encoding"):
        _read(path)
    for encoding, word in (("windows-1252", "µm"), ("gb18030", "祄")):
        checked = read_cohort(path, without_outcome=True, without_images=True, encoding=encoding)
        assert checked.rows[0].histology == word


@pytest.mark.parametrize(("encoding", "reason"), [("utf-8", "not in the encoding given"), ("latin", "is none of")])
def test_a_wrong_encoding_is_refused_by_the_command(tmp_path: Path, encoding: str, reason: str) -> None:
    path = tmp_path / "cohort.csv"
    path.write_bytes("id,histology,label\nA,Größe,1\n".encode("cp1252"))
    result = CliRunner().invoke(app, ["cohort", "check", str(path), "--encoding", encoding])
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())
