"""A small, complete assessment to write reports from: CT and SEG are real DICOM objects, the score is made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from pdl1es.assessment import Assessment, assess
from pdl1es.clinical import ClinicalData, ClinicalValue
from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.geometry import SlicePlane
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.seg_references import ImageReference, SegReferences, SeriesReference
from pdl1es.dicom.segmentation import Segment, Segmentation
from pdl1es.dicom.selection.series import SeriesCandidate
from pdl1es.dicom.selection.survey import Selection
from pdl1es.dicom.series import CT_IMAGE, CTSeries, CTSlice
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.grid.measurement import RoiSlice, TumourMeasurement
from pdl1es.grid.patches import RoiPatches
from pdl1es.method_digest import method_digest
from pdl1es.model.metadata import CutOff, ModelMetadata
from pdl1es.model.prediction import Contribution, Prediction
from pdl1es.model.training_reach import TrainingReach
from pdl1es.report.options import ReportOptions
from pdl1es.score_warning import ScoreWarning

WHEN = datetime(2026, 3, 1, 9, 30, 15, tzinfo=UTC)
OPTIONS = ReportOptions(WHEN)
ROOT = "1.2.826.0.1.3680043.8.498.77"
SLICES = 8
SIZE = 32
NEOPLASM = hd.sr.CodedConcept("108369006", "SCT", "Neoplasm")
ABNORMAL = hd.sr.CodedConcept("49755003", "SCT", "Morphologically Altered Structure")
LUNG = hd.sr.CodedConcept("39607008", "SCT", "Lung")


@dataclass(frozen=True)
class Case:
    """An assessment with the files that it is about."""

    assessment: Assessment
    ct: tuple[Dataset, ...]
    segmentation: Dataset

    def write(self, folder: Path) -> tuple[list[Path], Path]:
        """Write the CT and the SEG; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for index, image in enumerate(self.ct):
            paths.append(folder / f"ct{index}.dcm")
            pydicom.dcmwrite(paths[-1], image, enforce_file_format=True)
        pydicom.dcmwrite(folder / "seg.dcm", self.segmentation, enforce_file_format=True)
        return paths, folder / "seg.dcm"


def ct_image(index: int, **attributes: Any) -> Dataset:
    """One valid CT image; an attribute of None is left out."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uid = f"{ROOT}.2.{index + 1}"
    image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": uid,
        "StudyDate": "20260227",
        "SeriesDate": "20260227",
        "AcquisitionDate": "20260227",
        "ContentDate": "20260227",
        "StudyTime": "101500",
        "ContentTime": "101600",
        "AccessionNumber": "A-4711",
        "Modality": "CT",
        "Manufacturer": "SIEMENS",
        "ReferringPhysicianName": "Weiß^Anna",
        "StudyDescription": "CT Thorax",
        "PatientName": "Müller^Jörg",
        "PatientID": "P-0815",
        "PatientBirthDate": "19600102",
        "PatientSex": "M",
        "PatientAge": "066Y",
        "SliceThickness": 2,
        "KVP": 120,
        "PatientPosition": "HFS",
        "ConvolutionKernel": "B60f",
        "StudyInstanceUID": f"{ROOT}.1",
        "SeriesInstanceUID": f"{ROOT}.2",
        "StudyID": "S1",
        "SeriesNumber": 3,
        "AcquisitionNumber": 1,
        "InstanceNumber": SLICES - index,
        "ImagePositionPatient": [-16.0, -16.0, 2.0 * index - 100],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "FrameOfReferenceUID": f"{ROOT}.3",
        "PositionReferenceIndicator": "",
        "Laterality": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": SIZE,
        "Columns": SIZE,
        "PixelSpacing": [1, 1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "HU",
    }
    for keyword, value in (values | attributes).items():
        if value is not None:
            setattr(image, keyword, value)
    image.PixelData = np.full((SIZE, SIZE), -800, np.int16).tobytes()
    return image


def as_read(dataset: Dataset) -> Dataset:
    """The header as it comes from a file: undecoded, without pixel data."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer, stop_before_pixels=True)


