"""Small DICOM files, written by pydicom as the tests of reading need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def items(*datasets: dict[str, Any]) -> Sequence:
    """Return a sequence of items with these attributes."""
    result = []
    for attributes in datasets:
        item = Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        result.append(item)
    return Sequence(result)


def ct_dataset(uid: str = "1.2.3.1", *, rows: int = 8, columns: int = 6, **attributes: Any) -> Dataset:
    """Return a CT image whose stored values count up from 0; ``attributes`` replace, and None removes."""
    dataset = Dataset()
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": CT_IMAGE,
        "SOPInstanceUID": uid,
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.0",
        "FrameOfReferenceUID": "1.2.3.9",
        "PatientName": "Doe^Jane",
        "PatientID": "P1",
        "Modality": "CT",
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "PixelData": np.arange(rows * columns, dtype="<i2").tobytes(),
    }
    values.update(attributes)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def segmentation_dataset(
    masks: NDArray[Any], numbers: tuple[int, ...], uid: str = "1.2.3.2", **attributes: Any
) -> Dataset:
    """Return a binary SEG: ``masks`` of shape (frames, rows, columns), 2 mm apart; ``numbers`` is each frame's segment."""
    frames, rows, columns = masks.shape
    packed = np.packbits(masks.astype(bool).ravel(), bitorder="little").tobytes()
    values: dict[str, Any] = {
        "SOPClassUID": SEGMENTATION,
        "Modality": "SEG",
        "SeriesInstanceUID": "1.2.3.7",
        "NumberOfFrames": frames,
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "PixelRepresentation": 0,
        "RescaleIntercept": None,
        "RescaleSlope": None,
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
        "SegmentationType": "BINARY",
        "SegmentSequence": items(*({"SegmentNumber": n, "SegmentLabel": f"S{n}"} for n in sorted(set(numbers)))),
        "SharedFunctionalGroupsSequence": items(
            {
                "PlaneOrientationSequence": items({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}),
                "PixelMeasuresSequence": items({"PixelSpacing": [1, 1]}),
            }
        ),
        "PerFrameFunctionalGroupsSequence": items(
            *(
                {
                    "PlanePositionSequence": items({"ImagePositionPatient": [0, 0, 2 * index]}),
                    "SegmentIdentificationSequence": items({"ReferencedSegmentNumber": number}),
                }
                for index, number in enumerate(numbers)
            )
        ),
        "PixelData": packed + b"\0" * (len(packed) % 2),
    }
    values.update(attributes)
    return ct_dataset(uid, rows=rows, columns=columns, **values)


def write(path: Path, dataset: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a DICOM file; where ``PixelData`` is a list of frames, they are encapsulated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    if UID(transfer_syntax).is_transfer_syntax:
        dataset.save_as(path, enforce_file_format=True)
    else:  # one that pydicom does not know yet
        dataset.preamble = bytes(128)
        dataset.save_as(path, implicit_vr=False, little_endian=True, force_encoding=True)
    return path


def write_bare(path: Path, dataset: Dataset, *, implicit: bool) -> Path:
    """Write a data set without preamble and File Meta Information."""
    dataset.save_as(path, implicit_vr=implicit, little_endian=True)
    return path


def encapsulated(dataset: Dataset, frames: list[bytes]) -> Dataset:
    """Put compressed frames into a data set."""
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset
