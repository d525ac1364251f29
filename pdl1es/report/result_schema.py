"""The form of ``result.json``: one model for each of its parts; `docs/result-schema.md` explains each field.

No field holds a patient's name, id or date. Run this module to print the JSON Schema.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from pdl1es.dicom.contour_origin import AlgorithmType
from pdl1es.model.metadata import TrainingData
from pdl1es.report.kinds import ReportKind

SCHEMA_VERSION: Final = 1

Probability = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GroupResult(_Part):
    """A cut-off of the model, and on which side of it this tumour lies."""

    cut_off: float = Field(description="a value strictly above it is the upper group")
    method: str = Field(description="how the cut-off was found")
    above: str = Field(description="the upper group, in the model's words")
    below: str = Field(description="the lower group, in the model's words")
    value: float | None = Field(description="the quantity that is cut; null where it was not computed")
    group: str | None = Field(description="this tumour's group; null where it is withheld")


class GroupsResult(_Part):
    """The groups; each is withheld (null) where a warning says so."""

    expression: GroupResult = Field(description="on the score: high PD-L1 expression or not")
    risk: GroupResult = Field(description="on the score: risk of progression under first-line pembrolizumab")
    clinical_risk: GroupResult | None = Field(
        description="on the clinical Cox model's linear predictor; null without one"
    )
    fusion_risk: GroupResult | None = Field(description="on the fusion Cox model's linear predictor; null without one")
    withheld: str | None = Field(description="why the groups are withheld; null where they are not")


class SliceResult(_Part):
    """One of the patches that the network saw."""

    offset_mm: int = Field(description="from the ROI slice, along the CT's axis towards the head")
    score: Probability = Field(description="the score that this slice alone would give")
    cam: list[list[float]] = Field(description="class activation map, rows of cells, log-odds; sums to its deep term")


class TermResult(_Part):
    """One term of the score's log-odds."""

    name: str
    log_odds: float


class ContributionsResult(_Part):
    """The score's log-odds as an exact sum of the model's terms; they are no causes."""

    logit: float = Field(description="bias + deep + radiomic_total + clinical_total; its sigmoid is the score")
    bias: float
    deep: float
    radiomic_total: float
    clinical_total: float
    radiomic: tuple[TermResult, ...] = Field(description="one for every feature that the model uses, in its order")
    clinical: tuple[TermResult, ...] = Field(description="one for every clinical variable")
    largest: tuple[TermResult, ...] = Field(
        description="the ten largest by absolute value among deep, radiomic and clinical terms"
    )

    def __repr__(self) -> str:
        return f"ContributionsResult(logit={self.logit:.3f}, {len(self.radiomic)} radiomic features)"

    __str__ = __repr__


class ContourVariantResult(_Part):
    """The score for one other contour."""

    contour: str
    score: Probability | None = Field(description="null where this contour cannot be scored")


class ContourStabilityResult(_Part):
    """The score with contours that differ by 1 mm."""

    lowest: Probability = Field(description="of all contours, the drawn one among them")
    highest: Probability
    variants: tuple[ContourVariantResult, ...]


class ClinicalVariableResult(_Part):
    """One clinical variable."""

    name: str = Field(description="age, sex, smoking or family_history")
    value: float | None = Field(description="as given; null where missing or hidden by the settings")
    source: str = Field(description="where it came from, or 'missing'")
    used: float | None = Field(description="what the model used, after imputation; null where hidden by the settings")
    imputed: bool


class WarningResult(_Part):
    """A warning, as in the report."""

    code: str
    message: str
    effect: Literal["warn", "withhold_group"]


class SeriesResult(_Part):
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


class SegmentResult(_Part):
    """The segment, or the region of a structure set, that was scored."""

    number: int
    label: str
    tracking_uid: str | None = Field(description="the segment's own; null where it has none")
    algorithm_type: AlgorithmType | None = Field(description="who drew it; null where the object does not say it")
    algorithm_name: str | None = Field(description="the software that drew it, where it is a known one")


class SelectionResult(_Part):
    """What was scored, and every series that was not."""

    study_instance_uid: str
    ct_series_instance_uid: str
    frame_of_reference_uid: str
    contour_source: Literal["SEG", "RTSTRUCT"]
    segmentation_sop_instance_uid: str = Field(description="of the SEG, or of the structure set")
    segment: SegmentResult
    series: tuple[SeriesResult, ...] = Field(description="the chosen one first")


