"""``result.json``: everything that is known about one run, for programs; `docs/result-schema.md` explains each field.

No field holds a patient's name, id or date. Apart from ``created`` and ``seconds`` the same input gives the same bytes.
Run this module to print the JSON Schema.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pdl1es import __version__
from pdl1es.assessment import Assessment
from pdl1es.clinical import VARIABLES
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal
from pdl1es.model.fusion import Contribution, CutOff, TrainingData
from pdl1es.report import wording

SCHEMA_VERSION: Final = 1
TOP_CONTRIBUTIONS: Final = 10
PACKAGES: Final = (
    "highdicom",
    "monai-deploy-app-sdk",
    "numpy",
    "onnxruntime-gpu",
    "pydicom",
    "pyradiomics",
    "scipy",
    "SimpleITK",
)
"""Packages whose version can change a result."""

Probability = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Cut(_Record):
    """A cut-off of the model, and on which side of it this tumour lies."""

    cut_off: float = Field(description="a value strictly above it is the upper group")
    method: str = Field(description="how the cut-off was found")
    above: str = Field(description="the upper group, in the model's words")
    below: str = Field(description="the lower group, in the model's words")
    value: float | None = Field(description="the quantity that is cut; null where it was not computed")
    group: str | None = Field(description="this tumour's group; null where it is withheld")


class Groups(_Record):
    """The groups; each is withheld (null) where a warning says so."""

    expression: Cut = Field(description="on the score: high PD-L1 expression or not")
    risk: Cut = Field(description="on the score: risk of progression under first-line pembrolizumab")
    clinical_risk: Cut | None = Field(description="on the clinical Cox model's linear predictor; null without one")
    fusion_risk: Cut | None = Field(description="on the fusion Cox model's linear predictor; null without one")
    withheld: str | None = Field(description="why the groups are withheld; null where they are not")


class Slice(_Record):
    """One of the patches that the network saw."""

    offset_mm: int = Field(description="from the ROI slice, along the CT's axis towards the head")
    score: Probability = Field(description="the score that this slice alone would give")
    cam: list[list[float]] = Field(description="class activation map, rows of cells, log-odds; sums to its deep term")


class Term(_Record):
    """One term of the score's log-odds."""

    name: str
    log_odds: float


class Contributions(_Record):
    """The score's log-odds as an exact sum; what the model added up, not what causes anything."""

    logit: float = Field(description="bias + deep + radiomic_total + clinical_total; its sigmoid is the score")
    bias: float
    deep: float
    radiomic_total: float
    clinical_total: float
    radiomic: tuple[Term, ...] = Field(description="one for every feature that the model uses, in its order")
    clinical: tuple[Term, ...] = Field(description="one for every clinical variable")
    largest: tuple[Term, ...] = Field(
        description="the ten largest by absolute value among deep, radiomic and clinical terms"
    )


class ContourVariantScore(_Record):
    """The score for one other contour."""

    contour: str
    score: Probability | None = Field(description="null where this contour cannot be scored")


class ContourStabilityResult(_Record):
    """The score with contours that differ by 1 mm."""

    lowest: Probability = Field(description="of all contours, the drawn one among them")
    highest: Probability
    variants: tuple[ContourVariantScore, ...]


class ClinicalVariable(_Record):
    """One clinical variable."""

    name: str = Field(description="age, sex, smoking or family_history")
    value: float | None = Field(description="as given; null where missing or hidden by the settings")
    source: str = Field(description="where it came from, or 'missing'")
    used: float | None = Field(description="what the model used, after imputation; null where hidden by the settings")
    imputed: bool


class WarningResult(_Record):
    """A warning, as in the report."""

    code: str
    message: str
    effect: Literal["warn", "withhold_group"]


