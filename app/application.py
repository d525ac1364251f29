"""The chain on one page: a study in, a structured report and result.json out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application

from app.settings import Settings
from operators.assessment import AssessmentOperator
from operators.cam_overlay import CamOverlayOperator
from operators.clinical_data import ClinicalDataOperator
from operators.contour_stability import ContourStabilityOperator
from operators.fusion_model import FusionModelOperator
from operators.pdf_report import PdfReportOperator
from operators.radiomics import RadiomicsOperator
from operators.resample import ResampleOperator
from operators.result_writer import ResultWriterOperator
from operators.roi_patches import RoiPatchesOperator
from operators.run_record import RunRecord
from operators.series_selection import SeriesSelectionOperator
from operators.structured_report import StructuredReportOperator
from operators.study_loader import StudyLoaderOperator
from pdl1es.model import FusionModel


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

        loader = StudyLoaderOperator(
            self,
            CountCondition(self, 1),
            folder=ask.study_folder,
            limits=settings.limits,
            record=record,
            name="study_loader",
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
        number, show = settings.report.series_number, settings.report.show_clinical_values
        report = StructuredReportOperator(
            self,
            folder=ask.output_folder,
            wanted="sr" in settings.outputs,
            series_number=number,
            show_clinical_values=show,
            when=ask.when,
            record=record,
            name="structured_report",
        )
        cam = CamOverlayOperator(
            self,
            folder=ask.output_folder,
            wanted="cam" in settings.outputs,
            series_number=number + 1,
            when=ask.when,
            record=record,
            name="cam_overlay",
        )
        pdf = PdfReportOperator(
            self,
            folder=ask.output_folder,
            wanted="pdf" in settings.outputs,
            series_number=number + 2,
            show_clinical_values=show,
            when=ask.when,
            record=record,
            name="pdf_report",
        )
        result = ResultWriterOperator(
            self,
            folder=ask.output_folder,
            show_clinical_values=show,
            when=ask.when,
            record=record,
            name="result_writer",
        )

        self.add_flow(loader, selection, {("study", "study")})
        self.add_flow(selection, resample, {("selection", "selection")})
        self.add_flow(selection, clinical, {("selection", "selection")})
        self.add_flow(resample, patches, {("volume", "volume")})
        self.add_flow(resample, radiomics, {("volume", "volume")})
        self.add_flow(patches, fusion, {("patches", "patches")})
        self.add_flow(radiomics, fusion, {("radiomics", "radiomics")})
        self.add_flow(clinical, fusion, {("clinical", "clinical")})
        self.add_flow(resample, stability, {("volume", "volume")})
        self.add_flow(clinical, stability, {("clinical", "clinical")})
        self.add_flow(fusion, stability, {("prediction", "prediction")})
        self.add_flow(loader, assessment, {("study", "study")})
        self.add_flow(selection, assessment, {("selection", "selection")})
        self.add_flow(resample, assessment, {("volume", "volume"), ("tumour", "tumour")})
        self.add_flow(patches, assessment, {("patches", "patches")})
        self.add_flow(clinical, assessment, {("clinical", "clinical"), ("clinical_findings", "clinical_findings")})
        self.add_flow(fusion, assessment, {("prediction", "prediction")})
        self.add_flow(stability, assessment, {("stability", "stability")})
        self.add_flow(loader, report, {("study", "study")})
        self.add_flow(assessment, report, {("assessment", "assessment")})
        self.add_flow(assessment, cam, {("assessment", "assessment")})
        self.add_flow(assessment, pdf, {("assessment", "assessment")})
        self.add_flow(cam, report, {("cam", "cam")})
        self.add_flow(assessment, result, {("assessment", "assessment")})
        self.add_flow(report, result, {("reports", "sr")})
        self.add_flow(cam, result, {("reports", "cam")})
        self.add_flow(pdf, result, {("reports", "pdf")})
