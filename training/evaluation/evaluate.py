"""How well the score tells high PD-L1 expression (paper, Figure 2, Table 1, Supplementary Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from training.evaluation.controls import VOLUME
from training.evaluation.estimability import NotEstimable, estimated
from training.evaluation.predictions import COMPARATORS, SIGNATURE, Predictions
from training.statistics.calibration import (
    Calibration,
    Recalibration,
    calibration,
    recalibrate,
    recalibrate_in_the_large,
)
from training.statistics.classification import Classification, YoudenCutOff, classify, youden_cut_off
from training.statistics.decision_curves import (
    DecisionCurves,
    NetBenefitDifference,
    decision_curves,
    net_benefit_difference,
)
from training.statistics.discrimination import Auc, AucComparison, RocCurve, auc, compare_paired, roc_curve
from training.statistics.strata import (
    SLICE_THICKNESS_CUT_MM,
    TUBE_CURRENT_CUT_MA,
    Stratification,
    stratify,
    stratify_by_cut,
)
from training.statistics.table_one import Categorical, Continuous, TableOne, categorical, continuous, table_one

TRAINING: Final = "Training"
VALIDATION: Final = "Validation"
TEST: Final = "Test"
POOLED: Final = "Pooled"
HELD_OUT: Final = "Validation and test"
GATE: Final = "Further test"
EXTERNAL: Final = "External"
SPLITS: Final = {"train": TRAINING, "validation": VALIDATION, "test": TEST, "gate": GATE}
"""Names of the splits in a prepared cohort, and of the cohorts in the report."""
BAYES: Final = "Bayes"
"""The score that knows a synthetic cohort's truth: no model can do better."""

AGE_CUT_YEARS: Final = 65.0

