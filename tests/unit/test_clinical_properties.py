"""Whatever a clinical file or a mapping holds, it is a record of allowed values or an error that says where: nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pdl1es.clinical import (
    FAMILY_HISTORY_CODES,
    SEX_CODES,
    SMOKING_CODES,
    TREATMENTS,
    ClinicalFileError,
    ClinicalRecord,
    read_clinical_csv,
    read_clinical_input,
    read_clinical_json,
    read_clinical_mapping,
)
from pdl1es.errors import Refusal, RefusalCode

OFTEN: Final = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIELDS: Final = tuple(ClinicalRecord.model_fields)
KEYS: Final = st.one_of(st.sampled_from(FIELDS), st.text(max_size=8))
WORDS: Final = ("unknown", "n/a", "yes", "no", "m", "F ", "smoker", "2", "1e400", "nan", "-1", "६३", "\ud800", "")
SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 120, 121]),
    st.sampled_from(WORDS),
    st.text(max_size=12),
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
GOOD: Final[dict[str, list[tuple[Any, Any]]]] = {
    "age": [(0, 0), (63, 63), (" 63.5 ", 63.5), (120, 120), ("unknown", None), (None, None)],
    "sex": [("f", "female"), ("M", "male"), (" Female", "female"), (0, "female"), ("1", "male"), ("", None)],
    "smoking": [("never", "never"), (1, "occasionally"), ("2", "constantly"), ("yes", "smoker"), ("unknown", None)],
    "family_history": [("no", "no"), ("Yes", "yes"), (True, "yes"), (0, "no"), ("unknown", None)],
    "first_line_treatment": [(text.upper(), text) for text in TREATMENTS] + [("n/a", None)],
}


def outcome(read: Callable[[], ClinicalRecord | None]) -> ClinicalRecord | None:
    """Return what was read, of allowed values; None where it is refused with a message that can be printed."""
    try:
        record = read()
    except ClinicalFileError as error:
        str(error).encode("utf-8")  # raises where no terminal could show it
        return None
    if record is not None:
        assert record.age is None or 0 <= record.age <= 120
        assert record.sex is None or record.sex in SEX_CODES
        assert record.smoking is None or record.smoking in {*SMOKING_CODES, "smoker"}
        assert record.family_history is None or record.family_history in FAMILY_HISTORY_CODES
        assert record.first_line_treatment is None or record.first_line_treatment in TREATMENTS
    return record


@OFTEN
@given(st.binary(max_size=120))
@example(b'{"\\ud800": 1}')
@example(b'{"sex": "\\ud800"}')
@example(b'{"age": NaN}')
@example(b'{"age": 1e999}')
@example(b"null")
def test_any_bytes_are_a_record_or_an_error(content: bytes) -> None:
    assert isinstance(outcome(lambda: read_clinical_json(content)), ClinicalRecord | None)
    assert isinstance(outcome(lambda: read_clinical_csv(content, "P1", "A1")), ClinicalRecord | None)


@OFTEN
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_mapping_is_a_record_or_an_error_as_json_too(values: dict[str, Any]) -> None:
    record = outcome(lambda: read_clinical_mapping(values))
    if record is None:
        return
    assert read_clinical_mapping(record.model_dump()) == record
    assert read_clinical_json(record.model_dump_json().encode()) == record
    assert read_clinical_json(json.dumps(values).encode()) == record


@OFTEN
@given(st.lists(st.lists(st.one_of(KEYS, st.sampled_from(["patient_id", "P1", *WORDS])), max_size=5), max_size=5))
def test_any_table_is_a_record_or_an_error(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    content = text.getvalue().encode("utf-8", "replace")
    assert isinstance(outcome(lambda: read_clinical_csv(content, "P1", "A1")), ClinicalRecord | None)


@OFTEN
@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(pairs) for name, pairs in GOOD.items()}))
def test_what_the_documents_allow_is_read_as_they_say(chosen: dict[str, tuple[Any, Any]]) -> None:
    given_values = {name: pair[0] for name, pair in chosen.items()}
    expected = dict.fromkeys(FIELDS) | {name: pair[1] for name, pair in chosen.items()}
    assert read_clinical_mapping(given_values).model_dump() == expected
    assert read_clinical_json(json.dumps(given_values).encode()).model_dump() == expected
    text = io.StringIO()
    csv.writer(text).writerows([["patient_id", *given_values], ["P1", *given_values.values()]])
    found = read_clinical_csv(text.getvalue().encode(), "P1", "")
    assert found is not None
    assert found.model_dump() == expected


@OFTEN
@given(
    st.binary(max_size=60),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("PatientAge", "PatientSex", "PatientBirthDate", "StudyDate", "AcquisitionDate", "SmokingStatus"),
            st.one_of(st.text("0123456789DWMY. ", max_size=9), st.text(max_size=4)),
        ),
    ),
)
def test_any_study_has_values_within_their_ranges_or_is_refused(
    tmp_path: Path, content: bytes, attributes: dict[str, str]
) -> None:
    (tmp_path / "clinical.json").write_bytes(content)
    header: Any = attributes  # read by keyword alone, as a data set is
    try:
        found = read_clinical_input(header, tmp_path, None).data
    except Refusal as refusal:
        if refusal.code is not RefusalCode.CLINICAL_INVALID:
            raise
        found = read_clinical_input(header, tmp_path / "without", ClinicalRecord()).data
    ranges = ((0, 120), (0, 1), (0, 2), (0, 1))
    for value, (low, high) in zip(found.values(), ranges, strict=True):
        assert value.value is None or low <= value.value <= high
        assert value.source


def test_a_header_of_a_data_set_is_read_by_keyword() -> None:
    """So that the mapping above stands for one."""
    header = Dataset()
    header.PatientSex = "F"
    assert read_clinical_input(header, Path("none"), None).data.sex.value == 0
