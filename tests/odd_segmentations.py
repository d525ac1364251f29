"""SEG objects as other software writes them: several segments, fractional, as a labelmap, and on any CT at all."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from pdl1es.phantom.ct_series import STUDY_DATE, file_meta, uid_of
from pdl1es.phantom.segmentation import MADE, SOFTWARE, make_reproducible

SegmentationType = Literal["BINARY", "FRACTIONAL", "LABELMAP"]

MORPHOLOGY: Final = Code("49755003", "SCT", "Morphologically Altered Structure")
ANATOMICAL_STRUCTURE: Final = Code("123037004", "SCT", "Anatomical Structure")
NEOPLASM_PRIMARY: Final = Code("86049000", "SCT", "Neoplasm, Primary")
LUNG: Final = Code("39607008", "SCT", "Lung")
HEART: Final = Code("80891009", "SCT", "Heart")


@dataclass(frozen=True, slots=True)
class SegmentDescription:
    """How a segment is described; ``region`` and the tracking attributes are left out where None.

    ``tracking_uid`` is derived from the object's key and the segment's number where ``tracking_id`` alone is given.
    """

    label: str = "Primary lung tumour"
    category: Code = MORPHOLOGY
    property_type: Code = NEOPLASM_PRIMARY
    region: Code | None = LUNG
    tracking_id: str | None = "tumour 1"
    tracking_uid: str | None = None


TUMOUR: Final = SegmentDescription()
GTV: Final = SegmentDescription(label="GTV-1", tracking_id="GTV-1")
HEART_SEGMENT: Final = SegmentDescription("Heart", ANATOMICAL_STRUCTURE, HEART, None, None)
LUNGS_SEGMENT: Final = SegmentDescription("Lungs", ANATOMICAL_STRUCTURE, LUNG, None, None)


def _date(ct: Dataset) -> datetime.date:
    """Return the day on which the object says it was made: the study's."""
    return datetime.datetime.strptime(str(ct.get("StudyDate", "") or STUDY_DATE), "%Y%m%d").date()