class Candidate(_Record):
    """One series of the study in the light of the selection's rules."""

    series_instance_uid: str
    series_number: int | None
    modality: str
    images: int
    kernel: str | None
    sharpness: str
    slice_spacing_mm: float | None
    tumour_coverage: float | None = Field(description="share of the tumour's planes that the series shows, 0 to 1")
    chosen: bool
    reasons: tuple[str, ...]


class SelectedSegment(_Record):
    """The segment that was scored."""

    number: int
    label: str
    tracking_uid: str | None = Field(description="the segment's own; null where it has none")


class SelectionResult(_Record):
    """What was scored, and every series that was not."""

    study_instance_uid: str
    ct_series_instance_uid: str
    frame_of_reference_uid: str
    segmentation_sop_instance_uid: str
    segment: SelectedSegment
    series: tuple[Candidate, ...] = Field(description="the chosen one first")


class Tumour(_Record):
    """The tumour's size."""

    source_voxels: int = Field(description="voxels of the segment on its own grid")
    volume_ml: float
    longest_diameter_mm: float


class Roi(_Record):
    """The slice of largest tumour area."""

    sop_instance_uid: str
    frame_number: int | None
    instance_number: int | None
    table_position_mm: float
    grid_z_mm: int = Field(description="the slice on the 1 mm grid")
    rectangle_mm: tuple[int, int, int, int] = Field(
        description="x low, y low, x high, y high on the 1 mm grid, both ends included"
    )


class Features(_Record):
    """Selected radiomic features that need a second look."""

    missing: tuple[str, ...] = Field(description="not computable: counted as the training mean")
    clipped: tuple[str, ...] = Field(description="more than 5 standard deviations from the training mean: clipped")


class ModelResult(_Record):
    """The model, as its file describes itself."""

    name: str
    version: str
    training_data: TrainingData
    trained_on: str
    intended_use: str
    limitations: tuple[str, ...]
    calibrated: bool = Field(description="only then may the score be called a probability")
    method_digest: str
    provider: str = Field(description="execution provider of onnxruntime that ran it")


class ReportFile(_Record):
    """A report that was written beside this file."""

    kind: Literal["sr", "cam", "pdf"]
    file: str = Field(description="name in the output folder")
    sop_instance_uid: str


class AssessmentResult(_Record):
    """One scored tumour; only in a document whose status is ``scored``."""

    notice: str = Field(description="must be shown wherever the score is shown")
    score_name: str = Field(description="what the score may be called")
    score: Probability = Field(description="PD-L1ES")
    groups: Groups
    applies_to: str
    slices: tuple[Slice, ...] = Field(description="from the lowest to the highest")
    contour_stability: ContourStabilityResult | None = Field(description="null where it was not asked for")
    contributions: Contributions
    clinical: tuple[ClinicalVariable, ...]
    features: Features
    tumour: Tumour
    roi: Roi
    selection: SelectionResult
    model: ModelResult


class UnreadableFiles(_Record):
    """Files that were given up for one reason; their names are not repeated, a name may be a patient's."""

    reason: str
    files: int


class InputSeries(_Record):
    """One series of the input."""

    series_instance_uid: str
    modality: str
    instances: int


class InputResult(_Record):
    """What the input folder held."""

    study_instance_uids: tuple[str, ...]
    series: tuple[InputSeries, ...]
    ignored_files: int = Field(description="files that are not DICOM")
    unreadable: tuple[UnreadableFiles, ...]


class RefusalResult(_Record):
    """Why the study was turned away; codes are listed in docs/refusals.md."""

    code: str
    stage: str
    meaning: str
    found: str
    tag: str | None
    value: str | None
    uid: str | None
    remedy: str


class DefectResult(_Record):
    """What kind of defect ended the run; its message stays out, it may quote a header."""

    kind: str


