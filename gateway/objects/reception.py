"""One object as it comes in, and the limits that it is held to."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.clock import utc_now
from gateway.objects.errors import (
    DamagedHeaderError,
    OtherObjectError,
    StoreUnavailableError,
    TooLargeError,
    unavailable,
)
from gateway.objects.identity import HEAD_BYTES, ObjectIdentity, may_say_more, read_identity, scan_identity
from gateway.objects.outcome import PutOutcome
from gateway.objects.space import SpaceGuard
from gateway.records import SourceKind, StoredObject
from pdl1es.dicom.limits import ScanLimits

STUDIES_FOLDER: Final = "studies"
"""Where the studies lie within the store's folder."""
_CHECK_ROOM_EVERY: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How much of untrusted input is stored.

    Attributes
    ----------
    max_object_bytes
        Size of one object.
    max_objects_of_study
        Objects of one study.
    reserve_bytes
        Room that is left free on the disk.
    """

    max_object_bytes: int = 4 * 2**30
    max_objects_of_study: int = 50_000
    reserve_bytes: int = 2 * 2**30


@dataclass(frozen=True, slots=True)
class ObjectOrigin:
    """Where an object comes from.

    Attributes
    ----------
    source
        Name of the source in ``gateway.yaml``.
    kind
        What the source is.
    calling_ae_title
        Of the association; empty where there is none.
    holder
        Under which name the study is in flight (`gateway.objects.in_flight`) once the object is stored; empty for none.
    """

    source: str
    kind: SourceKind
    calling_ae_title: str = ""
    holder: str = ""


class ReceptionStore(Protocol):
    """What a reception needs of its store."""

    limits: StoreLimits
    header_limits: ScanLimits
    space: SpaceGuard

    def commit(self, file: Path, descriptor: int, stored: StoredObject, holder: str) -> PutOutcome:
        """Give a file that was received whole its place, make it last, and add it to the index.

        Parameters
        ----------
        file
            Written, not synced.
        descriptor
            Of the file, open for writing.
        stored
            What it is, and its place.
        holder
            Under which name the study is in flight; empty for none.

        Returns
        -------
        Stored, Duplicate or Conflict

        Raises
        ------
        TooLargeError
            The study has as many objects as are taken.
        StoreUnavailableError
            The disk or the database does not take it now.
        """
        ...


class Reception:
    """One object as it comes in: its bytes go to a file aside, and their digest is taken on the way.

    Use it as a context: what was not completed leaves nothing.
    """

    def __init__(self, store: ReceptionStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._meta_bytes = 0
        self._size = 0
        self._checked = 0
        self._has_place = False
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise unavailable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove what was not completed."""
        self._close()
        if not self._has_place:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    @property
    def head(self) -> bytes:
        """The first bytes of the data set, as far as they came."""
        return bytes(self._head)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._size

    def write_meta(self, data: bytes) -> None:
        """Write preamble and File Meta Information: before anything else, and never part of the digest."""
        self._meta_bytes = len(data)
        self._write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes of the data set.

        Raises
        ------
        TooLargeError
            The object is larger than the limits allow.
        StoreUnavailableError
            The disk takes no more.
        """
        if self._size + len(data) > self._store.limits.max_object_bytes:
            raise TooLargeError("the object is larger than is taken")
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._digest.update(data)
        self._write(data)

    def identity(self, transfer_syntax_uid: str) -> ObjectIdentity | None:
        """Return the object's UIDs as far as they lie in its first bytes, or None."""
        return scan_identity(bytes(self._head), transfer_syntax_uid)

    def complete(
        self, transfer_syntax_uid: str | None, origin: ObjectOrigin, claimed: tuple[str, str] | None = None
    ) -> PutOutcome:
        """Store the object: it is safely on disk when this returns.

        Parameters
        ----------
        transfer_syntax_uid
            As it was negotiated; None where the File Meta Information says it.
        origin
            Where the object comes from.
        claimed
            SOP Class and SOP Instance UID that the sender said; None where it said none.

        Returns
        -------
        Stored, Duplicate or Conflict

        Raises
        ------
        OtherObjectError
            Its UIDs are not those that the sender said.
        NotStorableError
            It lacks a UID, its header is damaged, or its study has too many objects.
        StoreUnavailableError
            The disk or the database does not take it now.
        """
        identity = self._settled_identity(transfer_syntax_uid)
        if claimed not in (None, (identity.sop_class_uid, identity.sop_instance_uid)):
            raise OtherObjectError("the data set has other UIDs than the request")
        sha256 = self._digest.hexdigest()
        stored = StoredObject(
            sop_instance_uid=identity.sop_instance_uid,
            sop_class_uid=identity.sop_class_uid,
            series_instance_uid=identity.series_instance_uid,
            study_instance_uid=identity.study_instance_uid,
            transfer_syntax_uid=identity.transfer_syntax_uid,
            sha256=sha256,
            size=self._size,
            path=Path(STUDIES_FOLDER, identity.study_instance_uid, f"{identity.sop_instance_uid}.{sha256}.dcm"),
            source=origin.source,
            calling_ae_title=origin.calling_ae_title,
            received_at=utc_now(),
        )
        outcome = self._store.commit(self._path, self._descriptor, stored, origin.holder)
        self._has_place = True
        return outcome

    def _settled_identity(self, transfer_syntax_uid: str | None) -> ObjectIdentity:
        """Return the object's UIDs as the chain will read them."""
        found = self.identity(transfer_syntax_uid) if transfer_syntax_uid else None
        whole = self._size - self._meta_bytes <= len(self._head)
        if found is not None and not may_say_more(self.head, whole=whole):
            return found
        try:
            return read_identity(self._path, self._store.header_limits)
        except DamagedHeaderError:
            if found is None:
                raise
            return found  # the chain refuses its study, with the reason

    def _write(self, data: bytes | memoryview) -> None:
        try:
            if self._size - self._checked > _CHECK_ROOM_EVERY:
                self._checked = self._size
                if not self._store.space.has_room():
                    raise StoreUnavailableError("the disk is nearly full")
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise unavailable(error) from error
        self._size += len(data)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