def write_odd_segmentation(
    path: Path,
    ct_datasets: Sequence[Dataset],
    masks: Sequence[NDArray[Any]],
    *,
    segments: Sequence[SegmentDescription] = (TUMOUR,),
    key: str,
    segmentation_type: SegmentationType = "BINARY",
) -> Path:
    """Write a SEG on single-frame CT images, or on one enhanced image, with highdicom.

    Parameters
    ----------
    path
        The file; its folder is made.
    ct_datasets
        The source images (``StoredSeries.datasets``).
    masks
        One per segment, shape (images or frames, rows, columns), in the order of ``ct_datasets``
        (``StoredSeries.frames_of``): bool, or shares of 0 to 1 for FRACTIONAL.
    segments
        Their descriptions, numbered from 1.
    key
        All UIDs derive from it.
    segmentation_type
        BINARY, FRACTIONAL (probability) or LABELMAP (segments must not overlap).

    Raises
    ------
    ValueError
        By highdicom, where the source images lack what it needs; ``write_segmentation_for`` then serves.
    """
    if segmentation_type == "LABELMAP":
        pixels = np.zeros(masks[0].shape, np.uint8)
        for number, mask in enumerate(masks, 1):
            pixels[mask.astype(bool)] = number
    elif segmentation_type == "FRACTIONAL":
        pixels = np.stack([np.asarray(mask, np.float32) for mask in masks], axis=-1)
    else:
        pixels = np.stack([np.asarray(mask, np.uint8) for mask in masks], axis=-1)
    date = _date(ct_datasets[0])
    ct_datasets = [_with_named_default_characters(ds) for ds in ct_datasets]
    seg = hd.seg.Segmentation(
        source_images=list(ct_datasets),
        pixel_array=pixels,
        segmentation_type=segmentation_type,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=item.label,
                segmented_property_category=item.category,
                segmented_property_type=item.property_type,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
                tracking_id=item.tracking_id,
                tracking_uid=_tracking_uid(item, key, number),
                anatomic_regions=[item.region] if item.region else None,
            )
            for number, item in enumerate(segments, 1)
        ],
        series_instance_uid=uid_of(key, "series"),
        series_number=10,
        sop_instance_uid=uid_of(key, "object"),
        instance_number=1,
        manufacturer=SOFTWARE,
        manufacturer_model_name=SOFTWARE,
        software_versions="1",
        device_serial_number="1",
        content_description="Tumour segmentation",
        content_creator_name="Phantom^Maker",
        content_label="TUMOUR",
        series_description="Tumour segmentation",
        content_date=date,
        content_time=MADE,
        series_date=date,
        series_time=MADE,
    )
    make_reproducible(seg, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return path


def _with_named_default_characters(ds: Dataset) -> Dataset:
    """Return an image whose Specific Character Set names its default repertoire, which highdicom cannot read if empty."""
    values = ds.get("SpecificCharacterSet")
    if isinstance(values, str) or not values or all(values):
        return ds
    named = copy.copy(ds)
    named.SpecificCharacterSet = [value or "ISO 2022 IR 6" for value in values]
    return named


def _tracking_uid(item: SegmentDescription, key: str, number: int) -> str | None:
    """Return the tracking UID that goes with a tracking identifier."""
    if item.tracking_id is None:
        return None
    return item.tracking_uid or uid_of(key, "tracking", number)


def _code_item(code: Code) -> DicomSequence:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return DicomSequence([ds])


def _one(**attributes: Any) -> DicomSequence:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return DicomSequence([ds])


def _source_planes(ct_datasets: Sequence[Dataset]) -> list[tuple[Dataset, int | None, Any, Any, Any, Any]]:
    """Return (image, frame, position, orientation, spacing, thickness) of every slice, whatever is missing as None."""
    planes: list[tuple[Dataset, int | None, Any, Any, Any, Any]] = []
    for ds in ct_datasets:
        if "PerFrameFunctionalGroupsSequence" not in ds:
            planes.append(
                (
                    ds,
                    None,
                    ds.get("ImagePositionPatient"),
                    ds.get("ImageOrientationPatient"),
                    ds.get("PixelSpacing"),
                    ds.get("SliceThickness"),
                )
            )
            continue
        shared = ds.SharedFunctionalGroupsSequence[0]
        for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence, 1):

            def of(sequence: str, keyword: str, frame: Dataset = frame, shared: Dataset = shared) -> Any:
                group = frame if sequence in frame else shared
                return group[sequence].value[0].get(keyword) if sequence in group else None

            planes.append(
                (
                    ds,
                    number,
                    of("PlanePositionSequence", "ImagePositionPatient"),
                    of("PlaneOrientationSequence", "ImageOrientationPatient"),
                    of("PixelMeasuresSequence", "PixelSpacing"),
                    of("PixelMeasuresSequence", "SliceThickness"),
                )
            )
    return planes


