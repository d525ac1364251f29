"""The chain: from a study's folder to its reports. The one place that knows the order of the steps.

Every step is a function with typed input and output, which the operators, the training or a notebook may call alone.
`assess_study` calls them up to the assessment, `build_reports` from there on, `run_chain` all of them.

A further step gets its name in `STEPS`, its function and its call at their place here, and an operator of that name.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pdl1es.assessment import Assessment, assess
from pdl1es.clinical import ClinicalData, ClinicalInput, ClinicalRecord, read_clinical_input
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.pixels.tumour_mask import read_tumour_mask
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.selection.survey import Selection, select
from pdl1es.dicom.series import CTSeries
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.memory import estimated_bytes
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.grid.measurement import TumourMeasurement, measure_tumour, roi_slice_reference
from pdl1es.grid.patches import RoiPatches, extract_patches
from pdl1es.grid.placement import PlacedMask
from pdl1es.grid.resample import CROP_MARGIN_MM, SliceReader, TumourVolume, tumour_volume
from pdl1es.model.fusion import FusionModel
from pdl1es.model.prediction import Prediction
from pdl1es.plausibility.check import Plausibility, check_plausibility
from pdl1es.plausibility.extent import crumbs
from pdl1es.plausibility.hounsfield import HounsfieldSurvey
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.plausibility.specks import Removed, placed_clean
from pdl1es.report import build
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.options import ReportOptions
from pdl1es.settings import OutputKind, Settings, StabilityMode
from pdl1es.stability import ContourStability, contour_stability, stability_wanted
from pdl1es.stopwatch import Stopwatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEPS: Final = (
    "study_loader",
    "series_selection",
    "resample",
    "plausibility",
    "roi_patches",
    "radiomics",
    "clinical_data",
    "fusion_model",
    "contour_stability",
    "assessment",
    "roi_picture",
    "cam_overlay",
    "structured_report",
    "pdf_report",
    "delivery",
)
"""The steps' names in their order: of the operators, and of result.json's ``seconds``; a refusal's stage is one of them."""


_MOST_OF_A_CONTOUR: Final = 1.5
"""The features of a dilated contour take at most so many times the memory of the drawn one's, by estimate."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request of one run.

    Attributes
    ----------
    study_folder
        Where the study lies.
    settings
        ``app.yaml``, validated.
    when
        Date and time that the reports carry.
    clinical
        The patient's clinical data from outside the study: a file (JSON, or CSV keyed by patient id or accession number), or
        a record; None where the study's own ``clinical.json`` and its headers are all.
    earlier
        Earlier reports on the study that its folder does not hold (`report.earlier_reports`); a new one replaces them.
    """

    study_folder: Path
    settings: Settings
    when: datetime
    clinical: Path | ClinicalRecord | None = None
    earlier: tuple[Instance, ...] = ()

    def __repr__(self) -> str:
        """Name the reports that are asked for, but not the folder, because a folder's name can be a patient's."""
        return f"<RunRequest: {', '.join(self.settings.outputs)}, dated {self.when.isoformat()}>"

    @property
    def report_options(self) -> ReportOptions:
        """What its reports have in common."""
        report = self.settings.report
        return ReportOptions(
            self.when,
            series_number=report.series_number,
            show_clinical_values=report.show_clinical_values,
            comprehensive_3d=report.comprehensive_3d,
            earlier=self.earlier,
        )


@dataclass(frozen=True, slots=True)
class ResampledTumour:
    """The tumour on the 1 mm grid, and its size.

    Attributes
    ----------
    volume
        HU and mask.
    size
        Voxels and volume as they were drawn, longest diameter on the grid.
    placed
        The segment on its own lattice, without what was removed.
    removed
        What was taken out of it before anything was measured.
    parts
        Separate parts of the mask on the grid.
    survey
        The values of the slices that were read.
    """

    volume: TumourVolume
    size: TumourMeasurement
    placed: PlacedMask = field(repr=False)
    removed: Removed
    parts: int
    survey: HounsfieldSurvey = field(repr=False)


