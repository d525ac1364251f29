"""The document ``result.json``: everything that is known about one run, for programs.

Apart from ``created`` and ``seconds`` the same input gives the same bytes. Its form is in `result_schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Final, Literal

from pdl1es.assessment import Assessment
from pdl1es.clinical import VARIABLES
from pdl1es.dicom.contour_origin import algorithm_name, algorithm_type
from pdl1es.dicom.free_text import shown_words
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal
from pdl1es.features import default_path
from pdl1es.model.metadata import CutOff
from pdl1es.model.prediction import Contribution
from pdl1es.report import wording
from pdl1es.report.predecessors import Predecessor
from pdl1es.report.provenance import input_result, software_versions
from pdl1es.report.result_schema import (
    AssessmentResult,
    ClinicalVariableResult,
    ContourStabilityResult,
    ContourVariantResult,
    ContributionsResult,
    DefectResult,
    FeaturesResult,
    GroupResult,
    GroupsResult,
    MercureNotification,
    ModelResult,
    PlausibilityResult,
    RefusalResult,
    ReportFile,
    ResultDocument,
    RoiResult,
    SegmentResult,
    SelectionResult,
    SeriesResult,
    SliceResult,
    StatementResult,
    TermResult,
    TrainingLikenessResult,
    TumourResult,
    WarningResult,
)
from pdl1es.report.statements import report_statements

TOP_CONTRIBUTIONS: Final = 10


def scored_result(
    assessment: Assessment,
    *,
    study: Study | None,
    reports: tuple[ReportFile, ...],
    seconds: Mapping[str, float],
    when: datetime,
    show_clinical_values: bool = True,
    fhir: str | None = None,
    predecessors: tuple[Predecessor, ...] = (),
) -> ResultDocument:
    """Return the document of a scored study.

    Parameters
    ----------
    assessment
        What is reported.
    study
        What the input held.
    reports
        What was written beside this document.
    seconds
        Wall time by step.
    when
        Aware time of the run.
    show_clinical_values
        Whether the values of age, sex, smoking and family history stand in it; their sources always do.
    fhir
        Name of the FHIR Bundle, where one was written.
    predecessors
        Earlier reports that the run's replace.

    Returns
    -------
    ResultDocument
    """
    return _document(
        "scored",
        study,
        seconds,
        when,
        assessment=_assessment(assessment, show_clinical_values, predecessors),
        warnings=tuple(WarningResult(code=f.code, message=f.message, effect=f.effect) for f in assessment.warnings),
        reports=reports,
        fhir=fhir,
    )


def refused_result(
    refusal: Refusal,
    *,
    study: Study | None,
    seconds: Mapping[str, float],
    when: datetime,
    reports: tuple[ReportFile, ...] = (),
    fhir: str | None = None,
) -> ResultDocument:
    """Return the document of a study that was turned away.

    Parameters
    ----------
    refusal
        Why.
    study
        What the input held; None where it was not read.
    seconds
        Wall time by step.
    when
        Aware time of the run.
    reports
        The refusal's own report, where one was written.
    fhir
        Name of its FHIR Bundle, where one was written.

    Returns
    -------
    ResultDocument
    """
    row = refusal.code.row
    return _document(
        "refused",
        study,
        seconds,
        when,
        refusal=RefusalResult(
            code=refusal.code.name,
            stage=row.stage,
            meaning=row.meaning,
            found=refusal.found,
            tag=refusal.tag,
            value=refusal.value,
            uid=refusal.uid,
            remedy=refusal.remedy,
        ),
        reports=reports,
        fhir=fhir,
    )


def failed_result(
    error: BaseException, *, study: Study | None, seconds: Mapping[str, float], when: datetime
) -> ResultDocument:
    """Return the document of a run that a defect ended.

    Parameters
    ----------
    error
        Its type is named; its message is not, because it may quote a header.
    study
        What the input held; None where it was not read.
    seconds
        Wall time by step.
    when
        Aware time of the run.

    Returns
    -------
    ResultDocument
    """
    return _document("failed", study, seconds, when, defect=DefectResult(kind=type(error).__name__))


def _document(
    status: Literal["scored", "refused", "failed"],
    study: Study | None,
    seconds: Mapping[str, float],
    when: datetime,
    *,
    assessment: AssessmentResult | None = None,
    warnings: tuple[WarningResult, ...] = (),
    refusal: RefusalResult | None = None,
    defect: DefectResult | None = None,
    reports: tuple[ReportFile, ...] = (),
    fhir: str | None = None,
) -> ResultDocument:
    return ResultDocument(
        status=status,
        created=when.isoformat(timespec="seconds"),
        assessment=assessment,
        warnings=warnings,
        refusal=refusal,
        defect=defect,
        reports=reports,
        fhir=fhir,
        input=input_result(study) if study is not None else None,
        versions=dict(software_versions()),
        seconds={name: round(value, 3) for name, value in seconds.items()},
        mercure_notification=_notification(assessment, refusal, defect),
    )


def _notification(
    assessment: AssessmentResult | None, refusal: RefusalResult | None, defect: DefectResult | None
) -> MercureNotification:
    """Return what mercure tells: the report's first two lines, or why there is none."""
    if assessment is not None:
        notice, *summary = (said.text for said in assessment.statements if said.section in ("notice", "summary"))
        return MercureNotification(
            text=f"{notice}. {' '.join(summary)}", requested=assessment.groups.withheld is not None
        )
    if refusal is not None:
        return MercureNotification(
            text=f"PD-L1ES did not analyse this study. What to do: {refusal.remedy}. {refusal.code}: {refusal.found}",
            requested=True,
        )
    return MercureNotification(
        text=f"PD-L1ES ended by a defect ({defect.kind if defect is not None else 'unknown'}); the log says where.",
        requested=True,
    )