class ResultDocument(_Record):
    """The whole of ``result.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["scored", "refused", "failed"]
    created: str = Field(description="time of the run, ISO 8601 with its offset")
    assessment: AssessmentResult | None
    warnings: tuple[WarningResult, ...] = Field(description="in the order in which a reader should see them")
    refusal: RefusalResult | None
    defect: DefectResult | None
    reports: tuple[ReportFile, ...]
    input: InputResult | None = Field(description="null where the run ended before the input was read")
    versions: dict[str, str]
    seconds: dict[str, float] = Field(description="wall time of each operator, in the order in which they ran")


def scored_result(
    assessment: Assessment,
    *,
    study: Study | None,
    reports: tuple[ReportFile, ...],
    seconds: Mapping[str, float],
    when: datetime,
    show_clinical_values: bool = True,
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
        Wall time by operator.
    when
        Aware time of the run.
    show_clinical_values
        Whether the values of age, sex, smoking and family history stand in it; their sources always do.
    """
    return _document(
        "scored",
        study,
        seconds,
        when,
        assessment=_assessment(assessment, show_clinical_values),
        warnings=tuple(WarningResult(code=f.code, message=f.message, effect=f.effect) for f in assessment.warnings),
        reports=reports,
    )


def refused_result(
    refusal: Refusal,
    *,
    study: Study | None,
    seconds: Mapping[str, float],
    when: datetime,
    reports: tuple[ReportFile, ...] = (),
) -> ResultDocument:
    """Return the document of a study that was turned away; ``reports`` holds the refusal's own, if one was written."""
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
    )


def failed_result(
    error: BaseException, *, study: Study | None, seconds: Mapping[str, float], when: datetime
) -> ResultDocument:
    """Return the document of a run that a defect ended: its kind, never its message."""
    return _document("failed", study, seconds, when, defect=DefectResult(kind=type(error).__name__))