@dataclass(frozen=True, slots=True)
class PlausibleTumour:
    """A tumour that may be scored.

    Attributes
    ----------
    volume, size
        As in `ResampledTumour`.
    plausibility
        The numbers by which it was judged, and the warnings.
    """

    volume: TumourVolume
    size: TumourMeasurement
    plausibility: Plausibility


@dataclass(frozen=True, slots=True)
class TumourDescription:
    """The model's inputs from the images: the three patches and the radiomic features."""

    patches: RoiPatches
    features: RadiomicFeatures


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """How the chain ended: with an assessment and its reports, or with an error.

    Attributes
    ----------
    study
        What the input held; None where the chain ended before it was known.
    assessment
        The scored tumour; None where an error ended the chain.
    reports
        Built, not yet written, in the order in which result.json lists them.
    error
        What ended the chain early: a `Refusal`, a `ClinicalFileError`, or a defect; else None.
    """

    study: Study | None
    assessment: Assessment | None = None
    reports: tuple[BuiltReport, ...] = ()
    error: Exception | None = None


# --- the steps -------------------------------------------------------------------------------------------------------


def load_study(folder: Path, limits: ScanLimits) -> Study:
    """Read the headers of a folder's DICOM objects.

    Parameters
    ----------
    folder
        Where the study lies, nested in any way.
    limits
        How much of untrusted input is looked at.

    Returns
    -------
    Study

    Raises
    ------
    Refusal
        LIMIT_EXCEEDED (`dicom.study.scan_study`).
    """
    return scan_study(folder, limits)


def select_tumour(study: Study, rules: SelectionRules, protocol: ProtocolRules) -> Selection:
    """Choose the CT series and the tumour's segment.

    Parameters
    ----------
    study
        The headers.
    rules, protocol
        Of ``app.yaml``.

    Returns
    -------
    Selection

    Raises
    ------
    Refusal
        As `dicom.selection.survey.select`.
    """
    return select(study, rules, protocol)


def resample(selection: Selection, rules: PlausibilityRules) -> ResampledTumour:
    """Read the selected segment and the CT slices around it, and bring both to the 1 mm grid.

    Parameters
    ----------
    selection
        From `select_tumour`.
    rules
        Of ``app.yaml``: whether the largest of several parts is taken.

    Returns
    -------
    ResampledTumour

    Raises
    ------
    Refusal
        As `read_mask`, `resample_tumour` and `read_ct_slice` do.
    """
    return resample_tumour(selection.ct, read_mask(selection), read_ct_slice, largest_body=rules.largest_body)


def read_mask(selection: Selection) -> SegmentMask:
    """Read the voxels of the selected segment or region (`dicom.pixels.tumour_mask.read_tumour_mask`)."""
    return read_tumour_mask(selection.segmentation, selection.segment.number, selection.ct)


def resample_tumour(
    ct: CTSeries,
    mask: SegmentMask,
    read_slice: SliceReader,
    *,
    largest_body: bool = False,
    margin_mm: int = CROP_MARGIN_MM,
) -> ResampledTumour:
    """Remove a tumour's specks, bring it to the 1 mm grid and measure it.

    Parameters
    ----------
    ct
        The series.
    mask
        The tumour's voxels, each frame at its own place.
    read_slice
        Returns a slice's HU, shape (rows, columns) as stored.
    largest_body
        Take the largest of several separate parts.
    margin_mm
        How much of the scan around the tumour is resampled, as for `tumour_volume`.

    Returns
    -------
    ResampledTumour

    Raises
    ------
    Refusal
        As `place_mask` and `tumour_volume`.
    """
    placed, removed = placed_clean(mask, ct, largest_body=largest_body)
    survey = HounsfieldSurvey()
    volume = tumour_volume(placed, survey.reading(read_slice), margin_mm=margin_mm)
    # The interpolation of a thin part can leave isolated voxels, or cut the part in two.
    left, parts = crumbs(volume.mask, largest_body=largest_body)
    if left.any():
        volume = replace(volume, mask=volume.mask & ~left)
    return ResampledTumour(volume, measure_tumour(placed, volume), placed, removed, parts, survey)


