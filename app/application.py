"""The chain on one page: a study in, a structured report and result.json out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application

from operators.assessment import AssessmentOperator
from operators.cam_overlay import CamOverlayOperator
from operators.clinical_data import ClinicalDataOperator
from operators.contour_stability import ContourStabilityOperator
from operators.delivery import Delivery
from operators.fusion_model import FusionModelOperator
from operators.pdf_report import PdfReportOperator
from operators.radiomics import RadiomicsOperator
from operators.resample import ResampleOperator
from operators.result_writer import ResultWriterOperator
from operators.roi_patches import RoiPatchesOperator
from operators.run_record import RunRecord
from operators.series_selection import SeriesSelectionOperator
from operators.step import Step
from operators.structured_report import StructuredReportOperator
from operators.study_loader import StudyLoaderOperator
from pdl1es.model.fusion import FusionModel
from pdl1es.report.options import ReportOptions
from pdl1es.settings import Settings


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What one run is asked to do.

    Attributes
    ----------
    study_folder, output_folder
        Where the study lies, and where report and result go.
    clinical_file
        ``--clinical``: JSON, or CSV keyed by patient id or accession number; None without.
    settings
        ``app.yaml``, validated.
    model
        The fusion model, loaded and checked.
    when
        The date and time that the report carries.
    """

    study_folder: Path
    output_folder: Path
    clinical_file: Path | None
    settings: Settings
    model: FusionModel
    when: datetime


class PDL1ESApplication(Application):
    """Study -> series -> 1 mm grid -> patches, radiomics, clinical data -> fusion model -> report."""

    def __init__(self, request: RunRequest, record: RunRecord) -> None:
        self.request = request
        self.record = record
        super().__init__([])

    def compose(self) -> None:
        """Connect the operators (called by the framework)."""
        ask, settings, record = self.request, self.request.settings, self.record
        delivery = Delivery(
            ask.output_folder,
            settings.outputs,
            ReportOptions(ask.when, settings.report.series_number, settings.report.show_clinical_values),
        )

        once = CountCondition(self, 1)
        loader = StudyLoaderOperator(
            self, once, folder=ask.study_folder, limits=settings.limits, record=record, name="study_loader"
        )
        selection = SeriesSelectionOperator(
            self, rules=settings.selection, protocol=settings.protocol, record=record, name="series_selection"
        )
        resample = ResampleOperator(self, record=record, name="resample")
        patches = RoiPatchesOperator(self, record=record, name="roi_patches")
        radiomics = RadiomicsOperator(self, record=record, name="radiomics")
        clinical = ClinicalDataOperator(
            self, study_folder=ask.study_folder, clinical_file=ask.clinical_file, record=record, name="clinical_data"
        )
        fusion = FusionModelOperator(self, model=ask.model, record=record, name="fusion_model")
        stability = ContourStabilityOperator(
            self, model=ask.model, wanted=settings.contour_stability, record=record, name="contour_stability"
        )
        assessment = AssessmentOperator(self, model=ask.model, record=record, name="assessment")
        cam = CamOverlayOperator(self, delivery=delivery, record=record, name="cam_overlay")
        report = StructuredReportOperator(self, delivery=delivery, record=record, name="structured_report")
        pdf = PdfReportOperator(self, delivery=delivery, record=record, name="pdf_report")
        result = ResultWriterOperator(self, delivery=delivery, record=record, name="result_writer")

        self.connect(loader, selection, "study")
        self.connect(selection, resample, "selection")
        self.connect(resample, patches, "volume")
        self.connect(resample, radiomics, "volume")
        self.connect(selection, clinical, "selection")

        self.connect(patches, fusion, "patches")
        self.connect(radiomics, fusion, "radiomics")
        self.connect(clinical, fusion, "clinical")

        self.connect(resample, stability, "volume")
        self.connect(clinical, stability, "clinical")
        self.connect(fusion, stability, "prediction")

        self.connect(loader, assessment, "study")
        self.connect(selection, assessment, "selection")
        self.connect(resample, assessment, "volume", "tumour")
        self.connect(patches, assessment, "patches")
        self.connect(clinical, assessment, "clinical", "clinical_warnings")
        self.connect(fusion, assessment, "prediction")
        self.connect(stability, assessment, "stability")

        self.connect(assessment, cam, "assessment")
        self.connect(loader, report, "study")
        self.connect(assessment, report, "assessment")
        self.connect(cam, report, "cam")
        self.connect(assessment, pdf, "assessment")
        self.connect(assessment, result, "assessment")
        self.connect(report, result, "sr")
        self.connect(cam, result, "cam_report")
        self.connect(pdf, result, "pdf")

    def connect(self, source: Step, target: Step, *ports: str) -> None:
        """Let what ``source`` emits reach ``target``: a port has the same name at both ends."""
        self.add_flow(source, target, {(port, port) for port in ports})
