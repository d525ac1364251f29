"""The file ``cut_offs.json``: cut-offs, Cox models and numbers that evaluation and prognosis give the exported model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES
from pdl1es.model.metadata import CutOff
from training.errors import UsageError, validation_reasons
from training.expression.results import TEST, Evaluation
from training.known_truth.gates import Gate
from training.preprocessing import CoxTerms
from training.progression.results import Prognosis, risk_names
from training.release.calibration_claim import TestedCalibration
from training.release.performance import Performance, performance_of
from training.scoring.predictions import SIGNATURE
from training.statistics.calibration import Calibration
from training.statistics.classification import YoudenCutOff
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import RiskModel
from training.statistics.xtile import CutOffSearch

CUT_OFFS_FILE = "cut_offs.json"


class CutOffsError(UsageError):
    """A file of cut-offs does not follow its schema; the message says where."""


class CoxPart(BaseModel):
    """One Cox model: the linear predictor is ``sum coefficients x (values - means)``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    names: tuple[str, ...]
    coefficients: tuple[float, ...]
    means: tuple[float, ...]
    cut_off: CutOff

    def linear_predictor(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the linear predictor of N patients, shape (N,), from their values, shape (N, K)."""
        return (values - np.array(self.means)) @ np.array(self.coefficients)


class ModelCutOffs(BaseModel):
    """Everything that `export` writes into the model beside its weights; None where the cohort does not allow it.

    Attributes
    ----------
    schema_version
        Of this document.
    expression
        Operating point of 'high PD-L1 expression'.
    progression
        On PD-L1ES, of the risk of progression.
    calibration
        Of the score on the test split; `training.release.calibration_claim` judges it.
    clinical, fusion
        Cox models with their cut-offs. The fusion model's variables are PD-L1ES and the clinical linear predictor.
    not_estimable
        Reasons, by the name of the part that is None.
    model
        SHA-256 of the ONNX file whose scores were analysed; None in files of earlier versions.
    performance
        The numbers for the model's card; None in files of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    schema_version: Literal[1] = 1
    expression: CutOff | None = None
    progression: CutOff | None = None
    calibration: TestedCalibration | None = None
    clinical: CoxPart | None = None
    fusion: CoxPart | None = None
    not_estimable: dict[str, str] = Field(default_factory=dict)
    model: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    performance: Performance | None = None

    def with_gates(self, gates: Sequence[Gate]) -> ModelCutOffs:
        """Return the same with these claims on a synthetic cohort's known truth."""
        performance = (self.performance or Performance()).model_copy(update={"gates": tuple(gates)})
        return self.model_copy(update={"performance": performance})

    def cox_terms(self) -> CoxTerms | None:
        """Return the Cox models as `training.export.export_model` takes them."""
        if self.clinical is None:
            return None
        return CoxTerms(
            clinical_coefficients=np.array(self.clinical.coefficients),
            clinical_means=np.array(self.clinical.means),
            fusion_coefficients=None if self.fusion is None else np.array(self.fusion.coefficients),
            fusion_means=None if self.fusion is None else np.array(self.fusion.means),
        )

    def risks(self, clinical: NDArray[np.float64], score: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return the linear predictors of the Cox models that there are, by the name of the model's output.

        Parameters
        ----------
        clinical
            float64, shape (N, 4): the imputed variables on the raw scale.
        score
            PD-L1ES, float64, shape (N,).

        Returns
        -------
        dict[str, NDArray[np.float64]]
            Each float64, shape (N,).
        """
        if self.clinical is None:
            return {}
        risks = {"clinical_risk": self.clinical.linear_predictor(clinical)}
        if self.fusion is not None:
            risks["fusion_risk"] = self.fusion.linear_predictor(np.column_stack([score, risks["clinical_risk"]]))
        return risks


def model_cut_offs(
    evaluation: Evaluation | None,
    prognosis: Prognosis | None,
    *,
    synthetic: bool,
    model: str | None = None,
    gates: Sequence[Gate] = (),
) -> ModelCutOffs:
    """Collect what an exported model needs.

    Where X-tile finds no cut-off (too few patients, no event), there is none: a model must not name a risk group that
    rests on no patients.

    Parameters
    ----------
    evaluation, prognosis
        Of the same patients' scores.
    synthetic
        Whether they were analysed on phantoms.
    model
        `model_digest` of the file that scored.
    gates
        Of a synthetic cohort.

    Returns
    -------
    ModelCutOffs
    """
    performance = performance_of(evaluation, prognosis, gates)
    missing: dict[str, str] = {}
    expression = None
    if evaluation is None:
        missing["expression"] = "expression was not evaluated"
    elif isinstance(evaluation.operating_point, YoudenCutOff):
        expression = CutOff(
            value=evaluation.operating_point.cut_off,
            method=evaluation.operating_point_source,
            above="high expression",
            below="not high expression",
        )
    else:
        missing["expression"] = evaluation.operating_point.reason
    tested = _test_calibration(evaluation)
    calibration = None
    if isinstance(tested, Calibration):
        calibration = TestedCalibration.of(tested, synthetic=synthetic)
    else:
        missing["calibration"] = tested.reason
    if prognosis is None:
        missing["progression"] = "progression was not analysed"
        return ModelCutOffs(
            expression=expression,
            calibration=calibration,
            not_estimable=missing,
            model=model,
            performance=performance,
        )
    progression = None
    if isinstance(prognosis.search, CutOffSearch):
        progression = _cut_off(prognosis.search)
    else:
        missing["progression"] = prognosis.search.reason
    parts: dict[str, CoxPart | None] = {}
    clinical = prognosis.clinical
    held = VARIABLES if isinstance(clinical, NotEstimable) else clinical.fit.model.names
    for name, result in (("clinical", clinical), ("fusion", prognosis.fusion)):
        parts[name] = None
        if isinstance(result, NotEstimable):
            missing[name] = result.reason
        elif held != VARIABLES:
            missing[name] = (
                f"the clinical model holds only {', '.join(held)}, and a model file needs all four variables"
            )
        else:
            parts[name] = _part(result.fit)
    return ModelCutOffs(
        expression=expression,
        progression=progression,
        calibration=calibration,
        clinical=parts["clinical"],
        fusion=parts["fusion"],
        not_estimable=missing,
        model=model,
        performance=performance,
    )


def write_cut_offs(path: Path, cut_offs: ModelCutOffs) -> None:
    """Write the file; the same cut-offs give the same bytes.

    Parameters
    ----------
    path
        Of ``cut_offs.json``.
    cut_offs
        What it holds.
    """
    write_atomically(path, (cut_offs.model_dump_json(indent=1) + "\n").encode("utf-8"))


def read_cut_offs(path: Path) -> ModelCutOffs:
    """Read the file.

    Raises
    ------
    CutOffsError
        It is not one.
    """
    try:
        return ModelCutOffs.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CutOffsError(f"{path.name} holds no cut-offs of a model: {validation_reasons(error)}") from error


def _test_calibration(evaluation: Evaluation | None) -> Calibration | NotEstimable:
    if evaluation is None:
        return NotEstimable("expression was not evaluated")
    if TEST not in evaluation.cohorts:
        return NotEstimable("there is no test split")
    return evaluation.cohorts[TEST].models[SIGNATURE].calibration


def _part(fit: RiskModel) -> CoxPart:
    return CoxPart(
        names=fit.model.names,
        coefficients=tuple(float(value) for value in fit.model.coefficients),
        means=tuple(float(value) for value in fit.model.centre),
        cut_off=_cut_off(fit.search),
    )


def _cut_off(search: CutOffSearch) -> CutOff:
    above, below = risk_names(search.upper_is_worse)
    return CutOff(value=search.cut_off, method="X-tile on the immunotherapy cohort", above=above, below=below)
