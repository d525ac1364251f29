"""The application: one operator for each step of the chain, connected by the names of their ports."""

from __future__ import annotations

from pathlib import Path

from operators.assessment import AssessmentOperator
from operators.cam_overlay import CamOverlayOperator
from operators.clinical_data import ClinicalDataOperator
from operators.contour_stability import ContourStabilityOperator
from operators.delivery import DeliveryOperator
from operators.fusion_model import FusionModelOperator
from operators.monai_deploy import Application, CountCondition
from operators.outcome import OutcomeOperator
from operators.pdf_report import PdfReportOperator
from operators.plausibility import PlausibilityOperator
from operators.radiomics import RadiomicsOperator
from operators.resample import ResampleOperator
from operators.roi_patches import RoiPatchesOperator
from operators.roi_picture import RoiPictureOperator
from operators.series_selection import SeriesSelectionOperator
from operators.step import StepOperator, Stopped
from operators.structured_report import StructuredReportOperator
from operators.study_loader import StudyLoaderOperator
from pdl1es.chain import RunRequest
from pdl1es.model.fusion import FusionModel
from pdl1es.outcome import Outcome
from pdl1es.stopwatch import Stopwatch


class PDL1ESApplication(Application):
    """Study -> series -> 1 mm grid -> patches, features, clinical data -> fusion model -> reports."""

    def __init__(self, request: RunRequest, model: FusionModel, output_folder: Path, watch: Stopwatch) -> None:
        self.request = request
        self.model = model
        self.output_folder = output_folder
        self.watch = watch
        super().__init__([])

    def compose(self) -> None:
        """Make the operators and connect them (called by the framework)."""
        ask, settings, model, watch = self.request, self.request.settings, self.model, self.watch
        options, kinds = ask.report_options, settings.outputs
        self.end = OutcomeOperator(self)
        self.connect(
            StudyLoaderOperator(
                self, CountCondition(self, 1), folder=ask.study_folder, limits=settings.limits, watch=watch
            ),
            SeriesSelectionOperator(self, rules=settings.selection, protocol=settings.protocol, watch=watch),
            ResampleOperator(self, rules=settings.plausibility, watch=watch),
            PlausibilityOperator(self, rules=settings.plausibility, watch=watch),
            RoiPatchesOperator(self, watch=watch),
            RadiomicsOperator(self, memory_bytes=settings.limits.memory_bytes, watch=watch),
            ClinicalDataOperator(self, study_folder=ask.study_folder, given=ask.clinical, watch=watch),
            FusionModelOperator(self, model=model, watch=watch),
            ContourStabilityOperator(
                self,
                model=model,
                mode=settings.contour_stability,
                memory_bytes=settings.limits.memory_bytes,
                watch=watch,
            ),
            AssessmentOperator(self, model=model, rules=settings.plausibility, watch=watch),
            RoiPictureOperator(self, kinds=kinds, watch=watch),
            CamOverlayOperator(self, options=options, kinds=kinds, watch=watch),
            StructuredReportOperator(self, options=options, kinds=kinds, watch=watch),
            PdfReportOperator(self, options=options, kinds=kinds, watch=watch),
            DeliveryOperator(self, request=ask, output_folder=self.output_folder, watch=watch),
        )

    def connect(self, *operators: StepOperator) -> None:
        """Connect each input port with the output port of its name, and the last operator with the end.

        Raises
        ------
        TypeError
            No operator emits what a port takes, or not as that type.
        """
        sources = {operator.emits: operator for operator in operators}
        for operator in operators:
            for port, expected in operator.inputs().items():
                source = sources.get(port)
                if source is None or source.output() != expected:
                    raise TypeError(f"no operator emits {port} of {operator.step} as {expected}")
                self.add_flow(source, operator, {(port, port)})
            operator.show_free_text = self.request.settings.report.show_free_text
        self.add_flow(operators[-1], self.end, {("outcome", "outcome")})

    @property
    def outcome(self) -> Outcome:
        """How the run ended; after `run`.

        Raises
        ------
        Exception
            The last operator has no outcome for it: a `ClinicalFileError`, or an `EarlierReportError`.
        """
        received = self.end.received
        if isinstance(received, Stopped):
            raise received.error
        if received is None:
            raise RuntimeError("the operators have not ended")
        return received
