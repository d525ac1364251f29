"""Write CT images as files: a plain series, and the same content in the ways that other scanners and PACS store it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from scipy import ndimage

from pdl1es.phantom.scanner import MODELS, Scan, ScannerParameters

NAMESPACE: Final = uuid.UUID("0c1f0a3a-6a0c-5b7e-9d6f-3f6a1d1e5a10")
IMPLEMENTATION_UID: Final = f"2.25.{uuid.uuid5(NAMESPACE, 'implementation').int}"
STORED_OFFSET: Final = -1024
"""Rescale Intercept; stored values are unsigned 16 bit."""

Arrangement = Literal["head_last", "head_first", "shuffled"]


def uid_of(*parts: object) -> str:
    """Return a UID (PS3.5 B.2, UUID derived) that depends on ``parts`` alone."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(str(part) for part in parts)).int}"


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """A fictitious patient and the study's own attributes; None or an empty text leaves an attribute empty or out.

    Attributes
    ----------
    name, patient_id, sex, age, smoking
        Patient's Name, Patient ID, Patient's Sex (M, F, O), Patient's Age (``062Y``), Smoking Status (YES, NO, UNKNOWN).
    character_set
        Specific Character Set: ``ISO_IR 100``, ``ISO_IR 192``, ``GB18030``, or several values for Japanese.
    study_date, study_time, accession_number, study_description
        Of the study.
    """

    name: str = "PHANTOM^CHEST"
    patient_id: str = "PHANTOM-0"
    sex: str = "M"
    age: str | None = "062Y"
    smoking: str | None = "YES"
    character_set: str | tuple[str, ...] = "ISO_IR 100"
    study_date: str = "20250115"
    study_time: str = "101500"
    accession_number: str = "PHANTOM"
    study_description: str = "CT chest (synthetic phantom)"


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """HU on a regular, perhaps sheared grid.

    Attributes
    ----------
    hu
        int16, shape (slices, rows, columns).
    origin
        LPS mm of the centre of the first voxel.
    row_direction, column_direction
        Unit vectors along which the column index and the row index grow.
    slice_step
        Vector from one slice to the next, mm; not along the normal where the gantry was tilted.
    row_spacing, column_spacing
        Distance between rows, and between columns, mm.
    """

    hu: NDArray[np.int16]
    origin: tuple[float, float, float]
    row_direction: tuple[float, float, float]
    column_direction: tuple[float, float, float]
    slice_step: tuple[float, float, float]
    row_spacing: float
    column_spacing: float


def volume_of(scan: Scan, hu: NDArray[np.int16] | None = None) -> Volume:
    """Return a scan as an upright volume; ``hu`` replaces its values."""
    return Volume(
        scan.hu if hu is None else hu,
        scan.origin,
        (1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0),
        (0.0, 0.0, scan.spacing[2]),
        scan.spacing[1],
        scan.spacing[0],
    )


def tilted(volume: Volume, mask: NDArray[np.bool_], degrees: float) -> tuple[Volume, NDArray[np.bool_]]:
    """Look at an upright volume with a tilted gantry: planes lean by ``degrees`` about x, the table moves along z.

    Values are interpolated trilinearly, the mask likewise at one half, so the content stays where it was in the patient.
    """
    angle = np.radians(degrees)
    column = np.array([0.0, np.cos(angle), np.sin(angle)])
    slices, rows, columns = volume.hu.shape
    step = volume.slice_step[2]
    middle = (rows - 1) / 2 * volume.row_spacing
    along = np.arange(rows) * volume.row_spacing - middle
    # Index coordinates of the tilted planes' pixels in the upright volume: x stays, y and z mix.
    y = (middle + along * column[1]) / volume.row_spacing
    z = np.arange(slices)[:, None] + along[None, :] * column[2] / step
    shape = (slices, rows, columns)
    where = np.stack(
        [
            np.broadcast_to(z[:, :, None], shape),
            np.broadcast_to(y[None, :, None], shape),
            np.broadcast_to(np.arange(columns, dtype=float)[None, None, :], shape),
        ]
    )
    hu = ndimage.map_coordinates(volume.hu.astype(np.float32), where, order=1, mode="nearest")
    inside = ndimage.map_coordinates(mask.astype(np.float32), where, order=1, mode="constant") >= 0.5
    first = np.asarray(volume.origin) + np.array([0.0, middle - middle * column[1], -middle * column[2]])
    leaned = Volume(
        np.rint(hu).astype(np.int16),
        (float(first[0]), float(first[1]), float(first[2])),
        volume.row_direction,
        (0.0, float(column[1]), float(column[2])),
        volume.slice_step,
        volume.row_spacing,
        volume.column_spacing,
    )
    return leaned, inside


