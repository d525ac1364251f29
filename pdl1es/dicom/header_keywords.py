"""The attributes of a header that are read."""

from __future__ import annotations

from typing import Final

HEADER_KEYWORDS: Final = (
    # SOP Common, General Study, Patient, Patient Study, Clinical Trial: what a report about the study repeats
    "SpecificCharacterSet", "CodingSchemeIdentificationSequence", "TimezoneOffsetFromUTC", "SOPClassUID",
    "SOPInstanceUID", "InstanceCreationDate", "InstanceCreationTime",
    "StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName", "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName", "StudyDescription",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "ReferencedStudySequence", "ProcedureCodeSequence",
    "RequestingService", "ReasonForPerformedProcedureCodeSequence", "StudyInstanceUID", "StudyID",
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence",
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID",
    "OtherPatientIDsSequence", "PatientBirthDate", "PatientBirthTime", "PatientSex", "PatientAge", "PatientSize",
    "PatientWeight", "PatientSpeciesDescription", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "EthnicGroup", "PatientComments", "SmokingStatus", "PregnancyStatus",
    "AdditionalPatientHistory", "AdmissionID", "IssuerOfAdmissionIDSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "ClinicalTrialCoordinatingCenterName", "ClinicalTrialSeriesID",
    "ClinicalTrialSeriesDescription", "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
    # General Series, Frame of Reference, General Equipment
    "Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDate", "SeriesTime", "SeriesDescription",
    "SeriesDescriptionCodeSequence", "ProtocolName", "BodyPartExamined", "PatientPosition", "Laterality",
    "ReferencedPerformedProcedureStepSequence", "RequestAttributesSequence", "PerformedProcedureStepID",
    "PerformedProcedureStepDescription", "PerformedProtocolCodeSequence", "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence", "FrameOfReferenceUID", "PositionReferenceIndicator",
    "SynchronizationFrameOfReferenceUID", "Manufacturer", "InstitutionName", "StationName", "ManufacturerModelName",
    "DeviceSerialNumber", "SoftwareVersions",
    # General Image, Image Plane, Image Pixel, CT Image
    "ImageType", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "AcquisitionNumber", "ContentDate",
    "TemporalPositionIdentifier", "TriggerTime", "NominalPercentageOfCardiacPhase",
    "ContentTime", "InstanceNumber", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "SliceLocation", "GantryDetectorTilt", "GantryDetectorSlew",
    "TableHeight", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "PixelAspectRatio", "BurnedInAnnotation", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "ModalityLUTSequence", "DerivationDescription", "DerivationCodeSequence", "SourceImageSequence",
    "ReferencedImageSequence", "ScanOptions", "KVP", "DataCollectionDiameter", "ReconstructionDiameter",
    "DistanceSourceToDetector", "DistanceSourceToPatient", "ExposureTime", "XRayTubeCurrent", "Exposure",
    "ExposureInmAs", "ExposureInuAs", "FilterType", "GeneratorPower", "FocalSpots", "ConvolutionKernel",
    "ConvolutionKernelGroup", "RevolutionTime", "SingleCollimationWidth", "TotalCollimationWidth", "SpiralPitchFactor",
    "ContrastBolusAgent", "ContrastBolusAgentSequence", "CTDIvol", "MultienergyCTAcquisition",
    "MultienergyCTProcessingSequence", "MultienergyCTCharacteristicsSequence", "RealWorldValueMappingSequence",
    # Multi-frame objects
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence",
    "DimensionIndexSequence", "DimensionOrganizationType", "ConcatenationUID", "InConcatenationNumber", "StructureSetDate", "StructureSetTime",
    "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber", "SOPInstanceUIDOfConcatenationSource",
    "PixelPresentation", "VolumetricProperties", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    # Segmentation
    "SegmentationType", "SegmentationFractionalType", "MaximumFractionalValue", "SegmentSequence", "SegmentsOverlap",
    "ReferencedSeriesSequence", "StudiesContainingOtherReferencedInstancesSequence", "ContentLabel",
    "ContentDescription", "ContentCreatorName",
    # Structured reports: which they are and what they refer to, not what they say
    "CompletionFlag", "VerificationFlag", "PreliminaryFlag", "ReferencedRequestSequence",
    "PerformedProcedureCodeSequence", "CurrentRequestedProcedureEvidenceSequence",
    "PertinentOtherEvidenceSequence", "PredecessorDocumentsSequence", "ContentTemplateSequence",
    "ConceptNameCodeSequence",
)  # fmt: skip
"""All attributes that the chain, its protocol check and its report read; the others are skipped."""