def result_schema_text() -> str:
    """Return the JSON Schema of ``result.json`` as it lies in the docs."""
    schema = ResultDocument.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


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
) -> ResultDocument:
    return ResultDocument(
        status=status,
        created=when.isoformat(timespec="seconds"),
        assessment=assessment,
        warnings=warnings,
        refusal=refusal,
        defect=defect,
        reports=reports,
        input=_input(study) if study is not None else None,
        versions=dict(software_versions()),
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


@cache
def software_versions() -> tuple[tuple[str, str], ...]:
    """Return name and version of this software, Python and the packages that can change a result."""
    found = []
    for package in PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return (("pdl1es", __version__), ("python", platform.python_version()), *found)


def _input(study: Study) -> InputResult:
    series = Counter((i.series_instance_uid, str(i.header.get("Modality", "") or "")) for i in study.instances)
    reasons = Counter(file.reason for file in study.unreadable)
    return InputResult(
        study_instance_uids=tuple(sorted({i.study_instance_uid for i in study.instances})),
        series=tuple(
            InputSeries(series_instance_uid=uid, modality=modality, instances=count)
            for (uid, modality), count in sorted(series.items())
        ),
        ignored_files=study.ignored,
        unreadable=tuple(UnreadableFiles(reason=reason, files=count) for reason, count in sorted(reasons.items())),
    )


def _assessment(assessment: Assessment, show_clinical_values: bool) -> AssessmentResult:
    model, prediction = assessment.model, assessment.prediction
    roi, patches = assessment.roi_slice, assessment.patches
    middle = len(prediction.slice_scores) // 2
    return AssessmentResult(
        notice=wording.notice(model),
        score_name=wording.score_name(model),
        score=prediction.score,
        groups=_groups(assessment),
        applies_to=f"{wording.APPLIES_TO} {wording.NO_SUBSTITUTE}",
        slices=tuple(
            Slice(offset_mm=index - middle, score=float(score), cam=cam.tolist())
            for index, (score, cam) in enumerate(zip(prediction.slice_scores, prediction.cam, strict=True))
        ),
        contour_stability=_stability(assessment),
        contributions=_contributions(assessment),
        clinical=tuple(
            ClinicalVariable(
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
        features=Features(missing=prediction.missing_features, clipped=prediction.clipped_features),
        tumour=Tumour(
            source_voxels=assessment.tumour.source_voxels,
            volume_ml=assessment.tumour.volume_ml,
            longest_diameter_mm=assessment.tumour.longest_diameter_mm,
        ),
        roi=Roi(
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
            provider=prediction.provider,
        ),
    )


def _stability(assessment: Assessment) -> ContourStabilityResult | None:
    stability = assessment.stability
    if stability is None:
        return None
    return ContourStabilityResult(
        lowest=stability.lowest,
        highest=stability.highest,
        variants=tuple(ContourVariantScore(contour=v.name, score=v.score) for v in stability.variants),
    )


def _groups(assessment: Assessment) -> Groups:
    model, prediction = assessment.model, assessment.prediction
    withheld = any(warning.effect == "withhold_group" for warning in assessment.warnings)
    return Groups(
        expression=_cut(model.expression_cut_off, prediction.score, assessment.expression_group),
        risk=_cut(model.progression_cut_off, prediction.score, assessment.risk_group),
        clinical_risk=_optional_cut(model.clinical_cut_off, prediction.clinical_risk, assessment.clinical_risk_group),
        fusion_risk=_optional_cut(model.fusion_cut_off, prediction.fusion_risk, assessment.fusion_risk_group),
        withheld=wording.withheld_reason(assessment.warnings) if withheld else None,
    )


def _optional_cut(cut_off: CutOff | None, value: float | None, group: str | None) -> Cut | None:
    return _cut(cut_off, value, group) if cut_off is not None else None


def _cut(cut_off: CutOff, value: float | None, group: str | None) -> Cut:
    return Cut(
        cut_off=cut_off.value,
        method=cut_off.method,
        above=cut_off.above,
        below=cut_off.below,
        value=value,
        group=group,
    )


def _contributions(assessment: Assessment) -> Contributions:
    prediction = assessment.prediction
    terms = (Contribution("deep", prediction.deep), *prediction.radiomic, *prediction.clinical)
    # The name decides between equal terms, so that their order does not hang on the model's.
    largest = sorted(terms, key=lambda term: (-abs(term.value), term.name))[:TOP_CONTRIBUTIONS]
    return Contributions(
        logit=prediction.logit,
        bias=prediction.bias,
        deep=prediction.deep,
        radiomic_total=prediction.radiomic_total,
        clinical_total=prediction.clinical_total,
        radiomic=_terms(prediction.radiomic),
        clinical=_terms(prediction.clinical),
        largest=_terms(tuple(largest)),
    )


def _terms(contributions: tuple[Contribution, ...]) -> tuple[Term, ...]:
    return tuple(Term(name=contribution.name, log_odds=contribution.value) for contribution in contributions)


def _selection(assessment: Assessment) -> SelectionResult:
    selection = assessment.selection
    return SelectionResult(
        study_instance_uid=selection.ct.study_instance_uid,
        ct_series_instance_uid=selection.ct.series_instance_uid,
        frame_of_reference_uid=selection.ct.frame_of_reference_uid,
        segmentation_sop_instance_uid=selection.segmentation.instance.sop_instance_uid,
        segment=SelectedSegment(
            number=selection.segment.number,
            label=selection.segment.label,
            tracking_uid=selection.segment.tracking_uid,
        ),
        series=tuple(
            Candidate(
                series_instance_uid=candidate.series_instance_uid,
                series_number=candidate.series_number,
                modality=candidate.modality,
                images=candidate.images,
                kernel=candidate.kernel,
                sharpness=candidate.sharpness,
                slice_spacing_mm=candidate.slice_spacing,
                tumour_coverage=candidate.tumour_coverage,
                chosen=candidate.chosen,
                reasons=candidate.reasons,
            )
            for candidate in selection.candidates
        ),
    )


if __name__ == "__main__":
    print(result_schema_text(), end="")
