"""Logs without a patient in them: JSON, one line a record; a study, and every other UID, stands there by a keyed hash.

The key lies in the gateway's folder and nowhere else. So the lines of one study can be found by whoever may look into that folder
(``pdl1es gateway show`` prints the hash), and by nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import os
import re
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from gateway.records import StudyKey

KEY_FILE: Final = "study-hash.key"
_KEY_BYTES: Final = 32
_LIBRARIES: Final = {
    "dbos": logging.WARNING,
    "pydicom": logging.CRITICAL,
    "pynetdicom": logging.ERROR,
    "highdicom": logging.WARNING,
    "httpx": logging.WARNING,
    "urllib3": logging.WARNING,
    "dicomweb_client": logging.WARNING,
    "py.warnings": logging.CRITICAL,
    "uvicorn": logging.WARNING,
    "sqlalchemy": logging.WARNING,
}
"""What libraries may say: below that they quote headers, addresses and statements."""
_DOTTED: Final = re.compile(r"(?<!\d)(?<!\d\.)[012](?:\.\d+){2,}")
_SHORTEST_UID: Final = 9
"""Below that, a number with two dots is a version."""
_DICOM_ROOT: Final = "1.2.840.10008."
"""Under it lie the UIDs that the standard defines: SOP classes and transfer syntaxes, which name no object."""
_ABOUT: Final[ContextVar[StudyKey | None]] = ContextVar("about", default=None)
_QUOTES: Final = "pynetdicom"
"""A library that quotes what a peer sent, in errors too; what came of an association the gateway says in its own words."""


class StudyHash:
    """Names a study in logs.

    Parameters
    ----------
    key
        Secret of this gateway.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, study: StudyKey) -> str:
        """Return 16 hexadecimal digits, always the same for one study."""
        return self.of_uid(study.study_instance_uid)

    def of_uid(self, uid: str) -> str:
        """Return 16 hexadecimal digits, always the same for one UID."""
        return hmac.new(self._key, uid.encode("ascii", "replace"), hashlib.sha256).hexdigest()[:16]


@contextmanager
def about_study(study: StudyKey) -> Iterator[None]:
    """Let everything that is logged within name this study, where a line names none itself."""
    token = _ABOUT.set(study)
    try:
        yield
    finally:
        _ABOUT.reset(token)


def without_uids(text: str, study_hash: StudyHash | None) -> str:
    """Return a text in which no UID of an object stands.

    Parameters
    ----------
    text
        Of a log line.
    study_hash
        Gives what stands in a UID's place; None where it is left out.

    Returns
    -------
    str
        With the standard's own UIDs, versions and addresses as they were.
    """

    def shown(match: re.Match[str]) -> str:
        found = match.group()
        if len(found) < _SHORTEST_UID or found.startswith(_DICOM_ROOT) or _is_address(found):
            return found
        return "(not shown)" if study_hash is None else f"#{study_hash.of_uid(found)}"

    return _DOTTED.sub(shown, text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def read_log_key(folder: Path) -> bytes:
    """Return the gateway's key; made where there is none.

    Parameters
    ----------
    folder
        The gateway's.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        It can neither be read nor made.
    """
    file = folder / KEY_FILE
    for _ in range(2):
        try:
            key = file.read_bytes()
            if len(key) == _KEY_BYTES:
                return key
            raise OSError(f"{file} is no key of a gateway; remove it, and a new one is made")
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f".{KEY_FILE}-{secrets.token_hex(8)}"
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
            try:
                file.hardlink_to(aside)  # the first process's key stays
            except FileExistsError:
                pass
            finally:
                aside.unlink()
    return file.read_bytes()


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON.

    Parameters
    ----------
    process
        Name of the process.
    study_hash
        Names studies; None for a process that knows of none.
    """

    def __init__(self, process: str, study_hash: StudyHash | None) -> None:
        super().__init__()
        self._process = process
        self._hash = study_hash

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; of an exception kind and places, never its text, which may quote a header."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": without_uids(_message(record), self._hash),
        }
        study = getattr(record, "study", None) or _ABOUT.get()
        if self._hash is not None and isinstance(study, StudyKey):
            line["study"] = self._hash.of(study)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["places"] = [
                f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=True)


def _is_quoting(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == _QUOTES


def _message(record: logging.LogRecord) -> str:
    return f"an error within {_QUOTES}" if _is_quoting(record) else record.getMessage()


def _is_told(record: logging.LogRecord) -> bool:
    """Tell whether a line is written: of the library that quotes, for an exception alone, which is nobody else's to tell."""
    return not _is_quoting(record) or bool(record.exc_info)


def log_as_json(process: str, level: str, study_hash: StudyHash | None, stream: TextIO | None = None) -> None:
    """Let this process log JSON lines.

    Parameters
    ----------
    process
        Its name.
    level
        The least that is logged.
    study_hash
        Names studies; None for a process that knows of none.
    stream
        Where to; standard error where it is left out.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(process, study_hash))
    handler.addFilter(_is_told)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name, least in _LIBRARIES.items():
        library = logging.getLogger(name)
        # One that does nothing: DBOS gives its logger a handler of its own, which writes no JSON, where it has none.
        library.handlers[:] = [logging.NullHandler()]
        library.propagate = True
        library.setLevel(least)
