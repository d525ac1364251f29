"""Small DICOM files for the gateway's tests, written by pydicom."""

from __future__ import annotations

import io
import warnings
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid


def made_object(
    sop_instance_uid: str | None = None,
    *,
    study: str = "1.2.3",
    series: str = "1.2.3.1",
    sop_class: str = CTImageStorage,
    pixels: int = 2048,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **elements: Any,
) -> bytes:
    """A file with the UIDs given and some bytes of pixel data."""
    with warnings.catch_warnings():  # of UIDs that are none
        warnings.simplefilter("ignore")
        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID = sop_class, sop_instance_uid or generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    made.PatientName, made.PatientID, made.Modality = "Secret^Name", "SECRET-ID", "CT"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.Rows, made.Columns, made.BitsAllocated = 16, pixels // 32, 16
    made.PixelData = bytes(index % 251 for index in range(pixels))
    made["PixelData"].VR = "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