def check_tumour(resampled: ResampledTumour, rules: PlausibilityRules) -> PlausibleTumour:
    """Hold a resampled tumour against what a lung tumour on a CT of a chest looks like.

    Parameters
    ----------
    resampled
        From `resample`.
    rules
        Of ``app.yaml``.

    Returns
    -------
    PlausibleTumour

    Raises
    ------
    Refusal
        As `plausibility.check.check_plausibility`.
    """
    found = check_plausibility(
        placed=resampled.placed,
        volume=resampled.volume,
        size=resampled.size,
        removed=resampled.removed,
        parts=resampled.parts,
        survey=resampled.survey,
        rules=rules,
    )
    return PlausibleTumour(resampled.volume, resampled.size, found)


def cut_patches(volume: TumourVolume) -> RoiPatches:
    """Cut the three patches that the network looks at (`grid.patches.extract_patches`)."""
    return extract_patches(volume)


def compute_features(
    volume: TumourVolume, *, memory_bytes: int | None = None, threads: int | None = None
) -> RadiomicFeatures:
    """Compute the 1316 radiomic features.

    Parameters
    ----------
    volume
        The tumour.
    memory_bytes
        ``limits.memory_bytes`` of ``app.yaml``; None for no bound.
    threads
        As for `extract_radiomics`.

    Returns
    -------
    RadiomicFeatures
        As `features.extraction.extract_radiomics`.

    Raises
    ------
    Refusal
        MEMORY_EXCEEDED: the features would take more, by `features.memory.estimated_bytes`.
    """
    if memory_bytes is not None and (needed := estimated_bytes(volume.hu, volume.mask)) > memory_bytes:
        raise Refusal(
            RefusalCode.MEMORY_EXCEEDED,
            f"the tumour's features would take about {needed / 2**20:.0f} MiB, and limits.memory_bytes allows "
            f"{memory_bytes / 2**20:.0f}",
        )
    return extract_radiomics(volume.hu, volume.mask, threads=threads)


def read_clinical(selection: Selection, study_folder: Path, given: Path | ClinicalRecord | None) -> ClinicalInput:
    """Find age, sex, smoking and family history.

    Parameters
    ----------
    selection
        Its CT's header is the last source.
    study_folder
        Its ``clinical.json``, where there is one, is the second source.
    given
        The first source: a file or a record.

    Returns
    -------
    ClinicalInput

    Raises
    ------
    pdl1es.clinical.ClinicalFileError
        ``given`` does not follow its schema.
    Refusal
        CLINICAL_INVALID: the study's ``clinical.json`` does not.
    """
    return read_clinical_input(selection.ct.slices[0].instance.header, study_folder, given)


def predict(model: FusionModel, patches: RoiPatches, features: RadiomicFeatures, clinical: ClinicalData) -> Prediction:
    """Score one tumour, and find what unknown clinical values could make of the score.

    Parameters
    ----------
    model
        The fusion model.
    patches, features, clinical
        What it gets.

    Returns
    -------
    Prediction

    Raises
    ------
    Refusal
        RADIOMICS_INCOMPLETE, SCORE_NOT_FINITE (`FusionModel.predict`).
    """
    return model.predict(patches.hu, features.values, clinical, with_range=True)


def describe(volume: TumourVolume, *, memory_bytes: int | None = None, threads: int | None = None) -> TumourDescription:
    """Cut the patches and compute the features: all that the model gets of the images.

    Parameters
    ----------
    volume
        The tumour.
    memory_bytes, threads
        As for `compute_features`.

    Returns
    -------
    TumourDescription

    Raises
    ------
    Refusal
        MEMORY_EXCEEDED.
    """
    return TumourDescription(cut_patches(volume), compute_features(volume, memory_bytes=memory_bytes, threads=threads))