def write_segmentation_for(
    path: Path,
    ct_datasets: Sequence[Dataset],
    masks: Sequence[NDArray[Any]],
    *,
    segments: Sequence[SegmentDescription] = (TUMOUR,),
    key: str,
    segmentation_type: Literal["BINARY", "FRACTIONAL"] = "BINARY",
    reference_source: bool = True,
    frame_of_reference_uid: str | None = None,
    referenced_series_uid: str | None = None,
) -> Path:
    """Write a SEG by hand on any CT images, whatever they lack.

    Parameters
    ----------
    path, ct_datasets, masks, segments, key
        As in ``write_odd_segmentation``; images may be single-frame or enhanced, in any order.
    segmentation_type
        BINARY or FRACTIONAL.
    reference_source
        Whether the source images are named.
    frame_of_reference_uid, referenced_series_uid
        Replace the CT's own, to write SEGs that do not fit.

    Notes
    -----
    What the CT lacks, the SEG lacks as well (so it can be invalid by intent), except for the frame of reference: where
    the CT has none, one is derived from ``key``. An image without position gives frames without position.
    """
    first = ct_datasets[0]
    planes = _source_planes(ct_datasets)
    ds = Dataset()
    for keyword in (
        "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
        "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
    ):  # fmt: skip
        if keyword in first:
            setattr(ds, keyword, first[keyword].value)
        elif keyword != "SpecificCharacterSet":
            setattr(ds, keyword, "")
    date = _date(first)
    ds.SOPClassUID, ds.SOPInstanceUID = SegmentationStorage, uid_of(key, "object")
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = "SEG", uid_of(key, "series"), 10, 1
    ds.SeriesDescription = "Tumour segmentation"
    ds.Manufacturer = ds.ManufacturerModelName = SOFTWARE
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.ContentDate = ds.SeriesDate = date.strftime("%Y%m%d")
    ds.ContentTime = ds.SeriesTime = f"{MADE:%H%M%S}"
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "TUMOUR", "", "Phantom^Maker"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.FrameOfReferenceUID = frame_of_reference_uid or first.get("FrameOfReferenceUID") or uid_of(key, "frame")
    ds.PositionReferenceIndicator = ""
    ds.SegmentationType, ds.LossyImageCompression = segmentation_type, "00"
    if segmentation_type == "FRACTIONAL":
        ds.SegmentationFractionalType, ds.MaximumFractionalValue = "PROBABILITY", 255
    dimension = uid_of(key, "dimension")
    ds.DimensionOrganizationSequence = _one(DimensionOrganizationUID=dimension)
    pointers = ((0x0062000B, 0x0062000A, "Segment"), (0x00200032, 0x00209113, "Position"))
    ds.DimensionIndexSequence = DicomSequence(
        [
            _one(
                DimensionOrganizationUID=dimension,
                DimensionIndexPointer=pointer,
                FunctionalGroupPointer=group,
                DimensionDescriptionLabel=label,
            )[0]
            for pointer, group, label in pointers
        ]
    )
    ds.SegmentSequence = DicomSequence()
    for number, item in enumerate(segments, 1):
        segment = _one(
            SegmentNumber=number,
            SegmentLabel=item.label,
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=_code_item(item.category),
            SegmentedPropertyTypeCodeSequence=_code_item(item.property_type),
        )[0]
        if item.region:
            segment.AnatomicRegionSequence = _code_item(item.region)
        tracking = _tracking_uid(item, key, number)
        if tracking:
            segment.TrackingID, segment.TrackingUID = item.tracking_id, tracking
        ds.SegmentSequence.append(segment)

    shared = Dataset()
    orientation, spacing, thickness = planes[0][3:]
    if orientation is not None:
        shared.PlaneOrientationSequence = _one(ImageOrientationPatient=orientation)
    if spacing is not None:
        shared.PixelMeasuresSequence = _one(PixelSpacing=spacing, SliceThickness=thickness or 1)
    ds.SharedFunctionalGroupsSequence = DicomSequence([shared])
    frames, used, values = [], {}, []
    for number, mask in enumerate(masks, 1):
        for index, (image, frame_number, position, *_rest) in enumerate(planes):
            if not np.any(mask[index]):
                continue
            frame = Dataset()
            frame.FrameContentSequence = _one(DimensionIndexValues=[number, index + 1])
            if position is not None:
                frame.PlanePositionSequence = _one(ImagePositionPatient=position)
            frame.SegmentIdentificationSequence = _one(ReferencedSegmentNumber=number)
            if reference_source:
                used[str(image.SOPInstanceUID)] = image
                frame.DerivationImageSequence = _derivation(image, frame_number)
            frames.append(frame)
            values.append(np.asarray(mask[index]))
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    if reference_source:
        ds.ReferencedSeriesSequence = _one(
            SeriesInstanceUID=referenced_series_uid or first.SeriesInstanceUID,
            ReferencedInstanceSequence=DicomSequence(
                [
                    _one(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)[0]
                    for image in used.values()
                ]
            ),
        )
    ds.NumberOfFrames, (ds.Rows, ds.Columns) = max(len(frames), 1), masks[0].shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    stack = np.stack(values) if values else np.zeros((1, *masks[0].shape[1:]))
    if segmentation_type == "BINARY":
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
        ds.PixelData = pack_bits(stack.astype(np.uint8).ravel(), pad=True)
    else:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        content = np.rint(stack.astype(float) * 255).astype(np.uint8).tobytes()
        ds.PixelData = content + b"\0" * (len(content) % 2)
    ds["PixelData"].VR = "OB"
    ds.file_meta = file_meta(ds.SOPClassUID, ds.SOPInstanceUID)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _derivation(image: Dataset, frame_number: int | None) -> DicomSequence:
    """Return the reference from a frame to the image (and frame) that it was drawn on (PS3.3 C.7.6.16.2.6)."""
    source = _one(
        ReferencedSOPClassUID=image.SOPClassUID,
        ReferencedSOPInstanceUID=image.SOPInstanceUID,
        SpatialLocationsPreserved="YES",
        PurposeOfReferenceCodeSequence=_code_item(Code("121322", "DCM", "Source image for image processing operation")),
    )
    if frame_number is not None:
        source[0].ReferencedFrameNumber = frame_number
    return _one(SourceImageSequence=source, DerivationCodeSequence=_code_item(Code("113076", "DCM", "Segmentation")))
