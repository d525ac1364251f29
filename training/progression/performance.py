"""How well score and clinical variables tell progression at fixed times, by models that were fitted without the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.statistics.added_value import AddedValue, added_to_cox
from training.statistics.concordance import UnoConcordance, uno_concordance
from training.statistics.cox import cox
from training.statistics.cox_model import CoxModel
from training.statistics.decision_at_time import DecisionAtTime, decision_at_time
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.fixed_time import (
    AreaAtTime,
    BrierAtTime,
    CalibrationAtTime,
    area_at_time,
    brier_at_time,
    calibration_at_time,
)
from training.statistics.multiple_imputation import PooledCox, pooled_cox
from training.statistics.predicted_risk import cross_fitted_risks
from training.statistics.prognosis import SIGNATURE
from training.statistics.sample_size import DevelopmentSize, development_size_of_survival

CLINICAL: Final = "clinical variables"
SCORE: Final = "PD-L1ES"
BOTH: Final = "clinical variables and PD-L1ES"
_PATIENTS_IN_A_GROUP: Final = 20
_MOST_GROUPS: Final = 4


@dataclass(frozen=True, slots=True)
class PerformanceAtTime:
    """One model's risks of progression by one time.

    Attributes
    ----------
    area, brier, calibration
        Each may be not estimable.
    """

    area: AreaAtTime | NotEstimable
    brier: BrierAtTime | NotEstimable
    calibration: CalibrationAtTime | NotEstimable


@dataclass(frozen=True, slots=True)
class RiskPerformance:
    """One model.

    Attributes
    ----------
    concordance
        Uno's, up to the last horizon.
    at
        By horizon in days, as text.
    """

    concordance: UnoConcordance | NotEstimable
    at: dict[str, PerformanceAtTime]


@dataclass(frozen=True, slots=True)
class ProgressionPerformance:
    """Performance at fixed times, what the score adds, and how far the patients reach.

    Attributes
    ----------
    horizons
        Days.
    models
        Cox models of the clinical variables, of PD-L1ES, and of both: each patient's risk is by a model that was fitted
        without them, in ten folds.
    decision
        Net benefit of the models' risks by horizon, as text.
    added
        What PD-L1ES adds to the clinical variables, with C-indices and slopes corrected for optimism.
    imputed
        The model of both with missing clinical values imputed 20 times, beside the one with neighbours' values.
    sample_size
        Patients that a model of both needs if it explains what it seems to explain here.
    """

    horizons: tuple[float, ...]
    models: dict[str, RiskPerformance | NotEstimable]
    decision: dict[str, DecisionAtTime | NotEstimable]
    added: AddedValue | NotEstimable
    imputed: PooledCox | NotEstimable
    sample_size: DevelopmentSize | NotEstimable


def performance_at_times(
    time: NDArray[np.float64],
    event: NDArray[np.float64],
    score: NDArray[np.float64] | NotEstimable,
    clinical: Mapping[str, NDArray[np.float64]],
    known: Mapping[str, NDArray[np.bool_]],
    horizons: tuple[float, ...],
    *,
    n_permutations: int,
    n_resamples: int,
    seed: int,
) -> ProgressionPerformance:
    """Measure score and clinical variables on these patients.

    Parameters
    ----------
    time, event
        Shape (N,).
    score
        PD-L1ES, shape (N,), or why there is none.
    clinical
        Variables that were measured and differ, imputed, by name.
    known
        By the same names, where a value was measured.
    horizons
        Days.
    n_permutations, n_resamples
        Shuffles behind the P of what the score adds; resamples of bootstraps.
    seed
        Of folds, shuffles, resamples and imputations.

    Returns
    -------
    ProgressionPerformance
    """
    designs = _designs(score, clinical)
    risks = {
        name: design
        if isinstance(design, NotEstimable)
        else estimated(cross_fitted_risks, time, event, design, horizons, seed=seed)
        for name, design in designs.items()
    }
    fitted = {name: found for name, found in risks.items() if not isinstance(found, NotEstimable)}
    together = _together(
        time, event, score, clinical, known, designs[BOTH], horizons[-1], n_permutations, n_resamples, seed
    )
    return ProgressionPerformance(
        horizons=horizons,
        models={
            name: found if isinstance(found, NotEstimable) else _performance(time, event, found, horizons)
            for name, found in risks.items()
        },
        decision={
            f"{at:g}": estimated(
                decision_at_time,
                time,
                event,
                {name: found[k] for name, found in fitted.items()},
                at,
                n_resamples=n_resamples,
                seed=seed,
            )
            for k, at in enumerate(horizons)
        },
        added=together[0],
        imputed=together[1],
        sample_size=together[2],
    )


def _together(
    time: NDArray[np.float64],
    event: NDArray[np.float64],
    score: NDArray[np.float64] | NotEstimable,
    clinical: Mapping[str, NDArray[np.float64]],
    known: Mapping[str, NDArray[np.bool_]],
    design: dict[str, NDArray[np.float64]] | NotEstimable,
    at: float,
    n_permutations: int,
    n_resamples: int,
    seed: int,
) -> tuple[AddedValue | NotEstimable, PooledCox | NotEstimable, DevelopmentSize | NotEstimable]:
    """Return what needs score and clinical variables in one model."""
    if isinstance(score, NotEstimable):
        return score, score, score
    if isinstance(design, NotEstimable):
        return design, design, design
    added = estimated(
        added_to_cox,
        time,
        event,
        np.column_stack(list(clinical.values())),
        score,
        n_permutations=n_permutations,
        n_resamples=n_resamples,
        seed=seed,
    )
    model = estimated(cox, time, event, design)
    needed = model if isinstance(model, NotEstimable) else estimated(_needed, time, event, model, at)
    return added, estimated(_imputed, time, event, score, clinical, known, seed), needed


def _designs(
    score: NDArray[np.float64] | NotEstimable, clinical: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, NDArray[np.float64]] | NotEstimable]:
    measured: dict[str, NDArray[np.float64]] | NotEstimable = (
        dict(clinical) if clinical else NotEstimable("no clinical variable was measured and differs between patients")
    )
    if isinstance(score, NotEstimable):
        return {CLINICAL: measured, SCORE: score, BOTH: score}
    both = measured if isinstance(measured, NotEstimable) else {SIGNATURE: score, **measured}
    return {CLINICAL: measured, SCORE: {SIGNATURE: score}, BOTH: both}


def _performance(
    time: NDArray[np.float64], event: NDArray[np.float64], risks: NDArray[np.float64], horizons: tuple[float, ...]
) -> RiskPerformance:
    groups = int(np.clip(time.size // _PATIENTS_IN_A_GROUP, 1, _MOST_GROUPS))
    return RiskPerformance(
        estimated(uno_concordance, time, event, risks[-1], horizons[-1]),
        {
            f"{at:g}": PerformanceAtTime(
                estimated(area_at_time, time, event, risk, at),
                estimated(brier_at_time, time, event, risk, at),
                estimated(calibration_at_time, time, event, risk, at, groups),
            )
            for at, risk in zip(horizons, risks, strict=True)
        },
    )


def _imputed(
    time: NDArray[np.float64],
    event: NDArray[np.float64],
    score: NDArray[np.float64],
    clinical: Mapping[str, NDArray[np.float64]],
    known: Mapping[str, NDArray[np.bool_]],
    seed: int,
) -> PooledCox:
    if all(known[name].all() for name in clinical):
        raise ValueError("no clinical value is missing, so there is nothing to impute")
    gaps = {name: np.where(known[name], values, np.nan) for name, values in clinical.items()}
    return pooled_cox(time, event, {SIGNATURE: score}, gaps, seed=seed)


def _needed(time: NDArray[np.float64], event: NDArray[np.float64], model: CoxModel, at: float) -> DevelopmentSize:
    parameters = len(model.terms)
    statistic = model.likelihood_ratio_test.statistic
    # van Houwelingen and le Cessie's shrinkage takes what so many parameters find by chance
    shrunken = statistic - parameters
    if shrunken <= 0:
        raise ValueError("the model explains no more than chance does, so no number of patients can be said")
    r2 = -float(np.expm1(-shrunken / model.n))
    return development_size_of_survival(float(event.sum() / time.sum()), at, float(time.mean()), parameters, r2)
