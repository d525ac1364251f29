"""Everything that is known about one study after the chain: what result.json and the SR are both written from."""

from __future__ import annotations

from dataclasses import dataclass

from pdl1es.clinical import ClinicalData
from pdl1es.dicom.selection import Selection
from pdl1es.findings import Finding
from pdl1es.model import ModelMetadata, Prediction
from pdl1es.patches import RoiPatches


@dataclass(frozen=True, slots=True)
class TumourMeasurement:
    """The tumour's size.

    Attributes
    ----------
    source_voxels
        Voxels of the segment on its own grid.
    volume_ml
        Their volume, mL.
    longest_diameter_mm
        Largest distance between two voxels of the mask on the 1 mm grid, mm.
    """

    source_voxels: int
    volume_ml: float
    longest_diameter_mm: float


@dataclass(frozen=True, slots=True)
class RoiSlice:
    """The CT image nearest to the ROI slice, so that a reader can find it.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid
        The image.
    frame_number
        One-based frame of an enhanced object, None for a single-frame image.
    instance_number
        As the viewer shows it, or None.
    table_position_mm
        The slice's coordinate along the patient's axis (z of Image Position (Patient)).
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None
    instance_number: int | None
    table_position_mm: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """One scored tumour.

    Attributes
    ----------
    selection, tumour, roi_slice, patches, clinical, prediction, model
        What each step of the chain found.
    expression_group
        Which side of the model's expression cut-off the score lies on, in the model's words.
    risk_group
        Which side of the progression cut-off, in the model's words; None where it is withheld.
    clinical_risk_group, fusion_risk_group
        The Cox models' groups, or None where the model has none or the group is withheld.
    findings
        All warnings, in the order in which a reader should see them.
    """

    selection: Selection
    tumour: TumourMeasurement
    roi_slice: RoiSlice
    patches: RoiPatches
    clinical: ClinicalData
    prediction: Prediction
    model: ModelMetadata
    expression_group: str
    risk_group: str | None
    clinical_risk_group: str | None
    fusion_risk_group: str | None
    findings: tuple[Finding, ...]