YOUDEN_ON_VALIDATION: Final = "Youden on validation"


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What an evaluation may be told.

    Attributes
    ----------
    tube_current_cut_ma
        None for the cohort's own median; the paper's was 290 mA.
    slice_thickness_cut_mm
        From it on, slices are thick.
    calibration_bins
        Groups of the calibration curve, at most; small cohorts get fewer.
    resamples
        Of the bootstrap behind the difference of two decision curves.
    seed
        Of everything drawn.
    """

    tube_current_cut_ma: float | None = TUBE_CURRENT_CUT_MA
    slice_thickness_cut_mm: float = SLICE_THICKNESS_CUT_MM
    calibration_bins: int = 10
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ModelInCohort:
    """One model in one cohort.

    Attributes
    ----------
    n, unscored
        Patients with a label and a score, and with a label but no score.
    roc, auc, calibration
        Each may be not estimable.
    comparison
        PD-L1ES against this model on the patients that both scored; None for PD-L1ES itself.
    """

    n: int
    unscored: int
    roc: RocCurve | NotEstimable
    auc: Auc | NotEstimable
    calibration: Calibration | NotEstimable
    comparison: AucComparison | NotEstimable | None


@dataclass(frozen=True, slots=True)
class CohortEvaluation:
    """One cohort, or several pooled.

    Attributes
    ----------
    n, n_positive
        Patients with a label.
    fitted_here
        Whether the models were fitted on patients of this cohort: its numbers then say how well they remember.
    models
        PD-L1ES first.
    classification
        PD-L1ES at the expression cut-off.
    decision
        Net benefit of PD-L1ES and the paper's comparators, on the patients that all of them scored.
    net_benefit
        PD-L1ES less each comparator, with pointwise bootstrap intervals.
    """

    n: int
    n_positive: int
    fitted_here: bool
    models: dict[str, ModelInCohort]
    classification: Classification | NotEstimable
    decision: DecisionCurves | NotEstimable
    net_benefit: dict[str, NetBenefitDifference | NotEstimable]


@dataclass(frozen=True, slots=True)
class RecalibrationResult:
    """How the score is made to fit a cohort that it was not trained on.

    Attributes
    ----------
    in_the_large, slope
        The new logit is intercept + slope x the old one; of the first the slope is 1.
    brier
        Of the scores as they are.
    brier_in_the_large, brier_slope
        Cross-fitted by ten folds: each patient's score is recalibrated by the others, so that a gain is one.
    """

    in_the_large: Recalibration | NotEstimable
    slope: Recalibration | NotEstimable
    brier: float
    brier_in_the_large: float | NotEstimable
    brier_slope: float | NotEstimable


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What a control does to the score, patient by patient: mean change, its spread, Wilcoxon's P of no change."""

    n: int
    mean_change: float
    standard_deviation: float
    correlation: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The whole evaluation of expression.

    Attributes
    ----------
    operating_point
        Youden's, found on validation; not estimable where that cohort is missing.
    cut_off
        What is used: the operating point, or the one given.
    cut_off_source
        In words.
    cohorts
        By name: each split, all of them pooled, and validation with test (no model was fitted on these).
    strata
        By cohort (pooled; held out): manufacturer, slice thickness, tube current; sex and age.
    characteristics
        Table 1.
    recalibration
        By cohort that nothing was fitted on.
    controls
        By control and cohort, what it does to PD-L1ES.
    settings
        As given.
    """

    operating_point: YoudenCutOff | NotEstimable
    cut_off: float | NotEstimable
    cut_off_source: str
    cohorts: dict[str, CohortEvaluation]
    strata: dict[str, dict[str, Stratification | NotEstimable]]
    characteristics: TableOne | NotEstimable
    recalibration: dict[str, RecalibrationResult | NotEstimable]
    controls: dict[str, dict[str, Disturbance | NotEstimable]]
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)


@dataclass(frozen=True, slots=True)
class _Members:
    """A cohort by name: which rows are its patients."""

    rows: NDArray[np.bool_]
    fitted_here: bool


def evaluate(
    cases: pd.DataFrame,
    predictions: Predictions,
    settings: EvaluationSettings | None = None,
    *,
    cut_off: float | None = None,
    cut_off_source: str = "given",
    controls: Sequence[str] = (),
) -> Evaluation:
    """Evaluate any scored cohort.

    Parameters
    ----------
    cases
        ``cases.parquet`` of a prepared cohort, N rows. Patients without a label take no part. Where no row has a split,
        all are one cohort, 'External'.
    predictions
        Of these patients; others are left out.
    settings
        By default `EvaluationSettings`.
    cut_off
        Of high expression, for instance the exported model's own; without it Youden's on validation.
    cut_off_source
        Where a given cut-off comes from, in words.
    controls
        Models among the predictions that are PD-L1ES itself on disturbed inputs.

    Returns
    -------
    Evaluation
        Whatever a small cohort does not hold is a `NotEstimable` with its reason.

    Raises
    ------
    ValueError
        No patient has both a label and a score of PD-L1ES.
    """
    settings = settings or EvaluationSettings()
    scores = predictions.aligned(cases["case_id"])
    if SIGNATURE not in scores.probability:
        raise ValueError(f"the predictions hold no model {SIGNATURE!r}, only {', '.join(scores.models)}")
    labels = cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)
    signature = scores.probability[SIGNATURE]
    if not (~np.isnan(labels) & ~np.isnan(signature)).any():
        raise ValueError("no patient has both a label and a score")
    members = _cohorts(cases, ~np.isnan(labels))
    operating_point = _operating_point(members, labels, signature)
    used: float | NotEstimable
    if cut_off is not None:
        used = cut_off
    elif isinstance(operating_point, YoudenCutOff):
        used, cut_off_source = operating_point.cut_off, YOUDEN_ON_VALIDATION
    else:
        used, cut_off_source = operating_point, "none"
    return Evaluation(
        operating_point=operating_point,
        cut_off=used,
        cut_off_source=cut_off_source,
        cohorts={
            name: _cohort(labels[m.rows], _columns(scores, m.rows), m.fitted_here, used, settings, TRAINING in members)
            for name, m in members.items()
        },
        strata={
            name: _strata(
                cases[members[name].rows], labels[members[name].rows], signature[members[name].rows], settings
            )
            for name in (POOLED, HELD_OUT, EXTERNAL)
            if name in members
        },
        characteristics=estimated(characteristics, cases[~np.isnan(labels)]),
        recalibration={
            name: _recalibration(labels[m.rows], signature[m.rows], settings.seed)
            for name, m in members.items()
            if not m.fitted_here and name not in (VALIDATION, HELD_OUT)
        },
        controls={
            control: {
                name: estimated(_disturbance, signature[m.rows], scores.probability[control][m.rows])
                for name, m in members.items()
            }
            for control in controls
            if control in scores.probability
        },
        settings=settings,
    )


def characteristics(cases: pd.DataFrame) -> TableOne:
    """Return Table 1: age, sex, smoking, family history and PD-L1 expression by cohort, the training cohort against each.

    Raises
    ------
    ValueError
        No patient is in the training cohort (a table of one cohort has nothing to compare), or a cohort has fewer than
        two known ages.
    """
    # the paper's table has three cohorts; the further test cases serve the gates only
    if "split" in cases and cases["split"].isin(["train"]).any():
        chosen = cases[cases["split"].isin(["train", "validation", "test"])]
        cohort = [SPLITS[split] for split in chosen["split"]]
        reference = TRAINING
    else:
        chosen, reference = cases, EXTERNAL
        cohort = [EXTERNAL] * len(cases)
    order = np.argsort([list(SPLITS.values()).index(c) if c in SPLITS.values() else 9 for c in cohort], kind="stable")
    chosen, cohort = chosen.iloc[order], [cohort[k] for k in order]
    graded = chosen["smoking_graded"].to_numpy() if "smoking_graded" in chosen else np.ones(len(chosen), dtype=bool)
    smoking = _levels(chosen["smoking"], {0.0: "never", 1.0: "occasionally", 2.0: "constantly"})
    smoking = [
        "smoker of unknown grade" if level is None and known is not None and not pd.isna(known) and not known else level
        for level, known in zip(smoking, graded, strict=True)
    ]
    grades = ["never", "occasionally", "constantly"]
    if "smoker of unknown grade" in smoking:
        grades.append("smoker of unknown grade")
    variables: list[Categorical | Continuous] = [
        continuous("Age, years", chosen["age"].to_numpy(dtype=np.float64), cohort, reference),
        categorical("Sex", _levels(chosen["sex"], {0.0: "female", 1.0: "male"}), cohort, reference, ["female", "male"]),
        categorical("Smoking status", smoking, cohort, reference, grades),
        categorical(
            "Family history of cancer",
            _levels(chosen["family_history"], {0.0: "no", 1.0: "yes"}),
            cohort,
            reference,
            ["no", "yes"],
        ),
        categorical(
            "PD-L1 expression",
            _levels(chosen["label"], {0.0: "TPS < 50 %", 1.0: "TPS >= 50 %"}),
            cohort,
            reference,
            ["TPS < 50 %", "TPS >= 50 %"],
        ),
    ]
    return table_one(cohort, reference, variables)


def _levels(column: pd.Series, names: Mapping[float, str]) -> list[str | None]:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return [None if np.isnan(value) else names[float(value)] for value in values]


def _cohorts(cases: pd.DataFrame, labelled: NDArray[np.bool_]) -> dict[str, _Members]:
    split = cases["split"].astype(object).to_numpy() if "split" in cases else np.full(len(cases), None, dtype=object)
    found: dict[str, _Members] = {}
    for name, cohort in SPLITS.items():
        rows = labelled & (split == name)
        if rows.any():
            found[cohort] = _Members(rows, name == "train")
    if not found:
        return {EXTERNAL: _Members(labelled, False)}
    three = [found[name] for name in (TRAINING, VALIDATION, TEST) if name in found]
    if len(three) > 1:
        found[POOLED] = _Members(np.any([m.rows for m in three], axis=0), TRAINING in found)
    if VALIDATION in found and TEST in found:
        found[HELD_OUT] = _Members(found[VALIDATION].rows | found[TEST].rows, False)
    if GATE in found:
        found[GATE] = found.pop(GATE)
    return found


def _columns(scores: Predictions, rows: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    return {name: scores.probability[name][rows] for name in scores.models}


def _operating_point(
    members: Mapping[str, _Members], labels: NDArray[np.float64], signature: NDArray[np.float64]
) -> YoudenCutOff | NotEstimable:
    if VALIDATION not in members:
        return NotEstimable("there is no validation cohort")
    rows = members[VALIDATION].rows & ~np.isnan(signature)
    return estimated(youden_cut_off, labels[rows], signature[rows]) if rows.any() else NotEstimable("no score")


def _cohort(
    labels: NDArray[np.float64],
    columns: Mapping[str, NDArray[np.float64]],
    fitted_here: bool,
    cut_off: float | NotEstimable,
    settings: EvaluationSettings,
    fitted_volume: bool,
) -> CohortEvaluation:
    signature = columns[SIGNATURE]
    known = ~np.isnan(signature)
    shown = {name: columns[name] for name in (SIGNATURE, *COMPARATORS) if name in columns}
    common = ~np.any([np.isnan(column) for column in shown.values()], axis=0)
    return CohortEvaluation(
        n=labels.size,
        n_positive=int(labels.sum()),
        fitted_here=fitted_here,
        models={
            name: _model(name, labels, column, signature, settings, fitted_volume) for name, column in columns.items()
        },
        classification=(
            cut_off
            if isinstance(cut_off, NotEstimable)
            else estimated(classify, labels[known], signature[known], cut_off)
        ),
        decision=estimated(decision_curves, labels[common], {name: c[common] for name, c in shown.items()}),
        net_benefit={
            name: estimated(
                net_benefit_difference,
                labels[common],
                signature[common],
                column[common],
                n_resamples=settings.resamples,
                seed=settings.seed,
            )
            for name, column in shown.items()
            if name != SIGNATURE
        },
    )


def _model(
    name: str,
    labels: NDArray[np.float64],
    column: NDArray[np.float64],
    signature: NDArray[np.float64],
    settings: EvaluationSettings,
    fitted_volume: bool,
) -> ModelInCohort:
    known = ~np.isnan(column)
    both = known & ~np.isnan(signature)
    bins = int(np.clip(known.sum() // 10, 1, settings.calibration_bins))
    return ModelInCohort(
        n=int(known.sum()),
        unscored=int((~known).sum()),
        roc=estimated(roc_curve, labels[known], column[known]),
        auc=estimated(auc, labels[known], column[known]),
        calibration=(
            NotEstimable("volume alone was not fitted here, so that it orders patients but is no probability")
            if name == VOLUME and not fitted_volume
            else estimated(calibration, labels[known], column[known], bins)
        ),
        comparison=None
        if name == SIGNATURE
        else estimated(compare_paired, labels[both], signature[both], column[both]),
    )


def _strata(
    cases: pd.DataFrame, labels: NDArray[np.float64], signature: NDArray[np.float64], settings: EvaluationSettings
) -> dict[str, Stratification | NotEstimable]:
    known = ~np.isnan(signature)
    cases, labels, signature = cases[known], labels[known], signature[known]
    makers = [None if pd.isna(maker) else str(maker) for maker in cases["manufacturer"]]
    thickness = cases["slice_thickness_mm"].to_numpy(dtype=np.float64, na_value=np.nan)
    current = cases["tube_current_ma"].to_numpy(dtype=np.float64, na_value=np.nan)

    def by_cut(name: str, values: NDArray[np.float64], cut: float | None, unit: str) -> Stratification | NotEstimable:
        return estimated(stratify_by_cut, name, labels, signature, values, cut, unit)

    strata: dict[str, Stratification | NotEstimable] = {
        "manufacturer": estimated(stratify, "Manufacturer", labels, signature, makers),
        "slice_thickness": by_cut("Slice thickness", thickness, settings.slice_thickness_cut_mm, "mm"),
        "tube_current": by_cut("Tube current", current, settings.tube_current_cut_ma, "mA"),
    }
    # not in the paper: does the score work for everybody (TRIPOD+AI, fairness)
    age = cases["age"].to_numpy(dtype=np.float64, na_value=np.nan)
    sex = _levels(cases["sex"], {0.0: "female", 1.0: "male"})
    strata["sex"] = estimated(stratify, "Sex", labels, signature, sex)
    strata["age"] = by_cut("Age", age, AGE_CUT_YEARS, "years")
    known_current = current[np.isfinite(current)]
    median = float(np.median(known_current)) if known_current.size else float("nan")
    if settings.tube_current_cut_ma is not None and median != settings.tube_current_cut_ma:
        strata["tube_current_at_median"] = by_cut("Tube current, cut at this cohort's median", current, None, "mA")
    return strata


def _recalibration(
    labels: NDArray[np.float64], signature: NDArray[np.float64], seed: int
) -> RecalibrationResult | NotEstimable:
    known = ~np.isnan(signature)
    labels, signature = labels[known], signature[known]
    if labels.size == 0:
        return NotEstimable("no patient has a score")
    return RecalibrationResult(
        in_the_large=estimated(recalibrate_in_the_large, labels, signature),
        slope=estimated(recalibrate, labels, signature),
        brier=float(np.mean((signature - labels) ** 2)),
        brier_in_the_large=estimated(_cross_fitted_brier, recalibrate_in_the_large, labels, signature, seed),
        brier_slope=estimated(_cross_fitted_brier, recalibrate, labels, signature, seed),
    )


def _cross_fitted_brier(
    fit: Callable[[NDArray[np.float64], NDArray[np.float64]], Recalibration],
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    seed: int,
    folds: int = 10,
) -> float:
    """Return the Brier score of scores recalibrated by the other folds' patients; folds are stratified by label."""
    generator = np.random.default_rng(seed)
    fold = np.empty(labels.size, dtype=np.int64)
    for level in (0.0, 1.0):
        rows = generator.permutation(np.flatnonzero(labels == level))
        fold[rows] = np.arange(rows.size) % folds
    better = np.empty_like(scores)
    for k in np.unique(fold):
        left, out = fold != k, fold == k
        better[out] = fit(labels[left], scores[left]).apply(scores[out])
    return float(np.mean((better - labels) ** 2))


def _disturbance(whole: NDArray[np.float64], disturbed: NDArray[np.float64]) -> Disturbance:
    known = ~np.isnan(whole) & ~np.isnan(disturbed)
    if known.sum() < 2:
        raise ValueError(f"{int(known.sum())} patients have a score with and without the disturbance; two are needed")
    one, two = whole[known], disturbed[known]
    change = two - one
    varied = np.ptp(one) > 0 and np.ptp(two) > 0
    return Disturbance(
        n=int(known.sum()),
        mean_change=float(change.mean()),
        standard_deviation=float(change.std(ddof=1)),
        correlation=float(np.corrcoef(one, two)[0, 1]) if varied else float("nan"),
        p_value=float(wilcoxon(one, two).pvalue) if change.any() else 1.0,
    )