class TumourResult(_Part):
    """The tumour's size."""

    source_voxels: int = Field(description="voxels of the segment on its own grid")
    volume_ml: float
    longest_diameter_mm: float = Field(description="3-D maximum")
    longest_axial_diameter_mm: float = Field(description="largest on one slice of the 1 mm grid (RECIST)")
    perpendicular_diameter_mm: float = Field(description="longest perpendicular to it on that slice")
    axial_grid_z_mm: int = Field(description="that slice on the 1 mm grid")


class BodyResult(_Part):
    """One separate part of the tumour on the 1 mm grid."""

    volume_ml: float
    centre_mm: tuple[float, float, float] = Field(description="in the patient's coordinates (LPS)")


class HounsfieldResult(_Part):
    """What the values of the slices that were read look like; padding does not count."""

    air: Probability = Field(description="share of the pixels from -1100 to -500 HU")
    soft: Probability = Field(description="share from -200 to 200 HU")
    dense: Probability = Field(description="share above 1500 HU")
    below_air: Probability = Field(description="share below -1100 HU")
    peak_hu: int | None = Field(description="the commonest value above -250 HU")
    low_median_hu: int | None = Field(description="median of the values below -400 HU")
    shifted_slices: int = Field(description="slices whose low values lie elsewhere than the others'")


class PlausibilityResult(_Part):
    """The numbers by which the tumour was judged; the rules are `plausibility` in ``app.yaml``."""

    removed_specks: int
    removed_voxels: int = Field(description="of the specks, on the segment's own grid")
    removed_bodies: int = Field(description="parts that were left out because the settings take the largest")
    removed_bodies_ml: float
    bodies: tuple[BodyResult, ...] = Field(description="the largest first")
    hollow_share: Probability = Field(description="tissue that the contour encloses and leaves out")
    median_hu: float = Field(description="inside the contour")
    share_below_900_hu: Probability = Field(description="share below -900 HU inside the contour")
    edge_hu: float = Field(description="inner rim (0 to 2 mm) minus outer rim (1 to 3 mm), HU")
    scan_margin_mm: int = Field(description="between the tumour and the nearest end of the scan, at most 10")
    padding_voxels: int = Field(description="voxels around the tumour whose value comes from padding")
    padding_in_patch: bool = Field(description="whether padding lies in the tumour or where the network looks")
    slice_spacing_to_thickness: float | None = Field(description="null where no slice states its thickness")
    contour_spacing_to_slices: float | None = Field(description="null where the contour has one plane")
    hounsfield: HounsfieldResult


class TrainingLikenessResult(_Part):
    """How the tumour lies to the model's training patients; the rule is `plausibility.unlike_training` in ``app.yaml``."""

    clipped_share: Probability = Field(description="of the model's features: clipped")
    clipped_share_limit: Probability | None = Field(description="99.9 % point of the training patients")
    distance: float | None = Field(description="Mahalanobis distance in the model's features")
    distance_limit: float | None = Field(description="99.9 % point of the training patients")
    volume_ml_range: tuple[float, float] | None = Field(description="of the training patients' tumours")
    longest_diameter_mm_range: tuple[float, float] | None
    beyond: tuple[str, ...] = Field(description="in what the tumour lies beyond them; empty where in nothing")


class RoiResult(_Part):
    """The slice of largest tumour area."""

    sop_instance_uid: str
    frame_number: int | None
    instance_number: int | None
    table_position_mm: float
    grid_z_mm: int = Field(description="the slice on the 1 mm grid")
    rectangle_mm: tuple[int, int, int, int] = Field(
        description="x low, y low, x high, y high on the 1 mm grid, both ends included"
    )


class FeaturesResult(_Part):
    """How the radiomic features were computed, and which of the selected ones need a second look."""

    path: Literal["compiled", "numpy"] = Field(description="by the compiled kernels or by numpy: the same values")
    why_numpy: str | None = Field(
        description="kernels not built, or what they compute otherwise here; null for compiled"
    )
    missing: tuple[str, ...] = Field(description="not computable: counted as the training mean")
    clipped: tuple[str, ...] = Field(description="more than 5 standard deviations from the training mean: clipped")


class ModelResult(_Part):
    """The model, as its file describes itself."""

    name: str
    version: str
    training_data: TrainingData
    trained_on: str
    intended_use: str
    limitations: tuple[str, ...]
    calibrated: bool = Field(description="only then may the score be called a probability")
    method_digest: str
    sha256: str = Field(description="of the model's file, hexadecimal")
    provider: str = Field(description="execution provider of onnxruntime that ran it")


