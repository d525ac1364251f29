"""How well the score tells high PD-L1 expression (paper, Figure 2, Table 1, Supplementary Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from training.expression.characteristics import characteristics, levels
from training.expression.performance import (
    AGE_CUT_YEARS,
    DevelopmentReach,
    cut_off_interval,
    development_reach,
    fairness_of,
    score_performance,
)
from training.expression.recalibration import recalibrated
from training.expression.results import (
    EXTERNAL,
    GATE,
    HELD_OUT,
    POOLED,
    SPLITS,
    TEST,
    TRAINING,
    VALIDATION,
    CohortEvaluation,
    Disturbance,
    Evaluation,
    EvaluationSettings,
    ModelInCohort,
)
from training.scoring.predictions import COMPARATORS, SIGNATURE, VOLUME, Predictions
from training.scoring.scored_cohort import BaselineFit
from training.statistics.arrays import Estimate
from training.statistics.calibration import calibration
from training.statistics.classification import YoudenCutOff, classify, youden_cut_off
from training.statistics.decision_curves import decision_curves, net_benefit_difference
from training.statistics.discrimination import auc, compare_paired, roc_curve
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.strata import Stratification, stratify, stratify_by_cut

YOUDEN_ON_VALIDATION: Final = "Youden on validation"
YOUDEN_OUT_OF_FOLD: Final = "Youden on out-of-fold scores"


@dataclass(frozen=True, slots=True)
class _Members:
    """A cohort by name, with the rows of its patients."""

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
    cross_fitted: bool = False,
    baselines: Mapping[str, BaselineFit | NotEstimable] | None = None,
    clinical: NDArray[np.float64] | None = None,
) -> Evaluation:
    """Evaluate any scored cohort.

    Parameters
    ----------
    cases
        ``cases.parquet`` of a prepared cohort, N rows. Patients without a label take no part. Where no row has a split,
        all are one cohort, 'External'.
    predictions
        Scores of these patients; scores of others are ignored.
    settings
        By default `EvaluationSettings`.
    cut_off
        Of high expression, for instance the exported model's own; without it Youden's on validation.
    cut_off_source
        Where a given cut-off comes from, in words.
    controls
        Models among the predictions that are PD-L1ES itself on disturbed inputs.
    cross_fitted
        Whether the scores of training and validation patients are by models fitted without them: then both cohorts
        show performance, and Youden's cut-off is found on both.
    baselines
        How those among the predictions were fitted (`training.expression.baselines`).
    clinical
        Float64, shape (N, 4): the clinical variables as the model imputes them, which the score is held against.

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
    members = _cohorts(cases, ~np.isnan(labels), cross_fitted)
    operating_point = _operating_point(members, labels, signature, cross_fitted)
    own_source = YOUDEN_OUT_OF_FOLD if cross_fitted else YOUDEN_ON_VALIDATION
    used: float | NotEstimable
    if cut_off is not None:
        used = cut_off
    elif isinstance(operating_point, YoudenCutOff):
        used, cut_off_source = operating_point.cut_off, own_source
    else:
        used, cut_off_source = operating_point, "none"
    return Evaluation(
        operating_point=operating_point,
        operating_point_source=own_source,
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
            name: recalibrated(labels[m.rows], signature[m.rows], settings.seed)
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
        performance={
            name: score_performance(
                labels[m.rows],
                signature[m.rows],
                None if clinical is None else clinical[m.rows],
                used,
                n_resamples=settings.model_resamples,
                n_permutations=settings.permutations,
                seed=settings.seed,
            )
            for name, m in members.items()
            if _nothing_chosen(name, m)
        },
        fairness={
            name: fairness_of(cases[m.rows], labels[m.rows], signature[m.rows], used)
            for name, m in members.items()
            if not m.fitted_here and name not in (VALIDATION, POOLED)
        },
        operating_point_interval=_operating_point_interval(members, labels, signature, cross_fitted, settings),
        development=_development(members, labels, signature),
        baselines=dict(baselines or {}),
    )


