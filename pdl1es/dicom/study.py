"""A folder of files as one study: headers alone, read in parallel."""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError, data_set_start
from pdl1es.dicom.files import LET_READ, UnreadableFile, check_time, list_files, relative_path
from pdl1es.dicom.header import FIRST_CHUNK, FileHead, parse_header, read_head
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.plain_header import SharedElements
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES
from pdl1es.dicom.series import CT_SOP_CLASSES
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.errors import Refusal, RefusalCode

_READERS: Final = 8
_COMPARED: Final = CT_SOP_CLASSES | SEGMENTATION_SOP_CLASSES
_BATCH: Final = 256
"""Files that threads read ahead."""
_PORTION: Final = 8
_SLOW_SECONDS: Final = 0.002
"""Reading a file's first bytes takes 0.01 ms from the file cache, and milliseconds from a file server."""


@dataclass(frozen=True, slots=True, repr=False)
class Study:
    """What the input folder holds.

    Attributes
    ----------
    root
        The folder.
    instances
        Every DICOM object, in the order of their SOP Instance UIDs (so that file names change nothing).
    unreadable
        Files that were given up, with the reason.
    ignored_files
        Number of files that are not DICOM, or a DICOMDIR.
    copies
        CT and SEG objects of which several files have one SOP Instance UID and different bytes: all files of each, by
        path. The first is among ``instances``; `selection.copies` tells whether they are one image.
    """

    root: Path
    instances: tuple[Instance, ...]
    unreadable: tuple[UnreadableFile, ...] = ()
    ignored_files: int = 0
    copies: tuple[tuple[Instance, ...], ...] = ()

    def __repr__(self) -> str:
        """Count what is there: a folder's name can be a patient's."""
        return (
            f"<Study: {len(self.instances)} objects, {len(self.unreadable)} unreadable, {self.ignored_files} ignored>"
        )


def scan_study(root: Path, limits: ScanLimits | None = None) -> Study:
    """Read the headers of every DICOM object under a folder, whatever the files are called.

    Threads read the files where the storage is slow, because they wait for it together. Files in the disk cache are read
    one by one: handing them from thread to thread takes longer (500 CT headers: 0.12 s of processor time, with threads
    0.21 s). One thread parses them, because Python's own work gains nothing from more.

    A symbolic link to a folder is not followed. One to a file is followed where it stays inside ``root``, else the file
    is listed as unreadable. Where several files have one SOP Instance UID and their data sets are the same bytes, the
    file first by path stays. Where the bytes of a CT or SEG differ, it stays too, and all are kept as copies of it. Where
    those of another object differ, nothing says which file is meant, and all of them are given up.

    Parameters
    ----------
    root
        The study's folder.
    limits
        Size, depth and time that untrusted input is given.

    Returns
    -------
    Study

    Raises
    ------
    Refusal
        LIMIT_EXCEEDED: more files or bytes than the limits allow, or they took too long. INPUT_UNREADABLE: the folder is
        not there, or is gone while it is read.
    """
    limits = limits or ScanLimits()
    try:
        root = root.resolve()
    except RuntimeError:  # links that lead in a circle, before Python 3.13
        raise _no_folder() from None
    if not root.is_dir():
        raise _no_folder()
    deadline = time.monotonic() + limits.seconds
    files, unreadable, ignored = list_files(root, limits, deadline)

    found: dict[str, list[Instance]] = defaultdict(list)
    shared = SharedElements()
    with silenced_pydicom(), ThreadPoolExecutor(max_workers=_READERS) as readers:
        for path, head in _heads(files, readers):
            check_time(deadline)
            try:
                if isinstance(head, OSError):
                    raise UnreadableFileError("the file cannot be opened", LET_READ)
                instance = parse_header(path, head, limits, shared)
            except NotDicomError:
                ignored += 1
            except UnreadableFileError as error:
                unreadable.append(UnreadableFile(relative_path(path, root), error.reason, error.remedy))
            else:
                found[instance.sop_instance_uid].append(instance)

    if not root.is_dir():
        raise _no_folder()
    instances, copies = [], []
    for uid in sorted(found):
        same_uid = found[uid]
        if len(same_uid) > 1:
            check_time(deadline)
            different: dict[bytes, Instance] = {}
            for instance in same_uid:
                different.setdefault(_content_digest(instance), instance)
            if len(different) > 1 and any(i.sop_class_uid in _COMPARED for i in same_uid):
                copies.append(tuple(different.values()))
            elif len(different) > 1:
                reason = "another file has the same SOPInstanceUID (0008,0018) and different content"
                unreadable.extend(
                    UnreadableFile(relative_path(instance.path, root), reason, RefusalCode.COPIES_DIFFER.row.remedy)
                    for instance in same_uid
                )
                continue
        instances.append(same_uid[0])
    return Study(
        root=root,
        instances=tuple(instances),
        unreadable=tuple(sorted(unreadable, key=lambda file: (file.path, file.reason))),
        ignored_files=ignored,
        copies=tuple(copies),
    )


def _heads(files: Sequence[Path], readers: ThreadPoolExecutor) -> Iterator[tuple[Path, FileHead | OSError]]:
    """Yield files with their first bytes; several threads read from where reading turns out to be slow."""
    done = 0
    while done < len(files):
        portion = files[done : done + _PORTION]
        started = time.monotonic()
        heads = [read_head(path) for path in portion]
        slow = time.monotonic() - started > _SLOW_SECONDS * len(portion)
        yield from zip(portion, heads, strict=True)
        done += len(portion)
        if slow:
            break
    for start in range(done, len(files), _BATCH):
        batch = files[start : start + _BATCH]
        yield from zip(batch, readers.map(read_head, batch), strict=True)


def _no_folder() -> Refusal:
    return Refusal(RefusalCode.INPUT_UNREADABLE, "the study's folder is not there")


def _content_digest(instance: Instance) -> bytes:
    """Return the SHA-256 of transfer syntax and data set, because the File Meta Information of two copies may differ."""
    digest = hashlib.sha256(instance.transfer_syntax_uid.encode("utf-8", "replace"))
    try:
        with instance.path.open("rb") as file:
            head = file.read(FIRST_CHUNK)
            file.seek(data_set_start(head))
            while chunk := file.read(2**20):
                digest.update(chunk)
    except OSError:
        return os.fsencode(instance.path)
    return digest.digest()