class ReportFile(_Part):
    """A report that was written beside this file."""

    kind: ReportKind
    file: str = Field(description="name in the output folder")
    sop_instance_uid: str


class StatementResult(_Part):
    """One thing that every report says, in its words."""

    section: Literal["notice", "summary", "result", "why", "warnings", "tumour", "clinical", "limits", "model"]
    label: str = Field(description="what stands before the text")
    text: str = Field(description="a sentence, a few words, or a number with its unit")


class MercureNotification(_Part):
    """What mercure reads of a module's result: the text of its notification, and whether one is asked for."""

    text: str
    requested: bool = Field(description="true where a person should look: no group is reported, a refusal, a defect")


class AssessmentResult(_Part):
    """One scored tumour; only in a document whose status is ``scored``."""

    notice: str = Field(description="must be shown wherever the score is shown")
    statements: tuple[StatementResult, ...] = Field(description="what every report says, in a reader's order")
    score_name: str = Field(description="what the score may be called")
    score: Probability = Field(description="PD-L1ES")
    groups: GroupsResult
    applies_to: str
    slices: tuple[SliceResult, ...] = Field(description="from the lowest to the highest")
    contour_stability: ContourStabilityResult | None = Field(
        description="null where the settings do not ask for it: off, or borderline and the score lies far from the cut-offs"
    )
    contributions: ContributionsResult
    clinical: tuple[ClinicalVariableResult, ...]
    features: FeaturesResult
    tumour: TumourResult
    plausibility: PlausibilityResult | None = Field(description="null where it was not judged")
    training_likeness: TrainingLikenessResult | None = Field(description="limits are null where the model states none")
    roi: RoiResult
    selection: SelectionResult
    model: ModelResult

    def __repr__(self) -> str:
        return f"AssessmentResult(score={self.score:.3f}, model={self.model.name!r})"

    __str__ = __repr__


class UnreadableFilesResult(_Part):
    """Files that could not be read, by reason. Their names are left out, because a name may be a patient's."""

    reason: str
    files: int


class InputSeriesResult(_Part):
    """One series of the input."""

    series_instance_uid: str
    modality: str
    instances: int


class InputResult(_Part):
    """What the input folder held."""

    study_instance_uids: tuple[str, ...]
    series: tuple[InputSeriesResult, ...]
    ignored_files: int = Field(description="files that are not DICOM")
    unreadable: tuple[UnreadableFilesResult, ...]


class RefusalResult(_Part):
    """Why the study was turned away; codes are listed in docs/refusals.md."""

    code: str
    stage: str
    meaning: str
    found: str
    tag: str | None
    value: str | None
    uid: str | None
    remedy: str


class DefectResult(_Part):
    """The kind of the defect that ended the run. Its message is left out, because it may quote a header."""

    kind: str


class ResultDocument(_Part):
    """The whole of ``result.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)
    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["scored", "refused", "failed"]
    created: str = Field(description="time of the run, ISO 8601 with its offset")
    assessment: AssessmentResult | None
    warnings: tuple[WarningResult, ...] = Field(description="in the order in which a reader should see them")
    refusal: RefusalResult | None
    defect: DefectResult | None
    reports: tuple[ReportFile, ...]
    fhir: str | None = Field(default=None, description="name of the FHIR Bundle beside this file; null without one")
    input: InputResult | None = Field(description="null where the run ended before the input was read")
    versions: dict[str, str]
    seconds: dict[str, float] = Field(description="wall time of each step, in the order in which they ran")
    mercure_notification: MercureNotification = Field(
        validation_alias=AliasChoices("__mercure_notification", "mercure_notification"),
        serialization_alias="__mercure_notification",
        description="for mercure, which shows it in its notifications",
    )

    def __repr__(self) -> str:
        score = f", score={self.assessment.score:.3f}" if self.assessment is not None else ""
        return (
            f"ResultDocument(status={self.status!r}{score}, warnings={len(self.warnings)}, reports={len(self.reports)})"
        )

    __str__ = __repr__

    def text(self) -> str:
        """Return the file's content."""
        return self.model_dump_json(indent=2) + "\n"


def result_schema_text() -> str:
    """Return the JSON Schema of ``result.json`` as it lies in the docs."""
    schema = ResultDocument.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(result_schema_text(), end="")
