"""A folder of files as one study: headers alone, read in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM file, by its header.

    Attributes
    ----------
    path
        Where the file lies.
    header
        The elements before Pixel Data that this project reads, with ``file_meta``.
    """

    path: Path
    header: Dataset

    @property
    def sop_class_uid(self) -> str:
        return str(self.header.get("SOPClassUID", ""))

    @property
    def sop_instance_uid(self) -> str:
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def series_instance_uid(self) -> str:
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def study_instance_uid(self) -> str:
        return str(self.header.get("StudyInstanceUID", ""))

    @property
    def frame_of_reference_uid(self) -> str:
        return str(self.header.get("FrameOfReferenceUID", ""))


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that looks like DICOM and could not be read: it costs itself, never the study.

    Attributes
    ----------
    path
        Relative to the study's folder.
    reason
        Why, without any value of the file.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
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
    ignored
        Number of files that are not DICOM.
    """

    root: Path
    instances: tuple[Instance, ...]
    unreadable: tuple[UnreadableFile, ...] = ()
    ignored: int = 0
