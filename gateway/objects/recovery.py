"""What is done with what a crash, a power cut or a lost database left in the object store, before anything is received again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydicom.filereader import read_file_meta_info

from gateway.objects.errors import NotStorableError
from gateway.objects.identity import read_identity
from gateway.objects.reception import STUDIES_FOLDER
from gateway.objects.store import ASIDE_FOLDER, ObjectStore
from gateway.records import SourceKind, StoredObject, StudyKey

SUSPECT: Final = timedelta(minutes=5)
"""How far back from the newest object the digests are checked when a store is opened again: what a power cut interrupted."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found after a crash.

    Attributes
    ----------
    removed
        Files that nobody was told are safe, and that are gone now.
    taken_in
        Whole objects that the database did not know, and knows now.
    unknown
        Whole objects that the database does not know; they stay. Where they came from, which says where their results go, can
        not be told.
    """

    removed: int
    taken_in: int
    unknown: int


def recover_objects(store: ObjectStore, sources: Sequence[tuple[str, SourceKind]] = ()) -> Recovered:
    """Remove what crashes have left half, and take in what they have left whole.

    Half are half-received objects of processes that are gone, rows among the newest whose file does not hold their bytes, and files
    without a row that are damaged; no sender was told that they are safe. A whole file without a row is what a sender sent: a
    crash came between file and row, or the database was lost, or is an older one. It is taken in as an object of the source that
    the study's other objects came from, or of the only source.

    Call it before anything is received, when no other process receives into the folder.

    Parameters
    ----------
    store
        The object store.
    sources
        Name and kind of each source in ``gateway.yaml``.

    Returns
    -------
    Recovered

    Raises
    ------
    gateway.objects.errors.StoreUnavailableError, sqlalchemy.exc.SQLAlchemyError, OSError
        Disk or database do not take it now.
    """
    removed, taken_in, unknown = store.clear_abandoned(), 0, 0
    for stored in store.index.newest(SUSPECT):
        if store.digest_on_disk(store.path_of(stored)) != stored.sha256:
            store.withdraw(stored)
            removed += 1
    for place in (STUDIES_FOLDER, ASIDE_FOLDER):
        for folder in (store.folder / place).iterdir():
            study = StudyKey(folder.name)
            known = store.index.paths_of(study)
            for file in folder.iterdir():
                path = file.relative_to(store.folder)
                if path.as_posix() in known:
                    continue
                if store.digest_on_disk(file) != file.name.split(".")[-2]:
                    file.unlink(missing_ok=True)
                    removed += 1
                elif place == STUDIES_FOLDER and (found := _described(store, study, path, sources)) is not None:
                    store.take_in(found)
                    taken_in += 1
                else:
                    unknown += 1
            with contextlib.suppress(OSError):
                folder.rmdir()
    return Recovered(removed, taken_in, unknown)


def _described(
    store: ObjectStore, study: StudyKey, path: Path, sources: Sequence[tuple[str, SourceKind]]
) -> StoredObject | None:
    """Return what a whole file without a row is; None where its source cannot be told."""
    file = store.folder / path
    try:
        identity = read_identity(file, store.header_limits)
    except NotStorableError:
        return None
    others = store.objects_of(study)
    if others:
        source, title = others[0].source, others[0].calling_ae_title
    elif len(sources) == 1:
        ((source, kind),) = sources
        title = _written_title(file) if kind == "dimse" else ""
    else:
        return None
    status = file.stat()
    return StoredObject(
        sop_instance_uid=identity.sop_instance_uid,
        sop_class_uid=identity.sop_class_uid,
        series_instance_uid=identity.series_instance_uid,
        study_instance_uid=identity.study_instance_uid,
        transfer_syntax_uid=identity.transfer_syntax_uid,
        sha256=path.name.split(".")[-2],
        size=status.st_size,
        path=path,
        source=source,
        calling_ae_title=title,
        received_at=datetime.fromtimestamp(status.st_mtime, UTC),
    )


def _written_title(file: Path) -> str:
    """Return the calling AE title that was written to the File Meta Information on receipt (0002,0016)."""
    return str(read_file_meta_info(file).get("SourceApplicationEntityTitle", ""))[:16]
