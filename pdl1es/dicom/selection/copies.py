"""Files with one SOP Instance UID and different bytes: decides whether they are one image or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from pdl1es.dicom.header_elements import attribute_value, tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.pixels.frames import iterate_stored_frames
from pdl1es.errors import Refusal, RefusalCode

DECIDING: Final = (
    # identity
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "FrameOfReferenceUID", "Modality",
    # place and values
    "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "PixelRepresentation",
    "PhotometricInterpretation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    # how the image was made
    "ImageType", "ConvolutionKernel", "Manufacturer", "AcquisitionNumber", "AcquisitionTime",
    "TemporalPositionIdentifier", "LossyImageCompression", "MultienergyCTAcquisition", "DerivationCodeSequence",
    # clinical variables of the patient
    "PatientSex", "PatientAge", "PatientBirthDate", "SmokingStatus",
    # segmentations
    "SegmentationType", "MaximumFractionalValue", "SegmentSequence", "ReferencedSeriesSequence", "ConcatenationUID",
    "InConcatenationNumber", "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber",
)  # fmt: skip
"""Attributes on which a score or its group can depend. Others (a corrected name, a station) may differ between copies."""


def refuse_different(copies: Sequence[Instance]) -> None:
    """Refuse files of one SOP Instance UID that are several images.

    Parameters
    ----------
    copies
        Two files or more. The transfer syntax may differ, and so may attributes that are not `DECIDING`.

    Raises
    ------
    Refusal
        COPIES_DIFFER.
    """
    first, *others = copies
    for other in others:
        keyword = next(
            (k for k in DECIDING if attribute_value(first.header, k) != attribute_value(other.header, k)), None
        )
        if keyword is None and not _same_pixels(first, other):
            keyword = "PixelData"
        if keyword is not None:
            raise Refusal(
                RefusalCode.COPIES_DIFFER,
                f"{len(copies)} files have one SOP Instance UID and differ in {tag_text(keyword)}",
                tag=tag_text("SOPInstanceUID"),
                value=first.sop_instance_uid,
                uid=first.sop_instance_uid,
            )


def _same_pixels(first: Instance, other: Instance) -> bool:
    """Tell whether two objects hold the same stored values; what cannot be decoded is not the same."""
    frames = range(_number_of_frames(first))
    try:
        pairs = zip(iterate_stored_frames(first, frames), iterate_stored_frames(other, frames), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)
    except Refusal:
        return False


def _number_of_frames(instance: Instance) -> int:
    value = attribute_value(instance.header, "NumberOfFrames")
    return int(value) if isinstance(value, int) and value > 0 else 1
