"""What a model's file says of itself: its cut-offs, what it was trained on, what it expects."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pdl1es.model.training_reach import TrainingReach

METADATA_KEY: Final = "pdl1es"
"""Key of this document, as JSON, among the ONNX file's own metadata."""

TrainingData = Literal["untrained", "synthetic", "patients"]
Recipe = Literal["paper", "label-free"]


class CutOff(BaseModel):
    """A cut-off that belongs to the model, never to the code.

    Attributes
    ----------
    value
        On the scale of the quantity it cuts; a value above it (strictly) is the upper group.
    method
        How it was found: ``"Youden on validation"``, ``"X-tile"``...
    above, below
        What the groups mean, as ``"high risk"`` and ``"low risk"``: the direction is the fitted model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    value: float
    method: str
    above: str
    below: str


class StatedRate(BaseModel):
    """A rate with its 95 % interval, each 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    value: float = Field(ge=0, le=1)
    lower: float = Field(ge=0, le=1)
    upper: float = Field(ge=0, le=1)


class ExpressionAccuracy(BaseModel):
    """How often the expression group was right, on cases that the model was neither trained nor chosen on.

    Attributes
    ----------
    cohort
        The cases, in words that follow their number: ``"further synthetic phantoms"``.
    number, high
        Of the cases, and of those among them with high expression.
    sensitivity, specificity, positive_predictive_value, negative_predictive_value
        At `ModelMetadata.expression_cut_off`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    cohort: str = Field(min_length=1)
    number: int = Field(ge=1)
    high: int = Field(ge=0)
    sensitivity: StatedRate
    specificity: StatedRate
    positive_predictive_value: StatedRate
    negative_predictive_value: StatedRate


class ModelMetadata(BaseModel):
    """What the file says of itself, under the ONNX metadata key ``pdl1es`` as JSON.

    Attributes
    ----------
    schema_version
        Of this document.
    name, version
        The model's.
    training_data
        ``untrained``, ``synthetic`` or ``patients``: anything but the last is a demonstration.
    trained_on, intended_use, limitations
        Sentences for a reader of the report.
    method_digest
        Of the method whose patches and features it was trained on.
    feature_names
        Order of the ``radiomics`` input.
    selected_features
        Those that it uses, in the order of its contributions.
    clinical_names
        Order of the ``clinical`` input.
    window_hu
        HU window of the patch, inside the graph.
    smoker_grade
        Smoking code of a smoker of unknown grade: never's code plus one plus the training share of 'constantly' among
        smokers.
    expression_cut_off, progression_cut_off
        On PD-L1ES: 'high PD-L1 expression', and 'risk of progression'.
    calibrated
        Whether the score's calibration was tested on enough patients and found right, so that it may be called a
        probability.
    clinical_cut_off, fusion_cut_off
        On the Cox models' linear predictors; None where the file has no such output.
    training_reach
        How far the training patients lie; None where it was not measured.
    expression_accuracy
        At the expression cut-off; None where it was not measured.
    recipe
        ``paper``: every weight was trained on the labels. ``label-free``: the network was pretrained without labels, and
        only the linear layer was fitted on them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    training_data: TrainingData
    trained_on: str
    intended_use: str
    limitations: tuple[str, ...]
    method_digest: str
    feature_names: tuple[str, ...]
    selected_features: tuple[str, ...]
    clinical_names: tuple[str, ...]
    window_hu: tuple[float, float]
    smoker_grade: float = Field(ge=0, le=2)
    expression_cut_off: CutOff
    progression_cut_off: CutOff
    calibrated: bool
    clinical_cut_off: CutOff | None = None
    fusion_cut_off: CutOff | None = None
    training_reach: TrainingReach | None = None
    expression_accuracy: ExpressionAccuracy | None = None
    recipe: Recipe = "paper"

    def __repr__(self) -> str:
        """Name the model, not its features: there are 1316."""
        return (
            f"<ModelMetadata {self.name} {self.version}, trained on {self.training_data} data, "
            f"{len(self.selected_features)} of {len(self.feature_names)} features>"
        )

    __str__ = __repr__

    @model_validator(mode="after")
    def _consistent(self) -> ModelMetadata:
        unknown = set(self.selected_features) - set(self.feature_names)
        if unknown:
            raise ValueError(f"{len(unknown)} selected features are not among the feature names")
        if len(set(self.selected_features)) != len(self.selected_features):
            raise ValueError("a selected feature is named twice")
        if self.fusion_cut_off is not None and self.clinical_cut_off is None:
            raise ValueError("fusion_cut_off needs clinical_cut_off: the fusion model holds the clinical one")
        if self.training_reach is not None and len(self.training_reach.centre) != len(self.selected_features):
            raise ValueError("training_reach is of another number of features than selected_features")
        return self
