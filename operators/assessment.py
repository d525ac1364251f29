"""Assessment: the results of every step in, the assessment with groups and warnings out."""

from __future__ import annotations

from typing import Any

from operators.step import StepOperator
from pdl1es.assessment import Assessment
from pdl1es.chain import PlausibleTumour, assess_tumour
from pdl1es.clinical import ClinicalInput
from pdl1es.dicom.selection.survey import Selection
from pdl1es.dicom.study import Study
from pdl1es.grid.patches import RoiPatches
from pdl1es.model.fusion import FusionModel
from pdl1es.model.prediction import Prediction
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.stability import ContourStability
from pdl1es.stopwatch import Stopwatch


class AssessmentOperator(StepOperator):
    """Emit ``assessment``, from which all reports are written."""

    step = "assessment"
    emits = "assessment"

    def __init__(self, fragment: Any, *, model: FusionModel, rules: PlausibilityRules, watch: Stopwatch) -> None:
        self.model, self.rules = model, rules
        super().__init__(fragment, watch=watch)

    def process(
        self,
        study: Study,
        selection: Selection,
        tumour: PlausibleTumour,
        patches: RoiPatches,
        clinical: ClinicalInput,
        prediction: Prediction,
        stability: ContourStability | None,
    ) -> Assessment:
        """Put together what the steps found.

        Parameters
        ----------
        study, selection, tumour, patches, clinical, prediction
            From the steps of these names.
        stability
            None where the settings do not ask for it.

        Returns
        -------
        Assessment
            As `pdl1es.chain.assess_tumour`.
        """
        return assess_tumour(
            study=study,
            selection=selection,
            tumour=tumour,
            patches=patches,
            clinical=clinical,
            prediction=prediction,
            stability=stability,
            model=self.model,
            rules=self.rules,
        )