def _assessment(
    assessment: Assessment, show_clinical_values: bool, predecessors: tuple[Predecessor, ...]
) -> AssessmentResult:
    model, prediction = assessment.model, assessment.prediction
    roi, patches = assessment.roi_slice, assessment.patches
    middle = len(prediction.slice_scores) // 2
    return AssessmentResult(
        notice=wording.notice(model),
        statements=tuple(
            StatementResult(section=statement.section, label=statement.label, text=statement.words)
            for statement in report_statements(
                assessment, show_clinical_values=show_clinical_values, predecessors=predecessors
            )
        ),
        score_name=wording.score_name(model),
        score=prediction.score,
        groups=_groups(assessment),
        applies_to=f"{wording.APPLIES_TO} {wording.NO_SUBSTITUTE}",
        slices=tuple(
            SliceResult(offset_mm=index - middle, score=float(score), cam=cam.tolist())
            for index, (score, cam) in enumerate(zip(prediction.slice_scores, prediction.cam, strict=True))
        ),
        contour_stability=_stability(assessment),
        contributions=_contributions(assessment),
        clinical=tuple(
            ClinicalVariableResult(
                name=name,
                value=given.value if show_clinical_values else None,
                source=given.source,
                used=float(used) if show_clinical_values else None,
                imputed=name in prediction.imputed,
            )
            for name, given, used in zip(
                VARIABLES, assessment.clinical.values(), prediction.imputed_clinical, strict=True
            )
        ),
        features=FeaturesResult(
            path=default_path.DEFAULT.name,
            why_numpy=default_path.WHY_NUMPY,
            missing=prediction.missing_features,
            clipped=prediction.clipped_features,
        ),
        tumour=TumourResult(
            source_voxels=assessment.tumour.source_voxels,
            volume_ml=assessment.tumour.volume_ml,
            longest_diameter_mm=assessment.tumour.longest_diameter_mm,
            longest_axial_diameter_mm=assessment.tumour.longest_axial_diameter_mm,
            perpendicular_diameter_mm=assessment.tumour.perpendicular_diameter_mm,
            axial_grid_z_mm=assessment.tumour.axial_grid_z_mm,
        ),
        plausibility=_plausibility(assessment),
        training_likeness=_training_likeness(assessment),
        roi=RoiResult(
            sop_instance_uid=roi.sop_instance_uid,
            frame_number=roi.frame_number,
            instance_number=roi.instance_number,
            table_position_mm=roi.table_position_mm,
            grid_z_mm=patches.roi_z,
            rectangle_mm=patches.rectangle,
        ),
        selection=_selection(assessment),
        model=ModelResult(
            name=model.name,
            version=model.version,
            training_data=model.training_data,
            trained_on=model.trained_on,
            intended_use=model.intended_use,
            limitations=model.limitations,
            calibrated=model.calibrated,
            method_digest=model.method_digest,
            sha256=prediction.model_sha256,
            provider=prediction.provider,
        ),
    )


