"""What a user is promised of age, sex, smoking and family history."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.config import IGNORE, settings
from pydicom.dataset import Dataset

from pdl1es.clinical import (
    ClinicalFileError,
    ClinicalRecord,
    clinical_data,
    clinical_from_header,
    read_clinical_csv,
    read_clinical_input,
    read_clinical_json,
)
from pdl1es.errors import Refusal


def header(**attributes: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def test_each_variable_comes_from_the_first_source_that_knows_it_and_says_which() -> None:
    data = clinical_data(
        header(PatientAge="058Y", PatientSex="M", SmokingStatus="NO"),
        clinical_file=ClinicalRecord(age=61),
        study_file=ClinicalRecord(age=70, sex="female", smoking="constantly"),
    )
    assert [value.value for value in data.values()] == [61, 0, 2, None]
    assert [value.source for value in data.values()] == [
        "clinical file",
        "clinical.json of the study",
        "clinical.json of the study",
        "missing",
    ]


def test_a_header_with_nothing_leaves_everything_missing() -> None:
    assert all(value.value is None and value.source == "missing" for value in clinical_from_header(Dataset()).values())


@pytest.mark.parametrize(
    ("attributes", "years"),
    [
        ({"PatientAge": "058Y"}, 58),
        ({"PatientAge": "030M"}, 2),
        ({"PatientAge": "", "PatientBirthDate": "19600615", "StudyDate": "20200614"}, 59),
        ({"PatientBirthDate": "19600615", "StudyDate": "20200615"}, 60),
        ({"PatientBirthDate": "19600615"}, None),
        ({"PatientAge": "58"}, None),
        ({"PatientBirthDate": "20300101", "StudyDate": "20200615"}, None),
    ],
)
@pytest.mark.filterwarnings(r"ignore::UserWarning:pydicom\..*")  # one age has no unit, on purpose
def test_age_is_in_full_years_from_the_age_or_the_dates(attributes: dict[str, str], years: float | None) -> None:
    with anything_may_be_written():
        dataset = header(**attributes)
    assert clinical_from_header(dataset).age.value == years


@contextmanager
def anything_may_be_written() -> Iterator[None]:
    """Let the test write values that the standard does not allow, as scanners do."""
    before = settings.writing_validation_mode
    settings.writing_validation_mode = IGNORE
    try:
        yield
    finally:
        settings.writing_validation_mode = before


def test_smoking_status_yes_is_a_smoker_of_unknown_grade_and_unknown_is_missing() -> None:
    smoker = clinical_from_header(header(SmokingStatus="YES")).smoking
    assert (smoker.value, smoker.graded, smoker.source) == (None, False, "DICOM SmokingStatus (0010,21A0)")
    unknown = clinical_from_header(header(SmokingStatus="UNKNOWN")).smoking
    assert (unknown.value, unknown.graded, unknown.source) == (None, True, "missing")


def test_a_smoker_of_unknown_grade_in_a_file_is_not_overruled_by_a_later_source() -> None:
    data = clinical_data(header(SmokingStatus="NO"), clinical_file=ClinicalRecord(smoking="smoker"))
    assert not data.smoking.graded
    assert data.smoking.source == "clinical file"


def test_json_accepts_the_words_and_the_codes_and_nulls() -> None:
    record = read_clinical_json(
        json.dumps({"age": 61, "sex": "M", "smoking": 2, "family_history": True}).encode("utf-8-sig")
    )
    assert (record.age, record.sex, record.smoking, record.family_history) == (61, "male", "constantly", "yes")
    empty = read_clinical_json(b'{"age": null, "smoking": "unknown", "sex": ""}')
    assert (empty.age, empty.sex, empty.smoking, empty.family_history) == (None, None, None, None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not JSON: line 1"),
        (b"[]", "one JSON object"),
        (b'{"age": 150}', "age: Input should be less than or equal to 120"),
        (b'{"weight": 80}', "text of 6 characters (sha256 0844df8f): Extra inputs are not permitted"),
        (b'{"sex": "Zaphod"}', "sex: Input should be 'female' or 'male'"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"age": ' + b"9" * 5000 + b"}", "a number of more than 4300 digits"),
        (b'{"age": 61, "age": 71}', "a key is there twice"),
    ],
)
def test_a_bad_json_is_refused_with_field_and_reason_but_not_the_value(content: bytes, says: str) -> None:
    with pytest.raises(ClinicalFileError) as caught:
        read_clinical_json(content)
    assert says in str(caught.value)
    assert "Zaphod" not in str(caught.value)


TABLE = b"""Patient_ID, accession_number,age,sex,smoking,family_history,remark
P1,A1,61,F,never,no,x
P2,A2,70,M,constantly,,y
P2,A3,71,M,constantly,yes,z
P4,,abc,M,,,
"""


def test_csv_is_searched_by_accession_number_then_by_patient_id() -> None:
    by_accession = read_clinical_csv(TABLE, "P2", "A3")
    assert by_accession is not None
    assert (by_accession.age, by_accession.family_history) == (71, "yes")
    by_patient = read_clinical_csv(TABLE, "P1", "none of these")
    assert by_patient is not None
    assert by_patient.smoking == "never"
    assert read_clinical_csv(TABLE, "P9", "A9") is None


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_table_with_another_separator_is_refused_with_its_name(separator: str, name: str) -> None:
    table = TABLE.replace(b",", separator.encode())
    with pytest.raises(ClinicalFileError, match=f"neither .*: its cells are separated by {name}; save it with commas"):
        read_clinical_csv(table, "P2", "")


def test_csv_with_several_rows_or_bad_values_names_the_rows() -> None:
    with pytest.raises(ClinicalFileError, match="rows 3, 4 have the study's patient_id"):
        read_clinical_csv(TABLE, "P2", "")
    with pytest.raises(ClinicalFileError, match=r"row 5: age: .*number"):
        read_clinical_csv(TABLE, "P4", "")
    with pytest.raises(ClinicalFileError, match="neither a column patient_id nor"):
        read_clinical_csv(b"name,age\nx,1\n", "P1", "A1")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"patient_id,age,remark\nP1,61," + b"x" * 131_073, "not CSV: line 1: field larger than field limit"),
        (b"patient_id," + b"x" * 131_073 + b"\nP1,61", "not CSV: line 0: field larger than field limit"),
        (b"patient_id,age,age\nP1,61,71", "2 columns age"),
        (b"patient_id,age\nP1,61,71", "row 2 has more fields than the table has columns"),
    ],
)
def test_a_table_that_is_not_clear_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(ClinicalFileError, match=says):
        read_clinical_csv(content, "P1", "")


def _link_out(file: Path) -> None:
    outside = file.parent.parent / "another-patient.json"
    outside.write_text('{"age": 50}', encoding="utf-8")
    file.symlink_to(outside)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_link_out, "the symbolic link leads out of the study"),
        (lambda file: file.symlink_to(file), "the symbolic link leads to no file"),
        (lambda file: file.symlink_to("gone.json"), "the symbolic link leads to no file"),
        (os.mkfifo, "it is no regular file"),
        (Path.mkdir, "it is no regular file"),
    ],
    ids=["link out", "link to itself", "broken link", "pipe", "folder"],
)
def test_a_study_file_that_cannot_be_its_own_is_refused(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    """It is neither read nor passed over: whoever put it there expects its values in the score."""
    study = tmp_path / "study"
    study.mkdir()
    make(study / "clinical.json")
    with pytest.raises(Refusal, match=f"CLINICAL_INVALID: clinical.json: .*{says}"):
        read_clinical_input(Dataset(), study, None)


def test_a_link_within_the_study_is_followed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "values.json").write_text('{"age": 50}', encoding="utf-8")
    (tmp_path / "clinical.json").symlink_to("sub/values.json")
    assert read_clinical_input(Dataset(), tmp_path, None).data.age.value == 50


@pytest.mark.parametrize("given", ["pipe", "/dev/zero", "/proc/self/mem", "gone"])
def test_a_clinical_file_that_cannot_be_read_is_an_error_of_usage(tmp_path: Path, given: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ClinicalFileError, match="cannot be read"):
        read_clinical_input(Dataset(), tmp_path, tmp_path / given)