def _cohorts(cases: pd.DataFrame, labelled: NDArray[np.bool_], cross_fitted: bool) -> dict[str, _Members]:
    split = cases["split"].astype(object).to_numpy() if "split" in cases else np.full(len(cases), None, dtype=object)
    found: dict[str, _Members] = {}
    for name, cohort in SPLITS.items():
        rows = labelled & (split == name)
        if rows.any():
            found[cohort] = _Members(rows, name == "train" and not cross_fitted)
    if not found:
        return {EXTERNAL: _Members(labelled, False)}
    three = [found[name] for name in (TRAINING, VALIDATION, TEST) if name in found]
    if len(three) > 1:
        found[POOLED] = _Members(
            np.any([m.rows for m in three], axis=0), TRAINING in found and found[TRAINING].fitted_here
        )
    if VALIDATION in found and TEST in found:
        found[HELD_OUT] = _Members(found[VALIDATION].rows | found[TEST].rows, False)
    if GATE in found:
        found[GATE] = found.pop(GATE)
    return found


def _columns(scores: Predictions, rows: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    return {name: scores.probability[name][rows] for name in scores.models}


def _nothing_chosen(name: str, members: _Members) -> bool:
    return not members.fitted_here and name not in (VALIDATION, POOLED, HELD_OUT)


def _development(
    members: Mapping[str, _Members], labels: NDArray[np.float64], signature: NDArray[np.float64]
) -> DevelopmentReach | NotEstimable:
    if TRAINING not in members:
        return NotEstimable("the patients that the model was fitted on are not among these")
    fitted = labels[members[TRAINING].rows]
    for name in (GATE, TEST, EXTERNAL):
        if name in members:
            known = members[name].rows & ~np.isnan(signature)
            area = estimated(auc, labels[known], signature[known])
            if isinstance(area, NotEstimable):
                return area
            return estimated(development_reach, fitted.size, int(fitted.sum()), area.value)
    return NotEstimable("there is no cohort on which nothing was chosen")


def _operating_point_interval(
    members: Mapping[str, _Members],
    labels: NDArray[np.float64],
    signature: NDArray[np.float64],
    cross_fitted: bool,
    settings: EvaluationSettings,
) -> Estimate | NotEstimable:
    rows = _operating_rows(members, signature, cross_fitted)
    if isinstance(rows, NotEstimable):
        return rows
    return estimated(cut_off_interval, labels[rows], signature[rows], settings.resamples, settings.seed)


def _operating_point(
    members: Mapping[str, _Members],
    labels: NDArray[np.float64],
    signature: NDArray[np.float64],
    cross_fitted: bool,
) -> YoudenCutOff | NotEstimable:
    rows = _operating_rows(members, signature, cross_fitted)
    return rows if isinstance(rows, NotEstimable) else estimated(youden_cut_off, labels[rows], signature[rows])


def _operating_rows(
    members: Mapping[str, _Members], signature: NDArray[np.float64], cross_fitted: bool
) -> NDArray[np.bool_] | NotEstimable:
    """Return the patients that the cut-off is found on."""
    chosen = [name for name in ((TRAINING, VALIDATION) if cross_fitted else (VALIDATION,)) if name in members]
    if not chosen:
        return NotEstimable("there is no validation cohort")
    rows: NDArray[np.bool_] = np.any([members[name].rows for name in chosen], axis=0) & ~np.isnan(signature)
    return rows if rows.any() else NotEstimable("no score")


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
            for name, column in {
                **{name: column for name, column in shown.items() if name != SIGNATURE},
                "treating everybody": np.ones_like(signature),
                "treating nobody": np.zeros_like(signature),
            }.items()
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
    # not in the paper: whether the score works for all groups of patients (TRIPOD+AI, fairness)
    age = cases["age"].to_numpy(dtype=np.float64, na_value=np.nan)
    sex = levels(cases["sex"], {0.0: "female", 1.0: "male"})
    strata["sex"] = estimated(stratify, "Sex", labels, signature, sex)
    strata["age"] = by_cut("Age", age, AGE_CUT_YEARS, "years")
    known_current = current[np.isfinite(current)]
    median = float(np.median(known_current)) if known_current.size else float("nan")
    if settings.tube_current_cut_ma is not None and median != settings.tube_current_cut_ma:
        strata["tube_current_at_median"] = by_cut("Tube current, cut at this cohort's median", current, None, "mA")
    return strata


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