def predict_volume(
    model: FusionModel,
    volume: TumourVolume,
    clinical: ClinicalData,
    *,
    memory_bytes: int | None = None,
    threads: int | None = None,
) -> Prediction:
    """Score a tumour on the 1 mm grid: `describe`, then the model, without the range over unknown clinical values.

    Parameters
    ----------
    model
        The fusion model.
    volume
        The tumour.
    clinical
        The four clinical variables.
    memory_bytes, threads
        As for `compute_features`.

    Returns
    -------
    Prediction

    Raises
    ------
    Refusal
        RADIOMICS_INCOMPLETE, SCORE_NOT_FINITE, MEMORY_EXCEEDED.
    """
    described = describe(volume, memory_bytes=memory_bytes, threads=threads)
    return model.predict(described.patches.hu, described.features.values, clinical)


def vary_contour(
    model: FusionModel,
    volume: TumourVolume,
    clinical: ClinicalData,
    prediction: Prediction,
    *,
    mode: StabilityMode = "on",
    memory_bytes: int | None = None,
    watch: Stopwatch | None = None,
) -> ContourStability | None:
    """Score the tumour again with contours that differ by 1 mm, where that is wanted.

    Two contours are scored at the same time where there are two cores, and memory for both.

    Parameters
    ----------
    model
        The model that gave ``prediction``.
    volume
        The tumour as it was drawn.
    clinical
        The same for all contours.
    prediction
        Of the drawn contour.
    mode
        ``contour_stability`` of ``app.yaml``.
    memory_bytes
        As for `compute_features`.
    watch
        Of the run, whose time is looked at before each contour; None for no limit.

    Returns
    -------
    ContourStability or None
        A contour whose features are incomplete, or would take more memory than is allowed, has no score. Every other has the
        score, to the bit, that `predict_volume` gives it alone. None where the mode wants no other contours
        (`stability.stability_wanted`).

    Raises
    ------
    Refusal
        LIMIT_EXCEEDED: the run has taken too long. SCORE_NOT_FINITE.
    """
    cut_offs = (model.metadata.expression_cut_off, model.metadata.progression_cut_off)
    if not stability_wanted(mode, prediction.score, cut_offs):
        return None

    def score(variant: TumourVolume) -> float | None:
        if watch is not None:
            watch.require_time()
        try:
            # One thread for each contour: two contours side by side keep two cores busier than two threads in one.
            return predict_volume(model, variant, clinical, memory_bytes=memory_bytes, threads=1).score
        except Refusal as refusal:
            if refusal.code in (RefusalCode.RADIOMICS_INCOMPLETE, RefusalCode.MEMORY_EXCEEDED):
                return None
            raise

    threads = min(2, len(os.sched_getaffinity(0)))
    if (
        memory_bytes is not None
        and threads * _MOST_OF_A_CONTOUR * estimated_bytes(volume.hu, volume.mask) > memory_bytes
    ):
        threads = 1
    return contour_stability(volume, prediction.score, score, threads=threads)


def assess_tumour(
    *,
    study: Study,
    selection: Selection,
    tumour: PlausibleTumour,
    patches: RoiPatches,
    clinical: ClinicalInput,
    prediction: Prediction,
    stability: ContourStability | None,
    model: FusionModel,
    rules: PlausibilityRules,
) -> Assessment:
    """Combine the results of the steps, and add the groups and warnings that follow from them.

    Parameters
    ----------
    study, selection, tumour, patches, clinical, prediction, stability
        What the steps found; ``stability`` is None where it was not asked for.
    model
        The model that gave the prediction.
    rules
        What to do where the tumour is unlike the model's training patients.

    Returns
    -------
    Assessment
        As `assessment.assess`.

    Raises
    ------
    Refusal
        UNLIKE_TRAINING, where the settings refuse.
    """
    return assess(
        selection=selection,
        tumour=tumour.size,
        roi_slice=roi_slice_reference(selection.ct, tumour.volume, patches),
        patches=patches,
        clinical=clinical.data,
        prediction=prediction,
        model=model.metadata,
        contour_stability=stability,
        unreadable_files=len(study.unreadable),
        rules=rules,
        plausibility=tumour.plausibility,
        further_warnings=clinical.warnings,
    )


