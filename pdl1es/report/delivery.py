"""A finished report as a file, and the output folder that takes a run's reports and its ``result.json``."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pdl1es.atomic import not_writable, sync_folder, write_synced
from pdl1es.regular_file import read_regular_file
from pdl1es.report.kinds import ReportKind
from pdl1es.report.result_schema import ReportFile, ResultDocument

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RESULT_FILE: Final = "result.json"
FHIR_FILE: Final = "fhir.json"
DEFAULT_MODE: Final = 0o640
"""Mode of a run's files: a report holds its patient's identity."""

_STAGING_PREFIX: Final = ".pdl1es-"
_ASIDE: Final = ".part"
"""Behind the name of a file that is not in its place yet, so that nobody takes it for a report."""
_FORMER: Final = "former"
_REPORT_NAME: Final = re.compile(r"[0-9.]+\.dcm")
_MAX_RESULT_BYTES: Final = 2**26


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
    """One run's output folder: every file comes into it whole, and all of them together.

    The files are written into a hidden folder within the output folder. Then, within milliseconds, what an earlier run
    left is moved out, the reports are renamed into their places, and ``result.json`` is renamed last. So ``result.json`` is the
    mark of completeness: where it lies, the reports that it names lie beside it, and no report of an earlier run.
    A process that is killed leaves the state of before, or no ``result.json``.
    """

    def __init__(self, folder: Path, *, mode: int = DEFAULT_MODE) -> None:
        self.folder = folder
        self.mode = mode
        self._staging: Path | None = None
        self._lock = -1
        self._staged: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Publish what was delivered, or withdraw it where an error, whichever it is, ends the block."""
        if error is not None:
            self.withdraw()
        elif self._staged:
            self.publish()

    def deliver(self, report: BuiltReport) -> ReportFile:
        """Write a report aside, and return how ``result.json`` names it.

        Raises
        ------
        pdl1es.errors.Refusal
            OUTPUT_NOT_WRITABLE.
        """
        self._stage(report.file_name, report.data)
        return report.file

    def deliver_document(self, name: str, content: bytes) -> str:
        """Write a document that is no DICOM object aside, and return its name.

        Parameters
        ----------
        name
            In the output folder.
        content
            The whole of it.

        Returns
        -------
        str

        Raises
        ------
        pdl1es.errors.Refusal
            OUTPUT_NOT_WRITABLE.
        """
        self._stage(name, content)
        return name

    def deliver_result(self, result: ResultDocument) -> Path:
        """Write ``result.json``, and bring it and the reports into their places.

        Raises
        ------
        pdl1es.errors.Refusal
            OUTPUT_NOT_WRITABLE.
        """
        self._stage(RESULT_FILE, result.text().encode("utf-8"))
        self.publish()
        return self.folder / RESULT_FILE

    def publish(self) -> None:
        """Bring what was delivered into its place, ``result.json`` last, and take away what an earlier run left.

        Raises
        ------
        pdl1es.errors.Refusal
            OUTPUT_NOT_WRITABLE: the earlier run's files stand again where they stood.
        """
        assert self._staging is not None  # something was delivered
        former = self._staging / _FORMER
        placed: list[str] = []
        name = RESULT_FILE
        try:
            former.mkdir()
            for name in (RESULT_FILE, *self._left_by_earlier_runs()):
                path = self.folder / name
                if path.is_file() or path.is_symlink():
                    path.rename(former / name)
                elif path.exists():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            for name in sorted(self._staged, key=lambda name: name == RESULT_FILE):
                (self._staging / f"{name}{_ASIDE}").rename(self.folder / name)
                placed.append(name)
            sync_folder(self.folder)
        except OSError as error:
            self._restore(former, placed)
            raise not_writable(self.folder / name, error) from error
        self._staged.clear()
        self.withdraw()

    def withdraw(self) -> None:
        """Take back what was delivered and not published: a run that fails later leaves nothing of it."""
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
        self._staging, self._lock = None, -1
        self._staged.clear()

    def _stage(self, name: str, data: bytes) -> None:
        try:
            if self._staging is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self.folder))
                self._lock = os.open(self._staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = self._staging / f"{name}{_ASIDE}"
            file.unlink(missing_ok=True)
            write_synced(file, data, self.mode)
        except OSError as error:
            raise not_writable(self.folder / name, error) from error
        if name not in self._staged:
            self._staged.append(name)

    def _left_by_earlier_runs(self) -> list[str]:
        """Return the reports that an earlier result names, and those of runs that were killed while they published."""
        names = _named_in(self.folder / RESULT_FILE)
        for folder in self.folder.glob(f"{_STAGING_PREFIX}*"):
            if folder != self._staging and _abandoned(folder):
                names += _named_in(folder / f"{RESULT_FILE}{_ASIDE}") + _named_in(folder / _FORMER / RESULT_FILE)
                shutil.rmtree(folder, ignore_errors=True)
        return list(dict.fromkeys(names))

    def _restore(self, former: Path, placed: list[str]) -> None:
        """Put the earlier run's files back, ``result.json`` last."""
        with contextlib.suppress(OSError):
            for name in placed:
                (self.folder / name).unlink(missing_ok=True)
            for file in sorted(former.iterdir(), key=lambda file: file.name == RESULT_FILE):
                file.rename(self.folder / file.name)


def _abandoned(folder: Path) -> bool:
    """Tell whether the run that made a hidden folder has ended: the operating system has released its lock."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _named_in(file: Path) -> list[str]:
    """Return the reports that a ``result.json`` names; none where it is no result of this software."""
    try:
        document = json.loads(read_regular_file(file, _MAX_RESULT_BYTES))
        names = [str(report["file"]) for report in document["reports"]]
        if document.get("fhir") == FHIR_FILE:
            names.append(FHIR_FILE)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    return [name for name in names if name == FHIR_FILE or _REPORT_NAME.fullmatch(name)]
