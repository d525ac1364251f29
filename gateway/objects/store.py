"""The object store: objects as files, byte for byte as they came, and an index of them in the database.

An object is written aside (``incoming/``) and renamed to ``studies/STUDY/SOP_INSTANCE.SHA256.dcm``. Then file, folder and the index's row are
made to last at the same time, in three threads: one after another each would wait for a write to the disk of its own (7 ms against 2 ms,
measured on ext4). When all three have returned the object is stored, and not before. The file's name holds the digest of its bytes, so
that two objects that claim one UID never overwrite each other, whichever process receives them. What a crash leaves is a file without
a row, or, after a power cut, a row without its bytes; no sender was told that these are safe. `gateway.objects.recovery` sees to them.

A file is locked until it is known whether it lasts. Who receives the same object again, or removes its study, waits for that.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.objects.errors import NotStorableError, StoreUnavailableError, TooLargeError, unavailable
from gateway.objects.group_commit import GroupCommit
from gateway.objects.index import ObjectIndex
from gateway.objects.locks import can_last, held_file, is_abandoned, lock_new_file
from gateway.objects.outcome import Conflict, Duplicate, PutOutcome, Stored
from gateway.objects.reception import STUDIES_FOLDER, ObjectOrigin, Reception, ReceptionStore, StoreLimits
from gateway.objects.space import SpaceGuard
from gateway.records import StoredObject, StudyKey
from pdl1es.atomic import sync_folder
from pdl1es.dicom.file_format import data_set_start, looks_like_dicom
from pdl1es.dicom.limits import ScanLimits

_INCOMING: Final = "incoming"
ASIDE_FOLDER: Final = "aside"
"""Where objects lie that came under the UID of another one."""
_CHUNK: Final = 2**20
SYNC_THREADS: Final = 32
"""Files and folders that are synced at the same time: the file system makes one journal entry of what waits together."""
_LONGEST_META: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Received:
    """A file that was received whole and is in its place, the folders that this changed, and what is in flight."""

    stored: StoredObject
    folders: frozenset[Path]
    holder: str


class ReadableStream(Protocol):
    """Gives bytes once, as a file that is open for reading does."""

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, less only at the end."""
        ...


