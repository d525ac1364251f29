"""A finished report as a file, and the output folder that takes a run's reports and its ``result.json``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pdl1es.atomic import write_atomically
from pdl1es.errors import Refusal
from pdl1es.report.kinds import ReportKind
from pdl1es.report.result_schema import ReportFile, ResultDocument

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RESULT_FILE: Final = "result.json"


@dataclass(frozen=True)
class BuiltReport:
    """One DICOM object, ready to be written.

    Attributes
    ----------
    kind
        ``sr``, ``cam`` or ``pdf``; the report of a refusal is an ``sr``.
    dataset
        The whole object, with file meta information.
    """

    kind: ReportKind
    dataset: Dataset

    @property
    def sop_instance_uid(self) -> str:
        """Follows from the object's content: another content has another one."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def file_name(self) -> str:
        """``<SOP Instance UID>.dcm``."""
        return f"{self.sop_instance_uid}.dcm"

    @cached_property
    def data(self) -> bytes:
        """The object as a DICOM file (PS3.10)."""
        from pdl1es.report.study_context import encode

        return encode(self.dataset)

    @property
    def file(self) -> ReportFile:
        """How ``result.json`` names it."""
        return ReportFile(kind=self.kind, file=self.file_name, sop_instance_uid=self.sop_instance_uid)

    def __repr__(self) -> str:
        return f"BuiltReport({self.kind!r}, {self.file_name!r})"


class Delivery:
    """One run's output folder: every file is written whole or not at all, and the reports can be withdrawn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: dict[Path, bytes | None] = {}
        """Reports by path, with what stood there before; None where nothing did."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Withdraw the reports where an error, whichever it is, ends the block."""
        if error is not None:
            self.withdraw()

    def deliver(self, report: BuiltReport) -> ReportFile:
        """Write a report and return how ``result.json`` names it.

        Raises
        ------
        pdl1es.errors.Refusal
            OUTPUT_NOT_WRITABLE.
        """
        path = self.folder / report.file_name
        earlier = path.read_bytes() if path.is_file() else None
        write_atomically(path, report.data)
        self._written.setdefault(path, earlier)
        return report.file

    def deliver_result(self, result: ResultDocument) -> Path:
        """Write ``result.json``; it comes last, so that it is there only where the reports are that it names.

        Raises
        ------
        pdl1es.errors.Refusal
            OUTPUT_NOT_WRITABLE.
        """
        path = self.folder / RESULT_FILE
        write_atomically(path, result.text().encode("utf-8"))
        return path

    def withdraw(self) -> None:
        """Take the reports back: a run that fails later must not leave one that looks like its outcome.

        A report of an earlier run that had the same name stands again where it stood.
        """
        for path, earlier in self._written.items():
            if earlier is None:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            else:
                with contextlib.suppress(Refusal):
                    write_atomically(path, earlier)
        self._written.clear()
