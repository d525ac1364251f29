"""Stored results of small DICOM objects, for destinations to take."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from gateway.records import ResultFile, StoredResult, StudyKey

SOP_CLASSES = {"sr": ComprehensiveSRStorage, "cam": SecondaryCaptureImageStorage, "pdf": EncapsulatedPDFStorage}


def dicom_file(kind: str, study_uid: str, seed: str, size: int = 2000) -> tuple[str, bytes]:
    """The SOP Instance UID and the bytes of a small object of that kind."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[kind]
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[seed, kind])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[seed, kind, "series"])
    dataset.PatientID = "SYNTHETIC-1"
    dataset.PatientName = "Phantom^Synthetic"
    dataset.StudyDate = "20260201"
    dataset.StudyTime = ""
    dataset.AccessionNumber = "A1"
    dataset.StudyID = ""
    dataset.Modality = {"sr": "SR", "cam": "OT", "pdf": "DOC"}[kind]
    dataset.SeriesNumber = 9601
    dataset.InstanceNumber = 1
    dataset.add_new((0x0009, 0x0010), "LO", "PDL1ES TEST")
    dataset.add_new((0x0009, 0x1001), "OB", b"\x5a" * size)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return str(dataset.SOPInstanceUID), stream.getvalue()


def stored_result(folder: Path, *kinds: str, seed: str = "1", size: int = 2000) -> StoredResult:
    """A result of such objects, and `result.json` if asked for, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    study_uid = generate_uid(entropy_srcs=[seed, "study"])
    files = []
    for kind in kinds:
        uid, data = ("", b"{}\n") if kind == "json" else dicom_file(kind, study_uid, seed, size)
        name = "result.json" if kind == "json" else f"{uid}.dcm"
        (folder / name).write_bytes(data)
        files.append(ResultFile(name, uid, hashlib.sha256(data).hexdigest(), kind))
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return StoredResult(StudyKey(study_uid), digest, folder, tuple(files), "", 0.5, "")


def without(result: StoredResult, *kinds: str) -> StoredResult:
    """The result without its files of these kinds."""
    return replace(result, files=tuple(file for file in result.files if file.kind not in kinds))