class ObjectStore(ReceptionStore):
    """Objects on disk.

    Several processes may use one folder and one database. Each makes a store of its own.

    Parameters
    ----------
    folder
        It is made where it is missing. All of it lies on one file system.
    engine
        The gateway's database, with its tables (`gateway.database.create_tables`).
    limits
        How much is stored.
    """

    def __init__(self, folder: Path, engine: Engine, limits: StoreLimits | None = None) -> None:
        self.folder = folder
        self.limits = limits or StoreLimits()
        self.index = ObjectIndex(engine)
        for name in (_INCOMING, STUDIES_FOLDER, ASIDE_FOLDER):
            (folder / name).mkdir(parents=True, exist_ok=True)
        sync_folder(folder)
        self.space = SpaceGuard(folder, self.limits.reserve_bytes)
        self._incoming = folder / _INCOMING / f"{os.getpid()}-{secrets.token_hex(4)}"
        beginning = self._incoming.with_name(f".{self._incoming.name}")
        beginning.mkdir()
        self._lock = lock_new_file(beginning / ".lock")
        beginning.rename(self._incoming)  # nobody sees it unlocked, and takes it for abandoned
        self._syncing = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        self.header_limits = ScanLimits(max_file_bytes=self.limits.max_object_bytes)
        self._group: GroupCommit[_Received, PutOutcome | None] = GroupCommit(self._commit)
        self.clear_abandoned()  # a process that was started anew alone finds what its predecessor left

    def close(self) -> None:
        """Remove what is half received. The store takes nothing any more."""
        self._syncing.shutdown()
        shutil.rmtree(self._incoming, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self) -> Reception:
        """Begin to take an object.

        Returns
        -------
        Reception
            Takes its bytes.

        Raises
        ------
        StoreUnavailableError
            There is no room, or no file can be made.
        """
        if not self.space.has_room():
            raise StoreUnavailableError("the disk is nearly full")
        return Reception(self, self._incoming / secrets.token_hex(8))

    def put(self, stream: ReadableStream, origin: ObjectOrigin) -> PutOutcome:
        """Store a file with File Meta Information as it is.

        Parameters
        ----------
        stream
            Gives the file's bytes.
        origin
            Where it comes from.

        Returns
        -------
        Stored, Duplicate or Conflict
            It is on disk, or was.

        Raises
        ------
        NotStorableError
            It is no DICOM object, lacks a UID, or is too large.
        StoreUnavailableError
            The disk or the database does not take it now.
        """
        with self.begin() as reception:
            head = stream.read(_LONGEST_META)
            if not looks_like_dicom(head):
                raise NotStorableError("it is no DICOM object")
            start = data_set_start(head)
            if start >= len(head):
                raise NotStorableError("its File Meta Information is malformed")
            reception.write_meta(head[:start])
            reception.write(head[start:])
            while chunk := stream.read(_CHUNK):
                reception.write(chunk)
            return reception.complete(None, origin)

    def path_of(self, stored: StoredObject) -> Path:
        """Return where an object's file lies."""
        return self.folder / stored.path

    def study_folder(self, study: StudyKey) -> Path:
        """Return where a study's objects lie; a file that is not in the index yet may lie there too."""
        return self.folder / STUDIES_FOLDER / study.study_instance_uid

    def objects_of(self, study: StudyKey) -> tuple[StoredObject, ...]:
        """Return a study's objects in the order of their SOP Instance UIDs."""
        return self.index.objects_of(study)

    def commit(self, file: Path, descriptor: int, stored: StoredObject, holder: str) -> PutOutcome:
        """Give a file that was received whole its place, make it last, and add it to the index."""
        try:
            # Until the reception closes it: who brings the same object meanwhile waits for what becomes of this one.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            while not (folders := self._place(file, stored.path)):
                if (outcome := self._again(file, descriptor, stored, holder)) is not None:
                    return outcome
            synced = self._syncing.submit(os.fsync, descriptor)
        except OSError as error:
            raise unavailable(error) from error
        try:
            return self._handed_in(_Received(stored, frozenset(folders), holder))
        finally:
            # Where the database failed alone, the file stays: it is whole.
            try:
                synced.result()
            except OSError as error:
                self.withdraw(stored)
                raise unavailable(error) from error

    def _again(self, file: Path, descriptor: int, stored: StoredObject, holder: str) -> PutOutcome | None:
        """Store an object whose bytes are in their place already; None where they are gone when whoever put them there is done.

        What is safe is not replaced. What the index does not know, or what cannot be made to last, is: by this reception's own
        bytes, which are on the disk before. An fsync after one that failed says nothing of the bytes that were lost (fsync(2)).
        """
        path = self.path_of(stored)
        with held_file(path, fcntl.LOCK_SH) as there:
            if there is None:
                return None
            folder = path.parent
            if self.index.knows(stored.path) and can_last(there):
                file.unlink()
            else:
                os.fsync(descriptor)
                file.replace(path)
            return self._handed_in(_Received(stored, frozenset({folder}), holder))

    def _handed_in(self, received: _Received) -> PutOutcome:
        """Return what became of a file in its place; one that its study has no room for is removed again."""
        outcome = self._group.submit(received)
        if outcome is None:
            with contextlib.suppress(OSError):
                self.path_of(received.stored).unlink(missing_ok=True)
            raise TooLargeError("the study has more objects than are taken")
        return outcome

    def take_in(self, stored: StoredObject) -> PutOutcome:
        """Add a whole file that lies in its place and that the index does not know, also beyond the limit: a sender may know it as safe.

        Parameters
        ----------
        stored
            What it is.

        Returns
        -------
        Stored, Duplicate or Conflict

        Raises
        ------
        StoreUnavailableError
            The disk or the database does not take it now.
        """
        path = self.path_of(stored)
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise unavailable(error) from error
        (outcome,) = self._commit([_Received(stored, frozenset({path.parent}), "")], limited=False)
        assert outcome is not None
        return outcome

    def link_into(self, folder: Path, objects: Iterable[StoredObject]) -> None:
        """Give objects a second name in a folder, for a run: no byte is copied, and what arrives later does not appear there.

        Parameters
        ----------
        folder
            On the same file system; it is made where it is missing.
        objects
            Which; each file is called ``SOP_INSTANCE.dcm``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for stored in objects:
            target = folder / f"{stored.sop_instance_uid}.dcm"
            with contextlib.suppress(FileExistsError):
                target.hardlink_to(self.path_of(stored))

    def purge(self, study: StudyKey) -> int:
        """Remove a study: its rows, then its files.

        Parameters
        ----------
        study
            Which.

        Returns
        -------
        int
            How many objects it had.
        """
        removed, paths = self.index.forget(study)
        for path in paths:
            # Who sends an object again meanwhile finds its file whole, or gone.
            with held_file(self.folder / path, fcntl.LOCK_EX) as there:
                if there is not None and not self.index.knows(Path(path)):
                    (self.folder / path).unlink()
        for name in (STUDIES_FOLDER, ASIDE_FOLDER):
            with contextlib.suppress(OSError):  # it is not there, or something arrived
                (self.folder / name / study.study_instance_uid).rmdir()
        return removed

    def clear_abandoned(self) -> int:
        """Remove what processes that are gone have half received. Others may receive meanwhile: a lock says which process lives.

        Returns
        -------
        int
            How many files were removed.
        """
        half = 0
        for folder in (self.folder / _INCOMING).iterdir():
            if folder != self._incoming and folder.name[0] != "." and is_abandoned(folder / ".lock"):
                half += sum(1 for file in folder.iterdir() if file.name != ".lock")
                shutil.rmtree(folder, ignore_errors=True)
        return half

    def digest_on_disk(self, path: Path) -> str:
        """Return the digest of a file's data set as it is on disk; empty where it cannot be read."""
        try:
            with path.open("rb") as file:
                start = data_set_start(file.read(_LONGEST_META))
                file.seek(start)
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    def missing_files(self) -> Iterator[StoredObject]:
        """Give the objects whose file is not there or has another size: a store that was tampered with, or a failing disk."""
        for stored in self.index.every_object():
            try:
                intact = self.path_of(stored).stat().st_size == stored.size
            except OSError:
                intact = False
            if not intact:
                yield stored

    def _commit(self, group: Sequence[_Received], *, limited: bool = True) -> list[PutOutcome | None]:
        """Sync the folders and commit the rows of files that are in their places: one transaction for the group.

        None is what a study has no room for.
        """
        most = self.limits.max_objects_of_study if limited else None
        objects = [received.stored for received in group]
        holders = {(held.holder, held.stored.study) for held in group if held.holder}
        folders = {folder for received in group for folder in received.folders}
        try:
            synced = [self._syncing.submit(sync_folder, folder) for folder in sorted(folders)]
            try:
                outcomes: list[PutOutcome | None] = [Stored(stored) for stored in objects]
                if not self.index.add(objects, holders, most):
                    firsts = self.index.add_each(objects, holders, most)
                    outcomes = [self._compared(stored, firsts.get(stored.sop_instance_uid)) for stored in objects]
            finally:
                wait(synced)
            for done in synced:
                done.result()
        except OSError as error:
            raise unavailable(error) from error
        except SQLAlchemyError as error:
            raise StoreUnavailableError("the database does not answer") from error
        return outcomes

    def withdraw(self, stored: StoredObject) -> None:
        """Take back what could not be made to last; no sender was told that it is safe.

        Parameters
        ----------
        stored
            What it is. Its file is locked, or nobody receives.
        """
        with contextlib.suppress(
            SQLAlchemyError
        ):  # a row without its file is one of a duplicate when the object comes again
            self.index.withdraw(stored)
        with contextlib.suppress(OSError):
            self.path_of(stored).unlink(missing_ok=True)

    def _compared(self, stored: StoredObject, first: StoredObject | None) -> PutOutcome | None:
        """Tell what an object is whose UID was in the index, and keep it aside where its bytes are others."""
        if first is None:
            return None
        if first == stored:
            return Stored(stored)
        if first.sha256 == stored.sha256:
            if first.path != stored.path:  # it named another study, and yet is the same
                (self.folder / stored.path).unlink(missing_ok=True)
            return Duplicate(first)
        aside = replace(stored, path=Path(ASIDE_FOLDER, *stored.path.parts[1:]))
        for folder in sorted(self._place(self.path_of(stored), aside.path)):
            sync_folder(folder)
        self.path_of(stored).unlink(missing_ok=True)
        self.index.add_conflict(aside)
        return Conflict(first, aside.path)

    def _place(self, file: Path, path: Path) -> set[Path]:
        """Give a file its name alone, and return the folders that changed: none where a file has that name; both stay then."""
        target = self.folder / path
        changed = {target.parent}
        try:
            try:
                target.hardlink_to(file)
            except FileNotFoundError:  # the study's first object
                target.parent.mkdir(exist_ok=True)
                changed.add(target.parent.parent)
                target.hardlink_to(file)
        except FileExistsError:
            return set()
        file.unlink()
        return changed
