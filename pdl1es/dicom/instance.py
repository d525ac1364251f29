"""One DICOM object, known by its header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True, repr=False)
class Instance:
    """One DICOM file, by its header.

    Attributes
    ----------
    path
        Where the file lies.
    header
        The elements before Pixel Data that this project reads (`HEADER_KEYWORDS`), with ``file_meta``. Private elements
        are left out. Every element is converted and has the kind of value that the data dictionary gives it, so that
        reading one raises nothing.
    pixel_data_offset
        Where the Pixel Data element starts: bytes from the beginning of the file, or of the inflated data set where
        that is deflated; None where there is none, or it has not been looked for.
    malformed
        Keywords of the elements that were left out because their bytes break DICOM's rules.
    """

    path: Path
    header: Dataset
    pixel_data_offset: int | None = None
    malformed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Name the object by its UID: its path and its header can hold a patient's name."""
        return f"<Instance {self.sop_instance_uid}>"

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID, empty where it is absent."""
        return str(self.header.get("SOPClassUID", ""))

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID, empty where it is absent."""
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID, empty where it is absent."""
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def study_instance_uid(self) -> str:
        """Study Instance UID, empty where it is absent."""
        return str(self.header.get("StudyInstanceUID", ""))

    @property
    def frame_of_reference_uid(self) -> str:
        """Frame of Reference UID, empty where it is absent."""
        return str(self.header.get("FrameOfReferenceUID", ""))

    @property
    def transfer_syntax_uid(self) -> str:
        """UID of the transfer syntax; where the file does not say it, the one its bytes show; else empty."""
        meta = getattr(self.header, "file_meta", None)
        return str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