def draw_pictures(assessment: Assessment, kinds: Collection[OutputKind]) -> NDArray[np.uint8] | None:
    """Draw the ROI slices with the class activation map, where a wanted report shows them.

    Parameters
    ----------
    assessment
        What is drawn.
    kinds
        The reports that are wanted.

    Returns
    -------
    NDArray[np.uint8] or None
        RGB, shape (slices, rows, columns, 3).
    """
    return build.draw_roi(assessment) if {"cam", "pdf"} & set(kinds) else None


def report_cam(
    assessment: Assessment,
    options: ReportOptions,
    study: Study,
    pictures: NDArray[np.uint8] | None,
    kinds: Collection[OutputKind],
) -> BuiltReport | None:
    """Build the picture of the class activation map, where it is wanted.

    Parameters
    ----------
    assessment, options
        What is drawn, and how it is filed.
    study
        What the input held: earlier reports of the same kind are counted.
    pictures
        From `draw_pictures`.
    kinds
        The reports that are wanted.

    Returns
    -------
    BuiltReport or None
        As `report.build.build_cam`.
    """
    if "cam" not in kinds or pictures is None:
        return None
    return build.build_cam(assessment, options, pictures, study=study)


def report_sr(
    assessment: Assessment,
    options: ReportOptions,
    study: Study,
    cam: BuiltReport | None,
    kinds: Collection[OutputKind],
) -> BuiltReport | None:
    """Build the structured report, where it is wanted.

    Parameters
    ----------
    assessment, options
        What is reported, and how it is filed.
    study
        What the input held: earlier reports in it are named as replaced.
    cam
        The picture, to which the report refers.
    kinds
        The reports that are wanted.

    Returns
    -------
    BuiltReport or None
        As `report.build.build_sr`.
    """
    return build.build_sr(assessment, options, study=study, cam=cam) if "sr" in kinds else None


def report_pdf(
    assessment: Assessment,
    options: ReportOptions,
    study: Study,
    pictures: NDArray[np.uint8] | None,
    kinds: Collection[OutputKind],
) -> BuiltReport | None:
    """Build the page, where it is wanted.

    Parameters
    ----------
    assessment, options
        What is reported, and how it is filed.
    study
        What the input held: earlier reports of the same kind are counted.
    pictures
        From `draw_pictures`.
    kinds
        The reports that are wanted.

    Returns
    -------
    BuiltReport or None
        As `report.build.build_pdf`.
    """
    if "pdf" not in kinds or pictures is None:
        return None
    return build.build_pdf(assessment, options, pictures, study=study)


# --- their order -----------------------------------------------------------------------------------------------------


def find_tumour(study: Study, settings: Settings, watch: Stopwatch) -> tuple[Selection, PlausibleTumour]:
    """Take a study from its headers to the tumour that may be scored.

    Parameters
    ----------
    study
        From `load_study`.
    settings
        ``app.yaml``.
    watch
        Keeps each step's time.

    Returns
    -------
    Selection
        Where the tumour comes from.
    PlausibleTumour

    Raises
    ------
    Refusal
        As `select_tumour`, `resample` and `check_tumour`.
    """
    with watch.timed("series_selection"):
        selection = select_tumour(study, settings.selection, settings.protocol)
    with watch.timed("resample"):
        resampled = resample(selection, settings.plausibility)
    with watch.timed("plausibility"):
        return selection, check_tumour(resampled, settings.plausibility)


