"""RT Structure Sets as planning systems write them, with one thing wrong where a test wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.pixels.segment_reader import read_segment_mask
from pdl1es.dicom.segmentation import parse_segmentation

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """One contour: its points in LPS, shape (n, 3), mm; ``attributes`` replace what would be written, and None removes."""

    points: Points
    image_uid: str | None = None
    geometric_type: str = "CLOSED_PLANAR"
    attributes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Region:
    """One ROI."""

    name: str
    contours: tuple[Drawn, ...]
    interpreted_type: str | None = "GTV"
    algorithm: str = "MANUAL"
    identification: Code | None = None
    frame_of_reference_uid: str | None = None


def circle(centre: tuple[float, float, float], radius: float, count: int = 72) -> Points:
    """Return a circle across the patient."""
    angle = np.arange(count) * (2 * np.pi / count)
    x, y, z = centre
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), np.full(count, z)], axis=1)


def outlines_of(mask: NDArray[np.bool_], images: Sequence[Dataset]) -> tuple[Drawn, ...]:
    """Return contours half-way between a mask's pixels and the others, one set for each slice.

    Parameters
    ----------
    mask
        Shape (images, rows, columns); the images are axial.
    images
        In the order of the mask.
    """
    from skimage.measure import find_contours

    drawn = []
    for image, plane in zip(images, mask, strict=True):
        x, y, z = (float(value) for value in image.ImagePositionPatient)
        row_spacing, column_spacing = (float(value) for value in image.PixelSpacing)
        for path in find_contours(np.pad(plane, 1).astype(float), 0.5):
            points = path[:-1] - 1
            lps = [x + points[:, 1] * column_spacing, y + points[:, 0] * row_spacing, np.full(len(points), z)]
            drawn.append(Drawn(np.stack(lps, axis=1), str(image.SOPInstanceUID)))
    return tuple(drawn)


def outlines_of_seg(path: Path, images: Sequence[Dataset]) -> tuple[Drawn, ...]:
    """Return contours around the pixels of a SEG's first segment, each on its slice.

    Parameters
    ----------
    path
        The SEG.
    images
        Those that it was drawn on.
    """
    mask = read_segment_mask(parse_segmentation(read_instance(path)), 1)
    by_height = {round(float(image.ImagePositionPatient[2]), 2): image for image in images}
    return outlines_of(mask.masks, [by_height[round(plane.position[2], 2)] for plane in mask.planes])


def images_of(folder: Path) -> list[Dataset]:
    """Return the headers of a folder's images."""
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]


def structure_set(
    image: Dataset, regions: Sequence[Region], *, listed: Sequence[str] = (), references: bool = True, uid: str = ""
) -> Dataset:
    """Return a structure set.

    Parameters
    ----------
    image
        An image of the CT: patient, study, series and frame of reference are its.
    regions
        Numbered from 1.
    listed
        SOP Instance UIDs that the frame of reference lists.
    references
        Whether the series is named.
    uid
        SOP Instance UID; drawn where empty.
    """
    whole = Dataset()
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    whole.SOPClassUID = RTStructureSetStorage
    whole.SOPInstanceUID = uid or generate_uid(entropy_srcs=["structure set", *(region.name for region in regions)])
    whole.file_meta.MediaStorageSOPClassUID = whole.SOPClassUID
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "PatientName", "PatientID", "PatientBirthDate"):
        setattr(whole, keyword, image.get(keyword, ""))
    whole.PatientSex = image.get("PatientSex", "")
    whole.StudyInstanceUID = image.StudyInstanceUID
    whole.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(whole.SOPInstanceUID)])
    whole.Modality = "RTSTRUCT"
    whole.StructureSetLabel = "Plan"
    frame = Dataset()
    frame.FrameOfReferenceUID = image.FrameOfReferenceUID
    if references:
        series = Dataset()
        series.SeriesInstanceUID = image.SeriesInstanceUID
        series.ContourImageSequence = [_reference(image, listed_uid) for listed_uid in listed]
        study = Dataset()
        study.RTReferencedSeriesSequence = [series]
        frame.RTReferencedStudySequence = [study]
    whole.ReferencedFrameOfReferenceSequence = [frame]
    whole.StructureSetROISequence = []
    whole.ROIContourSequence = []
    whole.RTROIObservationsSequence = []
    for number, region in enumerate(regions, 1):
        roi = Dataset()
        roi.ROINumber = number
        roi.ReferencedFrameOfReferenceUID = region.frame_of_reference_uid or image.FrameOfReferenceUID
        roi.ROIName = region.name
        roi.ROIGenerationAlgorithm = region.algorithm
        whole.StructureSetROISequence.append(roi)
        contours = Dataset()
        contours.ReferencedROINumber = number
        contours.ContourSequence = [_contour(image, contour) for contour in region.contours]
        whole.ROIContourSequence.append(contours)
        observation = Dataset()
        observation.ObservationNumber = number
        observation.ReferencedROINumber = number
        if region.interpreted_type is not None:
            observation.RTROIInterpretedType = region.interpreted_type
        if region.identification is not None:
            code = Dataset()
            code.CodeValue = region.identification.value
            code.CodingSchemeDesignator = region.identification.scheme
            code.CodeMeaning = region.identification.meaning
            observation.RTROIIdentificationCodeSequence = [code]
        whole.RTROIObservationsSequence.append(observation)
    return whole


def write(whole: Dataset, path: Path) -> Path:
    """Write a structure set; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, whole, enforce_file_format=True)
    return path


def _contour(image: Dataset, drawn: Drawn) -> Dataset:
    item = Dataset()
    if drawn.image_uid is not None:
        item.ContourImageSequence = [_reference(image, drawn.image_uid)]
    item.ContourGeometricType = drawn.geometric_type
    item.NumberOfContourPoints = len(drawn.points)
    item.ContourData = [f"{value:.4f}".rstrip("0").rstrip(".") for value in np.asarray(drawn.points).ravel()]
    for keyword, value in drawn.attributes:
        if value is None:
            delattr(item, keyword)
        elif keyword == "ContourData" and isinstance(value, bytes):
            item.add_new(0x30060050, "DS", None)
            item["ContourData"]._value = value.decode("latin-1")
        else:
            setattr(item, keyword, value)
    return item


def _reference(image: Dataset, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = uid
    return item