def segmentation_of(images: list[Dataset], *, label: str, site: bool, tracked: tuple[str, str] | None) -> Dataset:
    """A SEG with one segment, as highdicom writes it."""
    mask = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    mask[2:6, 8:20, 9:21] = 1
    segmentation = hd.seg.Segmentation(
        source_images=images,
        pixel_array=mask,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=1,
                segment_label=label,
                segmented_property_category=ABNORMAL,
                segmented_property_type=NEOPLASM,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
                anatomic_regions=[LUNG] if site else None,
                tracking_id=tracked[0] if tracked else None,
                tracking_uid=tracked[1] if tracked else None,
            )
        ],
        series_instance_uid=f"{ROOT}.4",
        series_number=5,
        sop_instance_uid=f"{ROOT}.5",
        instance_number=1,
        manufacturer="Drawing Workstation",
        manufacturer_model_name="Pencil",
        software_versions="1",
        device_serial_number="1",
    )
    plain = as_read(segmentation)
    plain.add_new("PixelData", "OB", segmentation.PixelData)
    return plain


def metadata(**changes: Any) -> ModelMetadata:
    """A model that says everything a model can say."""
    values: dict[str, Any] = {
        "name": "phantom",
        "version": "0.3.1",
        "training_data": "synthetic",
        "trained_on": "600 synthetic chest phantoms of known texture",
        "intended_use": "Shows the chain at work; not for decisions on patients.",
        "limitations": (
            "In the paper a higher score went with earlier progression, which its authors call unexpected.",
            "The paper is retrospective and from one centre.",
        ),
        "method_digest": method_digest(),
        "feature_names": FEATURE_NAMES,
        "selected_features": FEATURE_NAMES[:12],
        "clinical_names": ("age", "sex", "smoking", "family_history"),
        "window_hu": (-1000.0, 400.0),
        "smoker_grade": 1.2,
        "expression_cut_off": CutOff(
            value=0.5, method="Youden on validation", above="high expression", below="low expression"
        ),
        "progression_cut_off": CutOff(value=0.66, method="X-tile", above="high risk", below="low risk"),
        "calibrated": False,
        "training_reach": TrainingReach(
            patients=600,
            clipped_share=0.1,
            distance=12.5,
            centre=(0.0,) * 12,
            whitening=tuple(np.eye(12)[np.tril_indices(12)].tolist()),
            volume_ml=(0.7, 119.0),
            longest_diameter_mm=(14.0, 75.0),
        ),
    }
    return ModelMetadata(**(values | changes))


def prediction(**changes: Any) -> Prediction:
    """A score of 0.731 with terms that add up to it."""
    radiomic = tuple(Contribution(name, 0.05 * (i - 3)) for i, name in enumerate(FEATURE_NAMES[:12]))
    clinical = tuple(
        Contribution(name, value)
        for name, value in zip(("age", "sex", "smoking", "family_history"), (0.1, 0.2, -0.05, 0.0), strict=True)
    )
    bias, score = -0.4, 0.7312345678901234
    logit = float(np.log(score / (1 - score)))
    deep = logit - bias - sum(t.log_odds for t in radiomic) - sum(t.log_odds for t in clinical)
    values: dict[str, Any] = {
        "score": score,
        "slice_scores": np.array([0.70, 0.7312, 0.75]),
        "cam": np.full((3, 3, 3), deep / 9),
        "bias": bias,
        "deep": deep,
        "radiomic": radiomic,
        "clinical": clinical,
        "imputed_clinical": np.array([66.0, 1.0, 1.3333, 0.0]),
        "imputed": ("smoking", "family_history"),
        "missing_features": (),
        "clipped_features": (FEATURE_NAMES[4],),
        "training_distance": 4.25,
        "provider": "CPUExecutionProvider",
        "model_sha256": "5e" * 32,
    }
    return Prediction(**(values | changes))


CLINICAL = ClinicalData(
    age=ClinicalValue(66.0, "DICOM PatientAge (0010,1010)"),
    sex=ClinicalValue(1.0, "DICOM PatientSex (0010,0040)"),
    smoking=ClinicalValue(None, "missing"),
    family_history=ClinicalValue(None, "missing"),
)
THICK = ScoreWarning("THICK_SLICES", "The slices are 6 mm thick; the method was made on thinner ones.")
SMOOTH = ScoreWarning("SMOOTH_KERNEL", "The CT was reconstructed with the smooth kernel B30f.", "withhold_group")


