"""Headers of CT and SEG objects as the tests of this folder need them: made here, so that every claim is visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"

STUDY = "1.2.3"
SERIES = "1.2.3.4"
FRAME_OF_REFERENCE = "1.2.3.9"


def ct_header(z: float = 0.0, *, uid: str | None = None, series: str = SERIES, **attributes: Any) -> Dataset:
    """Return the header of one axial CT image; ``attributes`` replace, and None removes."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, Any] = {
        "SOPClassUID": CT_IMAGE,
        "SOPInstanceUID": uid or f"{series}.{round(z * 1000) + 10_000_000}",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": series,
        "SeriesNumber": 3,
        "FrameOfReferenceUID": FRAME_OF_REFERENCE,
        "PatientID": "P1",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Manufacturer": "SIEMENS",
        "ConvolutionKernel": "B60f",
        "SliceThickness": 3,
        "ImagePositionPatient": [-100, -120, z],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.8],
        "Rows": 256,
        "Columns": 256,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "RescaleType": "HU",
    }
    values.update(attributes)
    for keyword, value in values.items():
        if value is not None:
            setattr(header, keyword, value)
    return header


def ct_instance(z: float = 0.0, **attributes: Any) -> Instance:
    """Return one axial CT image."""
    header = ct_header(z, **attributes)
    return Instance(Path(f"{header.SOPInstanceUID}.dcm"), header)


def ct_stack(zs: Sequence[float] = tuple(range(0, 60, 3)), **attributes: Any) -> tuple[Instance, ...]:
    """Return axial CT images at these table positions, mm."""
    return tuple(ct_instance(z, **attributes) for z in zs)


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Return one item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


NEOPLASM = ("86049000", "SCT", "Neoplasm, Primary")
LUNG = ("39607008", "SCT", "Lung")
ALTERED = ("49755003", "SCT", "Morphologically Altered Structure")
TISSUE = ("85756007", "SCT", "Tissue")


def segment_item(
    number: int = 1,
    label: str = "GTV-1",
    kind: tuple[str, str, str] | None = NEOPLASM,
    site: tuple[str, str, str] | None = LUNG,
    category: tuple[str, str, str] | None = ALTERED,
    tracking_id: str | None = None,
) -> Dataset:
    """Return one item of the Segment Sequence."""
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, label, "MANUAL"
    if category:
        item.SegmentedPropertyCategoryCodeSequence = [code_item(*category)]
    if kind:
        item.SegmentedPropertyTypeCodeSequence = [code_item(*kind)]
    if site:
        item.AnatomicRegionSequence = [code_item(*site)]
    if tracking_id:
        item.TrackingID, item.TrackingUID = tracking_id, f"1.2.3.77.{number}"
    return item


def seg_instance(
    segments: Sequence[Dataset] = (),
    zs: Sequence[float] = (9.0, 12.0),
    *,
    uid: str = "1.2.3.8.1",
    references: Mapping[str, Sequence[str]] | None = None,
    **attributes: Any,
) -> Instance:
    """Return a SEG's header, with one frame per segment at each of the table positions.

    ``references`` maps Series Instance UIDs to SOP Instance UIDs.
    """
    items = list(segments) or [segment_item()]
    header = ct_header(uid=uid, series="1.2.3.8")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
                    "RescaleIntercept", "RescaleType", "ConvolutionKernel", "SliceThickness"):  # fmt: skip
        delattr(header, keyword)
    header.SOPClassUID, header.Modality, header.SeriesNumber = SEGMENTATION, "SEG", 90
    header.ImageType = ["DERIVED", "PRIMARY"]
    header.SegmentationType, header.SegmentSequence = "BINARY", items
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 1, 1, 0, 0
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.8], 3
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    header.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for segment in items:
        for z in zs:
            position, identification, frame = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [-100, -120, z]
            identification.ReferencedSegmentNumber = segment.SegmentNumber
            frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [position], [identification]
            frames.append(frame)
    header.PerFrameFunctionalGroupsSequence = frames
    header.NumberOfFrames = len(frames)
    if references:
        header.ReferencedSeriesSequence = [_series_reference(uid, images) for uid, images in references.items()]
    for keyword, value in attributes.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    return Instance(Path(f"{uid}.dcm"), header)


def _series_reference(uid: str, images: Sequence[str]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedInstanceSequence = []
    for image in images:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT_IMAGE, image
        item.ReferencedInstanceSequence.append(reference)
    return item


def references_to(*stacks: Sequence[Instance]) -> dict[str, list[str]]:
    """Return references to all images of some series."""
    return {stack[0].series_instance_uid: [i.sop_instance_uid for i in stack] for stack in stacks}


def study_of(*parts: Instance | Sequence[Instance]) -> Study:
    """Return a study of these objects, in the order of their UIDs as the loader gives them."""
    objects: list[Instance] = []
    for part in parts:
        objects += [part] if isinstance(part, Instance) else list(part)
    return Study(Path(), tuple(sorted(objects, key=lambda i: i.sop_instance_uid)))
