"""Assessment: what every step found, put together with the groups and the warnings that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment, assess
from pdl1es.clinical import ClinicalData
from pdl1es.dicom.selection.survey import Selection
from pdl1es.dicom.study import Study
from pdl1es.grid.measurement import TumourMeasurement, roi_slice_reference
from pdl1es.grid.patches import RoiPatches
from pdl1es.grid.resample import TumourVolume
from pdl1es.model.fusion import FusionModel, Prediction
from pdl1es.score_warning import ScoreWarning
from pdl1es.stability import ContourStability


class AssessmentOperator(Step):
    """Emit ``assessment``: all that a report is written from."""

    inputs = (
        "study",
        "selection",
        "volume",
        "tumour",
        "patches",
        "clinical",
        "clinical_warnings",
        "prediction",
        "stability",
    )
    outputs = ("assessment",)

    def __init__(self, fragment: Any, *, model: FusionModel, record: RunRecord, name: str) -> None:
        self.model = model
        super().__init__(fragment, record=record, name=name)

    def process(
        self,
        study: Study,
        selection: Selection,
        volume: TumourVolume,
        tumour: TumourMeasurement,
        patches: RoiPatches,
        clinical: ClinicalData,
        clinical_warnings: tuple[ScoreWarning, ...],
        prediction: Prediction,
        stability: ContourStability | None,
    ) -> Mapping[str, Assessment]:
        """Put it together."""
        return {
            "assessment": assess(
                selection=selection,
                tumour=tumour,
                roi_slice=roi_slice_reference(selection.ct, volume, patches),
                patches=patches,
                clinical=clinical,
                prediction=prediction,
                model=self.model.metadata,
                stability=stability,
                unreadable_files=len(study.unreadable),
                further_warnings=clinical_warnings,
            )
        }