def report_case(
    *,
    ct: dict[str, Any] | None = None,
    label: str = "GTV-1",
    site: bool = True,
    tracked: tuple[str, str] | None = None,
    model: ModelMetadata | None = None,
    predicted: Prediction | None = None,
    clinical: ClinicalData = CLINICAL,
    warnings: tuple[ScoreWarning, ...] = (THICK,),
) -> Case:
    """A whole case; every part can be exchanged."""
    images = [ct_image(index, **(ct or {})) for index in range(SLICES)]
    # highdicom wants what DICOM wants; the images may lack it all the same.
    complete = [ct_image(index) for index in range(SLICES)]
    seg = segmentation_of(complete, label=label, site=site, tracked=tracked)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                    "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "SpecificCharacterSet",
                    "PatientAge"):  # fmt: skip
        if keyword in seg and keyword in images[0]:
            setattr(seg, keyword, images[0][keyword].value)
        elif keyword in seg and keyword != "SpecificCharacterSet":
            del seg[keyword]
    instances = [Instance(Path(f"ct{index}.dcm"), as_read(image)) for index, image in enumerate(images)]
    slices = tuple(
        CTSlice(
            instance=instance,
            frame=0,
            plane=SlicePlane((-16.0, -16.0, 2.0 * index - 100), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 1.0, 1.0, SIZE, SIZE),
            rescale_slope=1.0,
            rescale_intercept=0.0,
        )
        for index, instance in enumerate(instances)
    )
    series = CTSeries(f"{ROOT}.2", f"{ROOT}.3", f"{ROOT}.1", slices, 0.0)
    segment = Segment(
        number=1,
        label=label,
        category=Code("49755003", "SCT", "Morphologically Altered Structure"),
        property_type=Code("108369006", "SCT", "Neoplasm"),
        anatomic_region=Code("39607008", "SCT", "Lung") if site else None,
        tracking_id=tracked[0] if tracked else None,
        tracking_uid=tracked[1] if tracked else None,
        algorithm_type="MANUAL",
    )
    selection = Selection(
        ct=series,
        segmentation=Segmentation(
            instance=Instance(Path("seg.dcm"), as_read(seg)),
            segmentation_type="BINARY",
            segments=(segment,),
            frames=(),
            references=SegReferences(
                series=(
                    SeriesReference(
                        f"{ROOT}.2", tuple(ImageReference(f"{ROOT}.2.{i + 1}", CT_IMAGE) for i in range(SLICES))
                    ),
                )
            ),
        ),
        segment=segment,
        candidates=(
            SeriesCandidate(
                f"{ROOT}.2", 3, "CT", SLICES, "B60f", "sharp", 2.0, 1.0, True, ("the SEG was drawn on it",)
            ),
            SeriesCandidate(f"{ROOT}.9", 4, "CT", 90, "B30f", "smooth", 5.0, None, False, ("a smooth kernel",)),
        ),
        warnings=warnings,
    )
    roi = slices[3]
    assessment = assess(
        selection=selection,
        tumour=TumourMeasurement(
            source_voxels=576,
            volume_ml=1.152,
            longest_diameter_mm=17.234,
            longest_axial_diameter_mm=15.556,
            perpendicular_diameter_mm=14.142,
            axial_grid_z_mm=-93,
        ),
        roi_slice=RoiSlice(
            instance=roi.instance,
            frame_number=None,
            instance_number=int(roi.instance.header.InstanceNumber),
            table_position_mm=roi.plane.position[2],
        ),
        patches=RoiPatches(
            hu=np.zeros((3, 112, 112), np.float32),
            mask=np.zeros((3, 112, 112), np.bool_),
            roi_z=-94,
            rectangle=(-12, -13, 9, 8),
        ),
        clinical=clinical,
        prediction=predicted or prediction(),
        model=model or metadata(),
    )
    return Case(assessment, tuple(images), seg)


def with_segment(assessment: Assessment, **changes: Any) -> Assessment:
    """The same assessment of another segment."""
    selection = assessment.selection
    return replace(assessment, selection=replace(selection, segment=replace(selection.segment, **changes)))
