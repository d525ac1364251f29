"""The class activation map as a DICOM picture that any viewer shows: Multi-frame True Color Secondary Capture."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from pdl1es.assessment import Assessment
from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.study import Study
from pdl1es.report import wording
from pdl1es.report.codes import REFERENCED_SEGMENT, REGION_IN_SPACE, code_sequence_item
from pdl1es.report.instance_number import report_instance_number
from pdl1es.report.options import ReportOptions
from pdl1es.report.references import sop_reference
from pdl1es.report.roi_picture import frame_order
from pdl1es.report.study_context import scored_study
from pdl1es.report.uids import series_uid

SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
"""Of CID 7202."""


def build_cam_overlay(
    assessment: Assessment, options: ReportOptions, pictures: NDArray[np.uint8], *, study: Study | None = None
) -> Dataset:
    """Return the ROI slices with the class activation map burnt in, one frame per slice.

    Parameters
    ----------
    assessment
        What is drawn; its headers give patient and study.
    options
        What the run's reports have in common. The same arguments give the same dataset.
    pictures
        uint8 RGB, shape (S, rows, columns, 3), from `roi_picture.roi_pictures`: the ROI slice is the first.
    study
        What the input held: the Instance Number follows those of earlier pictures in it.

    Returns
    -------
    Dataset
        A Multi-frame True Color Secondary Capture Image (PS3.3 A.8.5), uncompressed RGB, with file meta information;
        `study_context.encode` makes a file of it.
    """
    picture = _picture(assessment, options, pictures)
    picture.InstanceNumber = report_instance_number(assessment, study)
    return scored_study(assessment, options).complete(picture, "Scored the tumour and drew the class activation map")


def _picture(assessment: Assessment, options: ReportOptions, frames: NDArray[np.uint8]) -> Dataset:
    software = options.software
    count, rows, columns, _ = frames.shape
    picture = Dataset()
    picture.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    # General Series, General Equipment, SC Equipment
    picture.Modality = "OT"
    picture.SeriesInstanceUID = series_uid(assessment, "cam")
    picture.SeriesNumber = options.series_number_of("cam")
    picture.SeriesDescription = wording.series_description(assessment.model, "cam")
    picture.BodyPartExamined = "CHEST"
    picture.Manufacturer = software.manufacturer
    picture.ManufacturerModelName = software.name
    picture.SoftwareVersions = software.version
    picture.ConversionType = "WSD"
    # General Image and its references
    picture.ImageType = ["DERIVED", "SECONDARY"]
    picture.PatientOrientation = ["L", "P"]
    picture.DerivationDescription = (
        "ROI slices, lung and soft-tissue window, with contour and class activation map; research use only"
    )
    picture.BurnedInAnnotation = "YES"
    picture.RecognizableVisualFeatures = "NO"
    picture.LossyImageCompression = "00"
    picture.ImageComments = wording.notice(assessment.model)
    picture.SourceImageSequence = [_source(assessment)]
    picture.ReferencedInstanceSequence = [_contour(assessment)]
    # Image Pixel, Multi-frame, SC Multi-frame Image and Vector
    picture.SamplesPerPixel = 3
    picture.PhotometricInterpretation = "RGB"
    picture.PlanarConfiguration = 0
    picture.Rows, picture.Columns = rows, columns
    picture.BitsAllocated, picture.BitsStored, picture.HighBit, picture.PixelRepresentation = 8, 8, 7, 0
    picture.NumberOfFrames = count
    picture.FrameIncrementPointer = 0x00182005
    order = frame_order(count)
    picture.RepresentativeFrameNumber = 1
    picture.SliceLocationVector = [assessment.patches.roi_z + index - order[0] for index in order]
    picture.PixelData = frames.tobytes()
    picture["PixelData"].VR = "OB"
    return picture


def _contour(assessment: Assessment) -> Dataset:
    """Return the reference to the SEG or structure set that the contour comes from."""
    drawn = assessment.selection.segmentation
    reference = sop_reference(drawn.instance.sop_class_uid, drawn.instance.sop_instance_uid)
    purpose = REFERENCED_SEGMENT if drawn.kind == "SEG" else REGION_IN_SPACE
    reference.PurposeOfReferenceCodeSequence = [code_sequence_item(purpose)]
    return reference


def _source(assessment: Assessment) -> Dataset:
    """Return the reference to the CT image nearest to the ROI slice."""
    roi = assessment.roi_slice
    source = sop_reference(roi.sop_class_uid, roi.sop_instance_uid)
    if roi.frame_number is not None:
        source.ReferencedFrameNumber = roi.frame_number
    source.PurposeOfReferenceCodeSequence = [code_sequence_item(SOURCE_IMAGE)]
    return source
