"""Logs: JSON lines that name a study by a keyed hash, and hold nothing that a header could have put into them."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from gateway.logs import KEY_FILE, StudyHash, about_study, log_as_json, read_log_key, without_uids
from gateway.records import StudyKey

STUDY = StudyKey("1.2.840.113619.2.55.3")


@pytest.fixture
def stream() -> Iterator[StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    written = StringIO()
    log_as_json("executor", "INFO", StudyHash(b"k" * 32), written)
    yield written
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


def lines(stream: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_study_stands_in_the_log_by_its_hash_alone(stream: StringIO) -> None:
    logging.getLogger("pdl1es.gateway").info("a run is asked for", extra={"study": STUDY})
    (line,) = lines(stream)
    assert line["study"] == StudyHash(b"k" * 32).of(STUDY)
    assert line["message"] == "a run is asked for"
    assert str(line["time"]).endswith("+00:00")
    assert STUDY.study_instance_uid not in stream.getvalue()


@pytest.mark.parametrize("uid", ["2.25.1234567890123456789", "1.2.840.113619.2.55.3", "1.3.6.1.4.1.14519.5.2.1"])
@pytest.mark.parametrize("around", ["UID {}; absent", "{}", "'{}'.", "object_{}.dcm", "/studies/{}/x", "uid={},"])
def test_a_uid_in_any_message_is_replaced_by_its_hash(stream: StringIO, uid: str, around: str) -> None:
    logging.getLogger("dbos").error(around.format(uid))
    (line,) = lines(stream)
    assert line["message"] == around.format("#" + StudyHash(b"k" * 32).of_uid(uid))


def test_a_process_without_the_key_shows_no_uid_at_all() -> None:
    assert without_uids("UID 2.25.1234567890123456789 is absent", None) == "UID (not shown) is absent"


@pytest.mark.parametrize(
    "text",
    [
        "SOP class 1.2.840.10008.5.1.4.1.1.66.4 is not accepted",
        "127.0.0.1 and 1.10.100.200 are addresses",
        "model pdl1es 1.0.12, tried again in 0.5 s",
        "2026-11-27T05:54:28.123456+00:00",
    ],
)
def test_what_is_no_uid_of_an_object_stays(text: str) -> None:
    assert without_uids(text, StudyHash(b"k" * 32)) == text


def test_what_is_logged_about_a_study_names_it_though_the_line_does_not(stream: StringIO) -> None:
    with about_study(STUDY):
        logging.getLogger("pdl1es").error("NO_SEG: there is none")
    logging.getLogger("pdl1es").error("after it")
    first, second = lines(stream)
    assert first["study"] == StudyHash(b"k" * 32).of(STUDY)
    assert "study" not in second


def test_an_exception_is_told_by_kind_and_place_and_never_by_its_text(stream: StringIO) -> None:
    try:
        raise ValueError("PatientName Doe^Jane cannot be read")
    except ValueError:
        logging.getLogger("pdl1es.gateway").exception("looking at what arrived failed")
    (line,) = lines(stream)
    assert line["error"] == "ValueError"
    assert "test_logs.py" in str(line["places"])
    assert "Doe" not in stream.getvalue()


@pytest.mark.parametrize("library", ["pynetdicom", "pydicom", "dbos", "sqlalchemy.engine", "uvicorn.access"])
def test_a_library_says_nothing_below_a_warning(stream: StringIO, library: str) -> None:
    logging.getLogger(library).info("INSERT INTO studies VALUES ('Doe')")
    assert stream.getvalue() == ""


def test_what_pynetdicom_quotes_of_a_peer_is_not_logged_and_its_exceptions_are_one_line(stream: StringIO) -> None:
    library = logging.getLogger("pynetdicom.assoc")
    library.error("Association request failed: 'DOE_JANE' at 10.1.2.3")
    try:
        raise ValueError("Invalid value for VR UI: '1.2.3.Doe'")
    except ValueError as error:
        library.error("Exception in the handler bound to 'evt.EVT_C_STORE'")
        library.exception(error)
    (line,) = lines(stream)
    assert line["message"] == "an error within pynetdicom"
    assert line["error"] == "ValueError"
    assert line["places"]
    assert "Doe" not in stream.getvalue()


def test_a_warning_that_quotes_a_value_is_not_logged(stream: StringIO) -> None:
    warnings.warn("Invalid value for VR PN: 'Doe^Jane'", stacklevel=1)
    assert stream.getvalue() == ""


def test_the_hash_needs_the_key_and_tells_studies_apart() -> None:
    assert StudyHash(b"a" * 32).of(STUDY) != StudyHash(b"b" * 32).of(STUDY)
    assert StudyHash(b"a" * 32).of(STUDY) != StudyHash(b"a" * 32).of(StudyKey("1.2"))


def test_what_dbos_says_is_json_too(stream: StringIO) -> None:
    """DBOS sets its own logger up when it is launched, after the process has set up its log."""
    from dbos._logger import init_logger

    init_logger()
    logging.getLogger("dbos").warning("the database does not answer")
    (line,) = lines(stream)
    assert line["logger"] == "dbos"


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = read_log_key(tmp_path / "gateway")
    assert read_log_key(tmp_path / "gateway") == key
    assert len(key) == 32
    assert (tmp_path / "gateway" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "gateway").iterdir()] == [KEY_FILE]


def test_a_file_that_is_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(OSError, match="no key"):
        read_log_key(tmp_path)