@dataclass(frozen=True, slots=True)
class Storage:
    """How the same content is stored; the defaults are what most scanners do.

    Attributes
    ----------
    order
        Which slice gets Instance Number 1.
    flip_rows, flip_columns, transpose
        In-plane storage, with Image Orientation and Position to match.
    omit, duplicate
        Zero-based slices (of the volume) that are left out, or written twice under another UID.
    file_names
        Pattern with ``{number}`` (Instance Number), ``{index}`` (slice) and ``{uid}``; a ``/`` makes folders.
    transfer_syntax_uid
        Any that pydicom can encode.
    absent
        Keywords of attributes that are removed from every image.
    replaced
        Attributes that are set on every image, by keyword.
    """

    order: Arrangement = "head_last"
    flip_rows: bool = False
    flip_columns: bool = False
    transpose: bool = False
    omit: tuple[int, ...] = ()
    duplicate: tuple[int, ...] = ()
    file_names: str = "CT{number:04d}.dcm"
    transfer_syntax_uid: str = ExplicitVRLittleEndian
    absent: tuple[str, ...] = ()
    replaced: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSeries:
    """A series that was written.

    Attributes
    ----------
    paths, datasets
        One per image, in the order of Instance Numbers; the datasets hold no pixel data.
    slices
        Which slice of the volume each image shows.
    storage
        How it was stored.
    """

    paths: tuple[Path, ...]
    datasets: tuple[Dataset, ...]
    slices: tuple[int, ...]
    storage: Storage

    @property
    def series_instance_uid(self) -> str:
        return str(self.datasets[0].SeriesInstanceUID)

    def frames_of(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Return ``volume`` (slices, rows, columns; a mask for instance) as this series stores it, image by image."""
        return np.stack([_in_plane(volume[index], self.storage) for index in self.slices])


def _in_plane(image: NDArray[Any], storage: Storage) -> NDArray[Any]:
    """Return a slice with its rows and columns in the order of storage."""
    if storage.flip_rows:
        image = image[::-1]
    if storage.flip_columns:
        image = image[:, ::-1]
    if storage.transpose:
        image = image.T
    return np.ascontiguousarray(image)


def _plane(volume: Volume, index: int, storage: Storage) -> tuple[list[float], list[float], list[float]]:
    """Return Image Position, Image Orientation and Pixel Spacing of a stored slice."""
    row, column = np.asarray(volume.row_direction), np.asarray(volume.column_direction)
    _, rows, columns = volume.hu.shape
    corner = np.asarray(volume.origin) + index * np.asarray(volume.slice_step)
    spacing = [volume.row_spacing, volume.column_spacing]
    if storage.flip_rows:
        corner, column = corner + (rows - 1) * volume.row_spacing * column, -column
    if storage.flip_columns:
        corner, row = corner + (columns - 1) * volume.column_spacing * row, -row
    if storage.transpose:
        row, column, spacing = column, row, spacing[::-1]
    return _decimal(corner), _decimal(np.concatenate([row, column])), _decimal(np.asarray(spacing))


def _decimal(values: NDArray[np.floating[Any]]) -> list[float]:
    """Return numbers that fit a decimal string (16 characters); minus zero becomes zero."""
    return [float(f"{value:.9g}") + 0.0 for value in values]


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> FileMetaDataset:
    """Return the File Meta Information of an object that this project wrote."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "PDL1ES-PHANTOM"
    return meta


def _study_part(patient: PatientRecord, study_uid: str) -> Dataset:
    """Return the patient's and the study's attributes."""
    ds = Dataset()
    ds.SpecificCharacterSet = (
        list(patient.character_set) if isinstance(patient.character_set, tuple) else (patient.character_set)
    )
    ds.StudyDate, ds.StudyTime = patient.study_date, patient.study_time
    ds.AccessionNumber = patient.accession_number
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = patient.study_description
    ds.PatientName, ds.PatientID = patient.name, patient.patient_id
    ds.PatientBirthDate, ds.PatientSex = "", patient.sex
    if patient.age:
        ds.PatientAge = patient.age
    if patient.smoking:
        ds.SmokingStatus = patient.smoking
    ds.StudyInstanceUID, ds.StudyID = study_uid, "1"
    return ds


def _equipment_part(ds: Dataset, s: ScannerParameters) -> None:
    """Set what the CT Image and General Equipment modules say of the scanner."""
    ds.Manufacturer, ds.ManufacturerModelName = s.manufacturer, MODELS[s.manufacturer]
    ds.InstitutionName = "Phantom"
    ds.SoftwareVersions = "1"
    ds.KVP = f"{s.kvp:g}"
    ds.XRayTubeCurrent = round(s.tube_current_ma)
    ds.ConvolutionKernel = s.kernel
    ds.SliceThickness = f"{s.slice_thickness_mm:g}"


def _slice_order(count: int, storage: Storage, seed: str) -> list[tuple[int, int]]:
    """Return (slice, copy) in the order of Instance Numbers."""
    kept = [i for i in range(count) if i not in storage.omit]
    if storage.order == "head_first":
        kept.reverse()
    elif storage.order == "shuffled":
        np.random.default_rng(list(seed.encode())).shuffle(kept)
    return [(i, copy) for i in kept for copy in range(2 if i in storage.duplicate else 1)]


def write_ct_series(
    folder: Path,
    volume: Volume,
    scanner: ScannerParameters,
    *,
    key: str,
    patient: PatientRecord | None = None,
    series_number: int = 2,
    series_description: str | None = None,
    series_key: str = "ct",
    storage: Storage | None = None,
) -> StoredSeries:
    """Write a series of CT Image Storage objects; the same arguments give the same bytes.

    Parameters
    ----------
    folder
        Where the files go; it is made.
    volume
        What they show.
    scanner
        What they say of the equipment.
    key
        Study Instance UID and Frame of Reference UID derive from it: series written with one key belong together.
    patient
        Whose study it claims to be.
    series_number, series_description
        Of the series.
    series_key
        Tells the series of one study apart.
    storage
        In which of the many legal (or illegal) ways it is stored.
    """
    patient = patient or PatientRecord()
    storage = storage or Storage()
    study_uid, series_uid = uid_of(key, "study"), uid_of(key, "series", series_key)
    order = _slice_order(len(volume.hu), storage, series_uid)
    paths, datasets = [], []
    for number, (index, copy) in enumerate(order, 1):
        sop_uid = uid_of(key, series_key, index, copy)
        ds = _study_part(patient, study_uid)
        _equipment_part(ds, scanner)
        position, orientation, spacing = _plane(volume, index, storage)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, sop_uid
        ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = patient.study_date
        ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = patient.study_time
        ds.Modality = "CT"
        ds.SeriesDescription = series_description or f"Thorax {scanner.slice_thickness_mm:g} mm {scanner.kernel}"
        ds.BodyPartExamined, ds.PatientPosition = "CHEST", "HFS"
        ds.GantryDetectorTilt = f"{np.degrees(np.arcsin(volume.column_direction[2])):.4g}"
        ds.SeriesInstanceUID, ds.SeriesNumber = series_uid, series_number
        ds.AcquisitionNumber, ds.InstanceNumber = 1, number
        ds.ImagePositionPatient, ds.ImageOrientationPatient = position, orientation
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid_of(key, "frame"), ""
        ds.SliceLocation = position[2]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.PixelSpacing = spacing
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.WindowCenter, ds.WindowWidth = [-600, 40], [1500, 400]
        ds.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = STORED_OFFSET, 1, "HU"
        pixels = _in_plane(volume.hu[index], storage)
        ds.Rows, ds.Columns = pixels.shape
        ds.PixelData = (pixels.astype(np.int32) - STORED_OFFSET).astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        path = folder / storage.file_names.format(number=number, index=index, uid=sop_uid)
        save(ds, path, storage)
        del ds.PixelData
        paths.append(path)
        datasets.append(ds)
    return StoredSeries(tuple(paths), tuple(datasets), tuple(index for index, _ in order), storage)


def save(ds: Dataset, path: Path, storage: Storage) -> None:
    """Encode and write an image; attributes named by ``storage`` are removed or replaced."""
    for keyword in storage.absent:
        if keyword in ds:
            delattr(ds, keyword)
    for keyword, value in storage.replaced.items():
        setattr(ds, keyword, value)
    syntax = storage.transfer_syntax_uid
    plain = syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ds.file_meta = file_meta(ds.SOPClassUID, ds.SOPInstanceUID, syntax if plain else ExplicitVRLittleEndian)
    if not plain:
        ds.compress(syntax, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def _item(**attributes: Any) -> DicomSequence:
    """Return a sequence of one item."""
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return DicomSequence([ds])


def write_enhanced_ct(
    path: Path,
    volume: Volume,
    scanner: ScannerParameters,
    *,
    key: str,
    patient: PatientRecord | None = None,
    series_number: int = 3,
    series_key: str = "enhanced",
    storage: Storage | None = None,
) -> StoredSeries:
    """Write one Enhanced CT object (PS3.3 A.38) with every slice a frame; parameters as in ``write_ct_series``.

    ``storage.file_names`` is not used; ``slices`` of the result are those of the frames.
    """
    patient = patient or PatientRecord()
    storage = storage or Storage()
    order = _slice_order(len(volume.hu), storage, uid_of(key, series_key))
    ds = _study_part(patient, uid_of(key, "study"))
    ds.Manufacturer, ds.ManufacturerModelName = scanner.manufacturer, MODELS[scanner.manufacturer]
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.SOPClassUID, ds.SOPInstanceUID = EnhancedCTImageStorage, uid_of(key, series_key, "object")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.SeriesDate = ds.ContentDate = patient.study_date
    ds.SeriesTime = ds.ContentTime = patient.study_time
    ds.AcquisitionDateTime = (patient.study_date + patient.study_time) or "20250115101500"
    ds.Modality, ds.SeriesDescription = "CT", f"Thorax enhanced {scanner.kernel}"
    ds.PatientPosition = "HFS"
    ds.SeriesInstanceUID, ds.SeriesNumber = uid_of(key, "series", series_key), series_number
    ds.AcquisitionNumber, ds.InstanceNumber = 1, 1
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid_of(key, "frame"), ""
    ds.AcquisitionDuration, ds.AcquisitionContextSequence = 4.0, DicomSequence()
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.ContentQualification = "RESEARCH"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.MultienergyCTAcquisition = "NO"
    dimension = uid_of(key, series_key, "dimension")
    ds.DimensionOrganizationSequence = _item(DimensionOrganizationUID=dimension)
    ds.DimensionIndexSequence = _item(
        DimensionOrganizationUID=dimension,
        DimensionIndexPointer=0x00200032,
        FunctionalGroupPointer=0x00209113,
        DimensionDescriptionLabel="Position",
    )
    shared = Dataset()
    _, orientation, spacing = _plane(volume, 0, storage)
    shared.PixelMeasuresSequence = _item(SliceThickness=f"{scanner.slice_thickness_mm:g}", PixelSpacing=spacing)
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=orientation)
    region = _item(CodeValue="51185008", CodingSchemeDesignator="SCT", CodeMeaning="Chest")
    shared.FrameAnatomySequence = _item(FrameLaterality="U", AnatomicRegionSequence=region)
    shared.CTImageFrameTypeSequence = _item(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    shared.CTAcquisitionTypeSequence = _item(AcquisitionType="SPIRAL", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")
    shared.CTReconstructionSequence = _item(
        ReconstructionAlgorithm="FILTER_BACK_PROJ",
        ConvolutionKernel=scanner.kernel,
        ConvolutionKernelGroup="LUNG" if scanner.kernel_properties.sharp else "SOFT_TISSUE",
        ImageFilter="NONE",
        ReconstructionFieldOfView=[volume.column_spacing * volume.hu.shape[2], volume.row_spacing * volume.hu.shape[1]],
        ReconstructionPixelSpacing=[float(v) for v in spacing],
        ReconstructionAngle=360.0,
        ReconstructionTargetCenterPatient=[0.0, 0.0, 0.0],
    )
    shared.CTExposureSequence = _item(
        ExposureTimeInms=500.0,
        XRayTubeCurrentInmA=float(scanner.tube_current_ma),
        ExposureInmAs=float(scanner.tube_current_ma) * 0.5,
        ExposureModulationType="NONE",
    )
    shared.CTXRayDetailsSequence = _item(
        KVP=f"{scanner.kvp:g}",
        FocalSpots=[1.0],
        FilterType="FLAT",
        FilterMaterial="ALUMINUM",
        CalciumScoringMassFactorPatient=1.0,
    )
    shared.CTAcquisitionDetailsSequence = _item(
        RotationDirection="CW",
        RevolutionTime=0.5,
        SingleCollimationWidth=0.6,
        TotalCollimationWidth=38.4,
        TableHeight=0.0,
        GantryDetectorTilt=0.0,
        DataCollectionDiameter=500.0,
    )
    shared.CTTableDynamicsSequence = _item(TableSpeed=76.8, TableFeedPerRotation=38.4, SpiralPitchFactor=1.0)
    shared.CTGeometrySequence = _item(
        DistanceSourceToDetector=1085.6,
        DistanceSourceToDataCollectionCenter=595.0,
    )
    shared.PixelValueTransformationSequence = _item(RescaleIntercept=STORED_OFFSET, RescaleSlope=1, RescaleType="HU")
    shared.FrameVOILUTSequence = _item(WindowCenter=-600, WindowWidth=1500)
    shared.IrradiationEventIdentificationSequence = _item(IrradiationEventUID=uid_of(key, "irradiation"))
    ds.SharedFunctionalGroupsSequence = DicomSequence([shared])
    # The dimension counts upwards along the patient, whatever the order of the frames.
    rank = {index: r for r, index in enumerate(sorted({index for index, _ in order}), 1)}
    frames = []
    for index, _ in order:
        position, _, _ = _plane(volume, index, storage)
        frame = Dataset()
        frame.FrameContentSequence = _item(
            FrameAcquisitionNumber=1,
            FrameReferenceDateTime=ds.AcquisitionDateTime,
            FrameAcquisitionDateTime=ds.AcquisitionDateTime,
            FrameAcquisitionDuration=500.0,
            StackID="1",
            InStackPositionNumber=rank[index],
            DimensionIndexValues=[rank[index]],
        )
        frame.PlanePositionSequence = _item(ImagePositionPatient=position)
        frame.CTPositionSequence = _item(
            TablePosition=position[2],
            ReconstructionTargetCenterPatient=[0.0, 0.0, position[2]],
            DataCollectionCenterPatient=[0.0, 0.0, position[2]],
        )
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    pixels = np.stack([_in_plane(volume.hu[index], storage) for index, _ in order])
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = (pixels.astype(np.int32) - STORED_OFFSET).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    save(ds, path, storage)
    del ds.PixelData
    return StoredSeries((path,), (ds,), tuple(index for index, _ in order), storage)