def assess_study(study: Study, request: RunRequest, model: FusionModel, watch: Stopwatch) -> Assessment:
    """Take a study from its headers to the assessment of its tumour.

    Parameters
    ----------
    study
        From `load_study`.
    request
        What is asked for.
    model
        The fusion model.
    watch
        Keeps each step's time.

    Returns
    -------
    Assessment

    Raises
    ------
    Refusal
        The study cannot be scored.
    pdl1es.clinical.ClinicalFileError
        ``request.clinical`` does not follow its schema.
    """
    settings = request.settings
    selection, tumour = find_tumour(study, settings, watch)
    memory_bytes = settings.limits.memory_bytes
    with watch.timed("roi_patches"):
        patches = cut_patches(tumour.volume)
    with watch.timed("radiomics"):
        features = compute_features(tumour.volume, memory_bytes=memory_bytes)
    with watch.timed("clinical_data"):
        clinical = read_clinical(selection, request.study_folder, request.clinical)
    with watch.timed("fusion_model"):
        prediction = predict(model, patches, features, clinical.data)
    with watch.timed("contour_stability"):
        stability = vary_contour(
            model,
            tumour.volume,
            clinical.data,
            prediction,
            mode=settings.contour_stability,
            memory_bytes=memory_bytes,
            watch=watch,
        )
    with watch.timed("assessment"):
        return assess_tumour(
            study=study,
            selection=selection,
            tumour=tumour,
            patches=patches,
            clinical=clinical,
            prediction=prediction,
            stability=stability,
            model=model,
            rules=settings.plausibility,
        )


def build_reports(
    assessment: Assessment, study: Study, options: ReportOptions, kinds: Collection[OutputKind], watch: Stopwatch
) -> tuple[BuiltReport, ...]:
    """Build the reports of an assessment.

    Parameters
    ----------
    assessment
        What is reported.
    study
        What the input held: earlier reports in it are named as replaced.
    options
        What the reports have in common.
    kinds
        Which reports: ``sr``, ``cam``, ``pdf``.
    watch
        Keeps each step's time.

    Returns
    -------
    tuple of BuiltReport
        In the order in which result.json lists them.
    """
    with watch.timed("roi_picture"):
        pictures = draw_pictures(assessment, kinds)
    with watch.timed("cam_overlay"):
        cam = report_cam(assessment, options, study, pictures, kinds)
    with watch.timed("structured_report"):
        sr = report_sr(assessment, options, study, cam, kinds)
    with watch.timed("pdf_report"):
        pdf = report_pdf(assessment, options, study, pictures, kinds)
    return reports_in_order(sr, cam, pdf)


def reports_in_order(
    sr: BuiltReport | None, cam: BuiltReport | None, pdf: BuiltReport | None
) -> tuple[BuiltReport, ...]:
    """Return the reports that were built, in the order in which result.json lists them.

    Parameters
    ----------
    sr, cam, pdf
        Each from its step; None where it is not wanted.

    Returns
    -------
    tuple of BuiltReport
        Structured report and page refer to each other, where both are wanted.
    """
    if sr is not None and pdf is not None:
        sr, pdf = build.link(sr, pdf)
    return tuple(report for report in (sr, cam, pdf) if report is not None)


def run_chain(request: RunRequest, model: FusionModel, watch: Stopwatch) -> ChainEnd:
    """Take a study from its folder to its reports, which are built but not written.

    Parameters
    ----------
    request
        What is asked for.
    model
        The fusion model.
    watch
        Keeps each step's time.

    Returns
    -------
    ChainEnd
        With the error that ended the chain early, if any; `pdl1es.outcome.deliver` reports it.
    """
    study = None
    try:
        with watch.timed("study_loader"):
            study = load_study(request.study_folder, request.settings.limits)
        assessment = assess_study(study, request, model, watch)
        reports = build_reports(assessment, study, request.report_options, request.settings.outputs, watch)
    except Exception as error:  # noqa: BLE001 - the end tells any error: deliver() reports a refusal and logs a defect
        return ChainEnd(study, error=error)
    return ChainEnd(study, assessment, reports)
