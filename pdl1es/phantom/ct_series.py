"""A scan of the phantom as a series of CT images."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from pdl1es.phantom.scanner import MODELS, Scan

NAMESPACE: Final = uuid.UUID("0c1f0a3a-6a0c-5b7e-9d6f-3f6a1d1e5a10")
IMPLEMENTATION_UID: Final = f"2.25.{uuid.uuid5(NAMESPACE, 'implementation').int}"
STORED_OFFSET: Final = -1024
"""Rescale Intercept; stored values are unsigned 16 bit."""
PATIENT_NAME: Final = "PHANTOM^CHEST"
STUDY_DATE: Final = "20250115"
STUDY_TIME: Final = "101500"
STUDY_DESCRIPTION: Final = "CT chest (synthetic phantom)"


def uid_of(*parts: object) -> str:
    """Return a UID (PS3.5 B.2, UUID derived) that depends on ``parts`` alone."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(str(part) for part in parts)).int}"


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """A fictitious patient.

    Attributes
    ----------
    patient_id, accession_number
        Patient ID and Accession Number.
    sex, age
        Patient's Sex (M, F, O) and Patient's Age (``062Y``).
    smoking
        Smoking Status (YES, NO, UNKNOWN); left out where None.
    """

    patient_id: str
    accession_number: str
    sex: str
    age: str
    smoking: str | None


@dataclass(frozen=True, slots=True, eq=False)
class WrittenCTSeries:
    """A series that was written.

    Attributes
    ----------
    paths, datasets
        One per slice, in the order of the scan's slices; the datasets hold no pixel data.
    """

    paths: tuple[Path, ...] = field(repr=False)
    datasets: tuple[Dataset, ...] = field(repr=False)


def write_ct_series(folder: Path, scan: Scan, *, key: str, patient: PatientRecord) -> WrittenCTSeries:
    """Write a series of CT Image Storage objects; the same arguments give the same bytes.

    Parameters
    ----------
    folder
        Where the files go; it is made.
    scan
        The scan that they show, with its equipment.
    key
        All UIDs derive from it.
    patient
        The patient of the study.

    Returns
    -------
    WrittenCTSeries
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, datasets = [], []
    for index in range(len(scan.hu)):
        ds = ct_image(scan, index, key=key, patient=patient)
        path = folder / f"CT{ds.InstanceNumber:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        del ds.PixelData
        paths.append(path)
        datasets.append(ds)
    return WrittenCTSeries(tuple(paths), tuple(datasets))


def ct_image(scan: Scan, index: int, *, key: str, patient: PatientRecord) -> Dataset:
    """Return one slice as a CT image (PS3.3 A.3) with its File Meta Information.

    Parameters
    ----------
    scan
        The scan.
    index
        Which slice, from the feet.
    key, patient
        As in `write_ct_series`.

    Returns
    -------
    Dataset
        With Pixel Data.
    """
    scanner = scan.scanner
    x, y, z = scan.origin
    position = _decimal(np.array([x, y, z + index * scan.spacing[2]]))
    ds = _study_part(patient, uid_of(key, "study"))
    ds.Manufacturer, ds.ManufacturerModelName = scanner.manufacturer, MODELS[scanner.manufacturer]
    ds.InstitutionName = "Phantom"
    ds.SoftwareVersions = "1"
    ds.KVP = f"{scanner.kvp:g}"
    ds.XRayTubeCurrent = round(scanner.tube_current_ma)
    ds.ConvolutionKernel = scanner.kernel
    ds.SliceThickness = f"{scanner.slice_thickness_mm:g}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    # The last part is always 0: it keeps the UIDs that were written before.
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, uid_of(key, "ct", index, 0)
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = STUDY_DATE
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = STUDY_TIME
    ds.Modality = "CT"
    ds.SeriesDescription = f"Thorax {scanner.slice_thickness_mm:g} mm {scanner.kernel}"
    ds.BodyPartExamined, ds.PatientPosition = "CHEST", "HFS"
    ds.GantryDetectorTilt = "0"
    ds.SeriesInstanceUID, ds.SeriesNumber = uid_of(key, "series", "ct"), 2
    ds.AcquisitionNumber, ds.InstanceNumber = 1, index + 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = position, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid_of(key, "frame"), ""
    ds.SliceLocation = position[2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.PixelSpacing = _decimal(np.array([scan.spacing[1], scan.spacing[0]]))
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.WindowCenter, ds.WindowWidth = [-600, 40], [1500, 400]
    ds.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = STORED_OFFSET, 1, "HU"
    ds.Rows, ds.Columns = scan.hu[index].shape
    ds.PixelData = stored_values(scan.hu[index])
    ds["PixelData"].VR = "OW"
    ds.file_meta = file_meta(ds.SOPClassUID, ds.SOPInstanceUID)
    return ds


def stored_values(hu: NDArray[np.int16]) -> bytes:
    """Return Hounsfield units as the bytes of unsigned 16-bit pixels above `STORED_OFFSET`."""
    return (hu.astype(np.int32) - STORED_OFFSET).astype("<u2").tobytes()


def file_meta(sop_class_uid: str, sop_instance_uid: str) -> FileMetaDataset:
    """Return the File Meta Information of an object that the phantom wrote, in Explicit VR Little Endian.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid
        Of the object.

    Returns
    -------
    FileMetaDataset
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "PDL1ES-PHANTOM"
    return meta


def _study_part(patient: PatientRecord, study_uid: str) -> Dataset:
    """Return the patient's and the study's attributes."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyDate, ds.StudyTime = STUDY_DATE, STUDY_TIME
    ds.AccessionNumber = patient.accession_number
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = STUDY_DESCRIPTION
    ds.PatientName, ds.PatientID = PATIENT_NAME, patient.patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", patient.sex, patient.age
    if patient.smoking:
        ds.SmokingStatus = patient.smoking
    ds.StudyInstanceUID, ds.StudyID = study_uid, "1"
    return ds


def _decimal(values: NDArray[np.floating[Any]]) -> list[float]:
    """Return numbers that fit a decimal string (16 characters); minus zero becomes zero."""
    return [float(f"{value:.9g}") + 0.0 for value in values]
