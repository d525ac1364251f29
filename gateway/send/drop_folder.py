"""A folder as a destination: each result becomes a folder of its own, which appears whole by one rename."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.clock import utc_now
from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import StoredResult
from gateway.send.destination import Confirmation, Receipt, checked_files, checked_objects, receipt_of
from gateway.send.settings import FolderDestination
from pdl1es.atomic import sync_folder, write_synced

_REPLACED: Final = ".replaced-"


class DropFolder:
    """A folder that results are put into.

    A result's folder has the first 32 digits of its digest as its name; one that begins with a dot is being written and is to be
    left alone.
    """

    def __init__(self, settings: FolderDestination) -> None:
        """Keep the settings; nothing is made before something is delivered."""
        self._settings = settings

    @property
    def name(self) -> str:
        """Its name in ``gateway.yaml``."""
        return self._settings.name

    def test(self) -> None:
        """Make the folder, and a file in it that is removed again.

        Raises
        ------
        PeerError
            ``NOT_WRITABLE``.
        """
        try:
            self._settings.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._settings.path):
                pass
        except OSError as error:
            raise _not_writable(error) from error

    def deliver(self, result: StoredResult, attempt: int) -> Receipt:
        """Put the set into the folder, whole: see `gateway.send.destination.Destination`.

        Parameters
        ----------
        result
            What is put there.
        attempt
            Which attempt it is.

        Returns
        -------
        Receipt

        Raises
        ------
        PeerError
            ``NOT_WRITABLE`` or ``RESULT_CHANGED``.
        """
        paths = checked_files(result)
        self.test()
        for replaced in self._settings.path.glob(
            f".*{_REPLACED}*"
        ):  # of an attempt that was killed, of whichever result
            shutil.rmtree(replaced, ignore_errors=True)
        place = self._place(result.digest)
        try:
            if not self._holds(place, result):
                self._write(place, result, paths)
        except OSError as error:
            raise _not_writable(error) from error
        return self._receipt(result, attempt, utc_now())

    def confirm(self, receipt: Receipt) -> Confirmation:
        """Say yes: the delivery synchronised the files to the disk and renamed their folder.

        What is taken out of the folder later is not missed: that is what it is for.
        """
        return Confirmation(True, by="file")

    def _place(self, digest: str) -> Path:
        return self._settings.path / digest[:32]

    def _receipt(self, result: StoredResult, attempt: int, when: datetime) -> Receipt:
        dicom = replace(result, files=tuple(file for file in result.files if file.sop_instance_uid))
        objects = checked_objects(dicom)
        return receipt_of(result, self.name, attempt=attempt, sent_at=when, objects=objects)

    @staticmethod
    def _holds(place: Path, result: StoredResult) -> bool:
        """Whether an attempt that was interrupted after its rename has delivered the set already."""
        if not place.is_dir():
            return False
        try:
            checked_files(replace(result, folder=place))
        except PeerError:
            return False
        return sorted(path.name for path in place.iterdir()) == sorted(file.name for file in result.files)

    def _write(self, place: Path, result: StoredResult, paths: tuple[Path, ...]) -> None:
        for abandoned in self._settings.path.glob(f".{place.name}.*"):  # of an attempt that was killed
            shutil.rmtree(abandoned)
        aside = self._settings.path / f".{place.name}.{uuid.uuid4().hex}"
        aside.mkdir(mode=self._settings.folder_mode)
        for path in paths:
            write_synced(aside / path.name, path.read_bytes(), self._settings.mode)
        sync_folder(aside)
        replaced = self._settings.path / f".{place.name}{_REPLACED}{uuid.uuid4().hex}"
        if place.is_dir():  # part of a set, or another: a rename replaces an empty folder alone
            place.rename(replaced)
        aside.rename(place)
        sync_folder(self._settings.path)
        shutil.rmtree(replaced, ignore_errors=True)  # what cannot be removed now is when something is written again


def _not_writable(error: OSError) -> PeerError:
    return PeerError(PeerFailure.NOT_WRITABLE, error.strerror or type(error).__name__)