def _plausibility(assessment: Assessment) -> PlausibilityResult | None:
    if assessment.plausibility is None:
        return None
    return PlausibilityResult.model_validate(asdict(assessment.plausibility.facts))


def _training_likeness(assessment: Assessment) -> TrainingLikenessResult | None:
    found = assessment.remoteness
    if found is None:
        return None
    reach = found.reach
    return TrainingLikenessResult(
        clipped_share=found.clipped_share,
        clipped_share_limit=None if reach is None else reach.clipped_share,
        distance=found.distance,
        distance_limit=None if reach is None else reach.distance,
        volume_ml_range=None if reach is None else reach.volume_ml,
        longest_diameter_mm_range=None if reach is None else reach.longest_diameter_mm,
        beyond=found.beyond,
    )


def _stability(assessment: Assessment) -> ContourStabilityResult | None:
    stability = assessment.contour_stability
    if stability is None:
        return None
    return ContourStabilityResult(
        lowest=stability.lowest,
        highest=stability.highest,
        variants=tuple(ContourVariantResult(contour=v.contour, score=v.score) for v in stability.variants),
    )


def _groups(assessment: Assessment) -> GroupsResult:
    model, prediction = assessment.model, assessment.prediction
    return GroupsResult(
        expression=_cut(model.expression_cut_off, prediction.score, assessment.expression_group),
        risk=_cut(model.progression_cut_off, prediction.score, assessment.risk_group),
        clinical_risk=_optional_cut(model.clinical_cut_off, prediction.clinical_risk, assessment.clinical_risk_group),
        fusion_risk=_optional_cut(model.fusion_cut_off, prediction.fusion_risk, assessment.fusion_risk_group),
        withheld=assessment.withheld,
    )


def _optional_cut(cut_off: CutOff | None, value: float | None, group: str | None) -> GroupResult | None:
    return _cut(cut_off, value, group) if cut_off is not None else None


def _cut(cut_off: CutOff, value: float | None, group: str | None) -> GroupResult:
    return GroupResult(
        cut_off=cut_off.value,
        method=cut_off.method,
        above=cut_off.above,
        below=cut_off.below,
        value=value,
        group=group,
    )


def _contributions(assessment: Assessment) -> ContributionsResult:
    prediction = assessment.prediction
    terms = (Contribution("deep", prediction.deep), *prediction.radiomic, *prediction.clinical)
    # The name decides between equal terms, so that their order does not hang on the model's.
    largest = sorted(terms, key=lambda term: (-abs(term.log_odds), term.name))[:TOP_CONTRIBUTIONS]
    return ContributionsResult(
        logit=prediction.logit,
        bias=prediction.bias,
        deep=prediction.deep,
        radiomic_total=prediction.radiomic_total,
        clinical_total=prediction.clinical_total,
        radiomic=_terms(prediction.radiomic),
        clinical=_terms(prediction.clinical),
        largest=_terms(tuple(largest)),
    )


def _terms(contributions: tuple[Contribution, ...]) -> tuple[TermResult, ...]:
    return tuple(TermResult(name=contribution.name, log_odds=contribution.log_odds) for contribution in contributions)


def _selection(assessment: Assessment) -> SelectionResult:
    selection = assessment.selection
    return SelectionResult(
        study_instance_uid=selection.ct.study_instance_uid,
        ct_series_instance_uid=selection.ct.series_instance_uid,
        frame_of_reference_uid=selection.ct.frame_of_reference_uid,
        contour_source=selection.segmentation.kind,
        segmentation_sop_instance_uid=selection.segmentation.instance.sop_instance_uid,
        segment=SegmentResult(
            number=selection.segment.number,
            label=shown_words(selection.segment.label),
            tracking_uid=selection.segment.tracking_uid,
            algorithm_type=algorithm_type(selection.segment),
            algorithm_name=algorithm_name(selection.segment),
        ),
        series=tuple(
            SeriesResult(
                series_instance_uid=candidate.series_instance_uid,
                series_number=candidate.series_number,
                modality=candidate.modality,
                images=candidate.images,
                kernel=candidate.kernel,
                sharpness=candidate.sharpness,
                slice_spacing_mm=candidate.slice_spacing_mm,
                tumour_coverage=candidate.tumour_coverage,
                chosen=candidate.chosen,
                reasons=candidate.reasons,
            )
            for candidate in selection.candidates
        ),
    )
