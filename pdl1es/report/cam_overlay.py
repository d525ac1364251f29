"""The class activation map as a DICOM picture that any viewer shows: Multi-frame True Color Secondary Capture."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.clock import in_study_zone
from pdl1es.report.options import DEFAULT_SERIES_NUMBER
from pdl1es.report.roi_picture import roi_pictures
from pdl1es.report.software import SoftwareIdentity
from pdl1es.report.structured_report import roi_image
from pdl1es.report.study_context import complete
from pdl1es.report.uids import series_uid


def build_cam_overlay(
    assessment: Assessment,
    software: SoftwareIdentity,
    when: datetime,
    *,
    series_number: int = DEFAULT_SERIES_NUMBER + 1,
    pictures: NDArray[np.uint8] | None = None,
) -> Dataset:
    """Return the ROI slices with the class activation map burnt in, one frame a slice.

    Parameters
    ----------
    assessment
        What is drawn; its headers give patient and study.
    software
        Who drew it.
    when
        Aware time of the report. The same arguments give the same dataset.
    series_number
        Of the picture's series.
    pictures
        From `roi_picture.roi_pictures`, where they have been drawn already.

    Returns
    -------
    Dataset
        A Multi-frame True Color Secondary Capture Image (PS3.3 A.8.5), uncompressed RGB, with file meta information;
        `study_context.encode` makes a file of it.
    """
    frames = roi_pictures(assessment) if pictures is None else pictures
    image = roi_image(assessment)
    segmentation = assessment.selection.segmentation.instance
    local, offset = in_study_zone(when, image.header)
    return complete(
        _picture(assessment, software, frames, series_number),
        header=image.header,
        software=software,
        model=assessment.model,
        contribution="Scored the tumour and drew the class activation map",
        when=local,
        offset=offset,
        input_schemes=list(segmentation.header.get("CodingSchemeIdentificationSequence") or []),
    )


def _picture(
    assessment: Assessment, software: SoftwareIdentity, frames: NDArray[np.uint8], series_number: int
) -> Dataset:
    count, rows, columns, _ = frames.shape
    picture = Dataset()
    picture.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    # General Series, General Equipment, SC Equipment
    picture.Modality = "OT"
    picture.SeriesInstanceUID = series_uid(assessment, "CAM")
    picture.SeriesNumber = series_number
    picture.SeriesDescription = wording.series_description(assessment.model, "map")
    picture.BodyPartExamined = "CHEST"
    picture.Manufacturer = software.manufacturer
    picture.ManufacturerModelName = software.name
    picture.SoftwareVersions = software.version
    picture.ConversionType = "WSD"
    # General Image and its references
    picture.InstanceNumber = 1
    picture.ImageType = ["DERIVED", "SECONDARY"]
    picture.PatientOrientation = ["L", "P"]
    picture.DerivationDescription = "ROI slices, lung window, with contour and class activation map; research use only"
    picture.BurnedInAnnotation = "YES"
    picture.RecognizableVisualFeatures = "NO"
    picture.LossyImageCompression = "00"
    picture.ImageComments = wording.notice(assessment.model)
    picture.SourceImageSequence = [_source(assessment)]
    # Image Pixel, Multi-frame, SC Multi-frame Image and Vector
    picture.SamplesPerPixel = 3
    picture.PhotometricInterpretation = "RGB"
    picture.PlanarConfiguration = 0
    picture.Rows, picture.Columns = rows, columns
    picture.BitsAllocated, picture.BitsStored, picture.HighBit, picture.PixelRepresentation = 8, 8, 7, 0
    picture.NumberOfFrames = count
    picture.FrameIncrementPointer = 0x00182005
    middle = count // 2
    picture.SliceLocationVector = [assessment.patches.roi_z + index - middle for index in range(count)]
    picture.PixelData = frames.tobytes()
    picture["PixelData"].VR = "OB"
    return picture


def _source(assessment: Assessment) -> Dataset:
    """Return the reference to the CT image nearest to the ROI slice."""
    roi = assessment.roi_slice
    source = Dataset()
    source.ReferencedSOPClassUID = roi.sop_class_uid
    source.ReferencedSOPInstanceUID = roi.sop_instance_uid
    if roi.frame_number is not None:
        source.ReferencedFrameNumber = roi.frame_number
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    source.PurposeOfReferenceCodeSequence = [purpose]
    return source
