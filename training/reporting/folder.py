"""Checks whose report a folder holds, so that no other report is overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from training.errors import UsageError
from training.reporting.provenance import COHORT_DIGEST, MODEL, MODEL_DIGEST

REPORT_FILE: Final = "report.json"
_IDENTITY: Final = (MODEL, MODEL_DIGEST, COHORT_DIGEST)


class ReportFolderError(UsageError):
    """A report would overwrite another one; the message says what to do."""


class _ReportIdentity(BaseModel):
    """The parts of ``report.json`` by which a report is recognised."""

    title: str
    provenance: dict[str, str]


def require_own_folder(folder: Path, title: str, provenance: Mapping[str, str]) -> None:
    """Refuse a folder that holds another report: of another command, model or cohort.

    The same report may be written again, with other options too.

    Parameters
    ----------
    folder
        It need not be there.
    title, provenance
        Of the report that is to be written.

    Raises
    ------
    ReportFolderError
        It holds another one.
    """
    path = folder / REPORT_FILE
    if not path.is_file():
        return
    try:
        there = _ReportIdentity.model_validate_json(path.read_bytes())
    except ValueError:
        raise ReportFolderError(
            f"{path} is no report of this program and would be lost: choose another folder"
        ) from None
    if there.title != title:
        raise ReportFolderError(
            f"{folder} holds another report ({there.title!r}), which would be lost: choose another folder; "
            "`pdl1es report` writes expression and progression into one"
        )
    if any(there.provenance.get(name) != provenance.get(name) for name in _IDENTITY):
        raise ReportFolderError(
            f"{folder} holds the report of another model or cohort, which would be lost: choose another folder, or "
            "remove it"
        )
