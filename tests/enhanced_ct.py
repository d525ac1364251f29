"""A scan of the phantom as one Enhanced CT object (PS3.3 A.38), as few scanners store it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import EnhancedCTImageStorage

from pdl1es.phantom.ct_series import STORED_OFFSET, STUDY_DATE, STUDY_TIME, ct_image, file_meta, stored_values, uid_of
from pdl1es.phantom.scanner import MODELS, Scan
from tests.odd_series import PATIENT

OF_THE_STUDY = (
    "SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "SmokingStatus", "StudyInstanceUID",
    "StudyID",
)  # fmt: skip


def write_enhanced_ct(path: Path, scan: Scan, *, key: str) -> Dataset:
    """Write a scan as one object with every slice a frame, and return its data set without the pixels.

    Parameters
    ----------
    path
        The file; its folder is made.
    scan
        What it shows.
    key
        All UIDs derive from it; Study Instance UID and Frame of Reference UID are those of a plain series of this key.
    """
    scanner = scan.scanner
    images = [ct_image(scan, index, key=key, patient=PATIENT) for index in range(len(scan.hu))]
    plain = images[0]
    ds = Dataset()
    for keyword in OF_THE_STUDY:
        setattr(ds, keyword, plain[keyword].value)
    ds.Manufacturer, ds.ManufacturerModelName = scanner.manufacturer, MODELS[scanner.manufacturer]
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.SOPClassUID, ds.SOPInstanceUID = EnhancedCTImageStorage, uid_of(key, "enhanced", "object")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.SeriesDate = ds.ContentDate = STUDY_DATE
    ds.SeriesTime = ds.ContentTime = STUDY_TIME
    ds.AcquisitionDateTime = STUDY_DATE + STUDY_TIME
    ds.Modality, ds.SeriesDescription = "CT", f"Thorax enhanced {scanner.kernel}"
    ds.PatientPosition = "HFS"
    ds.SeriesInstanceUID, ds.SeriesNumber = uid_of(key, "series", "enhanced"), 3
    ds.AcquisitionNumber, ds.InstanceNumber = 1, 1
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid_of(key, "frame"), ""
    ds.AcquisitionDuration, ds.AcquisitionContextSequence = 4.0, DicomSequence()
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.ContentQualification = "RESEARCH"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.MultienergyCTAcquisition = "NO"
    dimension = uid_of(key, "enhanced", "dimension")
    ds.DimensionOrganizationSequence = _item(DimensionOrganizationUID=dimension)
    ds.DimensionIndexSequence = _item(
        DimensionOrganizationUID=dimension,
        DimensionIndexPointer=0x00200032,
        FunctionalGroupPointer=0x00209113,
        DimensionDescriptionLabel="Position",
    )
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(
        SliceThickness=f"{scanner.slice_thickness_mm:g}", PixelSpacing=plain.PixelSpacing
    )
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=plain.ImageOrientationPatient)
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
        ReconstructionFieldOfView=[scan.spacing[0] * scan.hu.shape[2], scan.spacing[1] * scan.hu.shape[1]],
        ReconstructionPixelSpacing=[float(value) for value in plain.PixelSpacing],
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
    frames = []
    for number, image in enumerate(images, 1):
        position = image.ImagePositionPatient
        frame = Dataset()
        frame.FrameContentSequence = _item(
            FrameAcquisitionNumber=1,
            FrameReferenceDateTime=ds.AcquisitionDateTime,
            FrameAcquisitionDateTime=ds.AcquisitionDateTime,
            FrameAcquisitionDuration=500.0,
            StackID="1",
            InStackPositionNumber=number,
            DimensionIndexValues=[number],
        )
        frame.PlanePositionSequence = _item(ImagePositionPatient=position)
        frame.CTPositionSequence = _item(
            TablePosition=position[2],
            ReconstructionTargetCenterPatient=[0.0, 0.0, position[2]],
            DataCollectionCenterPatient=[0.0, 0.0, position[2]],
        )
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    ds.NumberOfFrames, ds.Rows, ds.Columns = scan.hu.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = stored_values(scan.hu)
    ds["PixelData"].VR = "OW"
    ds.file_meta = file_meta(ds.SOPClassUID, ds.SOPInstanceUID)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    del ds.PixelData
    return ds


def _item(**attributes: Any) -> DicomSequence:
    """Return a sequence of one item."""
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return DicomSequence([ds])
