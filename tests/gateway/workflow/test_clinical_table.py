"""The hospital's clinical table: every fault told with its row and no value, and the last valid version stays in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.workflow.clinical_table import ClinicalWatch, read_clinical_table
from gateway.workflow.settings import ClinicalTableRules
from pdl1es.clinical import ClinicalFileError, read_clinical_csv
from tests.gateway.workflow.stand_ins import new_database

TABLE = "patient_id,accession_number,age,sex,smoking\nP1,A1,61,F,never\nP1,A2,62,F,never\nP2,,70,M,yes\n"


def test_a_study_gets_its_own_rows_alone() -> None:
    table = read_clinical_table(TABLE.encode())
    assert table.part("P2", "A9").decode() == "patient_id,accession_number,age,sex,smoking\nP2,,70,M,yes\n"
    assert b"P2" not in table.part("P1", "A2")
    assert "P1" not in repr(table)


@given(patient=st.sampled_from(["P1", "P2", "P3", "", " P2 "]), accession=st.sampled_from(["A1", "A2", "A3", ""]))
def test_the_part_gives_what_the_whole_table_gives(patient: str, accession: str) -> None:
    def outcome(content: bytes) -> object:
        try:
            return read_clinical_csv(content, patient, accession)
        except ClinicalFileError:
            return "several rows"

    assert outcome(read_clinical_table(TABLE.encode()).part(patient, accession)) == outcome(TABLE.encode())


def test_every_fault_is_told_with_its_row_and_without_a_value() -> None:
    content = "patient_id,age,sex\nP1,61,F\nP2,secret,F\n,50,M\nP1,62,F\nP4,50,robot\n"
    faults = read_clinical_table(content.encode()).faults()
    assert [fault.partition(":")[0] for fault in faults] == [
        "row 3",
        "row 4 has neither patient_id nor accession_number",
        "rows 2 and 5 have one patient_id",
        "row 6",
    ]
    assert not any(word in " ".join(faults) for word in ("secret", "robot", "P1", "P2", "P4"))


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "empty"), (b"name,age\nx,3\n", "neither a column"), (b"patient_id\n\xff\n", "not UTF-8")],
)
def test_what_is_no_clinical_table_is_told(content: bytes, told: str) -> None:
    try:
        faults = read_clinical_table(content).faults()
    except ClinicalFileError as error:
        faults = (str(error),)
    assert told in faults[0]


class Watched:
    """A watched file, and the watch over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = new_database(folder)
        self.file = folder / "clinical.csv"
        self.watch = self.restarted()

    def restarted(self) -> ClinicalWatch:
        return ClinicalWatch(self.engine, self.folder / "versions", ClinicalTableRules(file=self.file))

    def write(self, content: str, at: float) -> None:
        self.file.write_text(content, encoding="utf-8")
        os.utime(self.file, (at, at))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_valid_file_is_taken_once_it_has_settled_and_kept(watched: Watched) -> None:
    watched.write(TABLE, at=1000.0)
    assert not watched.watch.look(1001.0)
    assert watched.watch.look(1003.0)
    assert not watched.watch.look(1010.0)
    assert watched.watch.current is not None
    kept = watched.folder / "versions" / f"{watched.watch.current.sha256}.csv"
    assert kept.read_text(encoding="utf-8") == TABLE
    again = watched.restarted()
    assert again.current == watched.watch.current


def test_a_faulty_file_is_told_and_the_version_before_stays(watched: Watched) -> None:
    watched.write(TABLE, at=1000.0)
    watched.watch.look(1010.0)
    watched.write(TABLE.replace("61", "999"), at=1100.0)
    assert not watched.watch.look(1110.0)
    assert "row 2" in watched.watch.problem
    assert "999" not in watched.watch.problem
    assert watched.watch.current is not None
    assert watched.watch.current.number == 1
    watched.write(TABLE.replace("61", "63"), at=1200.0)
    assert watched.watch.look(1210.0)
    assert (watched.watch.problem, watched.watch.current.number) == ("", 2)


def test_a_file_that_vanished_leaves_the_version_in_use_and_is_told(watched: Watched) -> None:
    watched.write(TABLE, at=1000.0)
    watched.watch.look(1010.0)
    watched.file.unlink()
    assert not watched.watch.look(1020.0)
    assert "cannot be read" in watched.watch.problem
    assert watched.watch.current is not None


def test_the_same_bytes_written_again_are_no_new_version(watched: Watched) -> None:
    watched.write(TABLE, at=1000.0)
    watched.watch.look(1010.0)
    watched.write(TABLE, at=2000.0)
    assert not watched.watch.look(2010.0)


def test_a_file_from_the_future_is_taken_after_a_clock_stepped_back(watched: Watched) -> None:
    watched.write(TABLE, at=9000.0)
    assert watched.watch.look(1000.0)
