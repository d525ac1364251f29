"""Baselines that a reader asks for: logistic regression of the clinical variables, LASSO and boosting of the radiomics.

Each is fitted on the patients that the model was fitted on, and no other; what has to be chosen is chosen there by inner
cross-validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pdl1es.model.imputation import build_profiles
from training.cohort.prepared import PreparedCohort
from training.fit import coded_clinical, impute_all, smoker_grade
from training.progress import Progress
from training.scoring.predictions import BASELINES, BOOSTING, CLINICAL_LOGISTIC, LASSO
from training.scoring.scored_cohort import BaselineFit, ScoredCohort
from training.statistics.estimability import NotEstimable, estimated

FOLDS: Final = 5
LARGEST_PENALTIES: Final = tuple(float(share) for share in np.logspace(-0.05, -1.2, 10))
"""LASSO's penalties that are tried, as shares of the smallest one that leaves no feature."""
DEPTHS: Final = (1, 3)
TREES: Final = tuple(range(10, 201, 10))
LEARNING_RATE: Final = 0.05
_ALMOST_UNPENALISED: Final = 1e6
_FREE_INTERCEPT: Final = 100.0
"""liblinear penalises the intercept too; scaled by this much it pays next to nothing."""

Values = NDArray[np.float64]
Scorer = Callable[[Values], Values]


@dataclass(frozen=True, slots=True)
class _Patients:
    """Raw values: clinical (N, 4), radiomics (N, 1316), label (N,), graded (N,)."""

    clinical: Values
    radiomics: Values
    labels: Values
    graded: NDArray[np.bool_]

    def of(self, rows: NDArray[Any]) -> _Patients:
        return _Patients(self.clinical[rows], self.radiomics[rows], self.labels[rows], self.graded[rows])


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A fitted baseline: what scores patients, and what was chosen."""

    score: Callable[[_Patients], Values]
    chosen: dict[str, float]
    features: int


def with_baselines(
    scored: ScoredCohort, prepared: PreparedCohort, *, seed: int = 0, progress: Progress | None = None
) -> ScoredCohort:
    """Add the baselines' scores to a cohort, where it holds the patients that the model was fitted on.

    Parameters
    ----------
    scored
        Its cases name the division. Where its scores are out-of-fold, the training and validation patients are fitted on,
        and the baselines' scores of them are out-of-fold as well.
    prepared
        The same patients: radiomics and clinical values.
    seed
        Of folds and trees.
    progress
        Called with the number of baselines done and in all.

    Returns
    -------
    ScoredCohort
        With one more model for each baseline that could be fitted, and in ``baselines`` what was chosen, or why there is
        none.
    """
    split = scored.cases["split"].to_numpy(dtype=object)
    named = ("train", "validation") if scored.cross_fitted else ("train",)
    inside = np.isin(split.astype(str), named) & ~np.isnan(prepared.labels)
    patients = _Patients(prepared.clinical, prepared.radiomics, prepared.labels, prepared.smoking_graded)
    predictions, found = scored.predictions, dict(scored.baselines)
    for done, name in enumerate(BASELINES):
        if progress is not None:
            progress("baselines", done, len(BASELINES))
        fitted = estimated(_fit_and_score, name, patients, inside, scored.cross_fitted, seed)
        if isinstance(fitted, NotEstimable):
            found[name] = fitted
            continue
        found[name], probability = fitted
        predictions = predictions.adding(name, probability)
    if progress is not None:
        progress("baselines", len(BASELINES), len(BASELINES))
    return replace(scored, predictions=predictions, baselines=found)


def _fit_and_score(
    name: str, patients: _Patients, inside: NDArray[np.bool_], out_of_fold: bool, seed: int
) -> tuple[BaselineFit, Values]:
    """Fit a baseline on the patients inside, and score everybody; those inside by fits without them, where asked for."""
    training = patients.of(inside)
    if not len(training.labels):
        raise ValueError("no patient here is one that a model was fitted on, so that no baseline can be")
    fit = _FITS[name]
    fitted = fit(training, seed)
    probability = fitted.score(patients)
    if out_of_fold:
        apart = np.full(len(training.labels), np.nan)
        for rows, held in _folds(training.labels, seed + 1):
            apart[held] = fit(training.of(rows), seed).score(training.of(held))
        probability[inside] = apart
    return BaselineFit(len(training.labels), fitted.features, fitted.chosen), probability


def _clinical_logistic(training: _Patients, seed: int) -> _Fitted:
    """Logistic regression, next to no penalty, of the four variables as the model imputes them."""
    _folds(training.labels, seed)
    profiles, grade = build_profiles(training.clinical), smoker_grade(training.clinical)

    def imputed(patients: _Patients) -> Values:
        return impute_all(coded_clinical(patients.clinical, patients.graded, grade), profiles)

    model = make_pipeline(StandardScaler(), LogisticRegression(C=_ALMOST_UNPENALISED, max_iter=1000))
    model.fit(imputed(training), training.labels)
    return _Fitted(lambda patients: model.predict_proba(imputed(patients))[:, 1], {}, training.clinical.shape[1])


def _lasso(training: _Patients, seed: int) -> _Fitted:
    """Logistic regression with an L1 penalty; its strength has the least deviance in inner folds."""

    def fit(patients: _Patients, share: float) -> Pipeline:
        scale = make_pipeline(_filled(), StandardScaler())
        standardised = scale.fit_transform(_finite(patients))
        largest = float(np.abs(standardised.T @ (patients.labels - patients.labels.mean())).max())
        if not largest > 0:
            raise ValueError("no feature varies with the label")
        model = LogisticRegression(
            C=1.0 / (share * largest),
            l1_ratio=1.0,
            solver="liblinear",
            intercept_scaling=_FREE_INTERCEPT,
            max_iter=1000,
            random_state=seed,
        )
        return make_pipeline(scale, model.fit(standardised, patients.labels))

    deviance = np.zeros(len(LARGEST_PENALTIES))
    for rows, held in _folds(training.labels, seed):
        inner, outer = training.of(rows), training.of(held)
        for place, share in enumerate(LARGEST_PENALTIES):
            scores = fit(inner, share).predict_proba(_finite(outer))[:, 1]
            deviance[place] += log_loss(outer.labels, scores, labels=[0, 1], normalize=False)
    share = LARGEST_PENALTIES[int(np.argmin(deviance))]
    model = fit(training, share)
    kept = int(np.count_nonzero(model[-1].coef_))
    return _Fitted(lambda patients: model.predict_proba(_finite(patients))[:, 1], {"penalty": share}, kept)


def _boosting(training: _Patients, seed: int) -> _Fitted:
    """Boosted trees; depth and number of trees have the least deviance in inner folds."""

    def fit(patients: _Patients, depth: int, trees: int) -> Pipeline:
        model = GradientBoostingClassifier(
            learning_rate=LEARNING_RATE,
            max_depth=depth,
            n_estimators=trees,
            subsample=0.5,
            max_features="sqrt",
            random_state=seed,
        )
        return make_pipeline(_filled(), model).fit(_finite(patients), patients.labels)

    deviance = np.zeros((len(DEPTHS), len(TREES)))
    for rows, held in _folds(training.labels, seed):
        inner, outer = training.of(rows), training.of(held)
        for place, depth in enumerate(DEPTHS):
            model = fit(inner, depth, TREES[-1])
            stages = list(model[-1].staged_predict_proba(model[:-1].transform(_finite(outer))))
            for column, trees in enumerate(TREES):
                deviance[place, column] += log_loss(
                    outer.labels, stages[trees - 1][:, 1], labels=[0, 1], normalize=False
                )
    best = np.unravel_index(int(np.argmin(deviance)), deviance.shape)
    depth, trees = DEPTHS[best[0]], TREES[best[1]]
    model = fit(training, depth, trees)
    used = int(np.count_nonzero(model[-1].feature_importances_))
    return _Fitted(
        lambda patients: model.predict_proba(_finite(patients))[:, 1], {"depth": depth, "trees": trees}, used
    )


_FITS: Final[dict[str, Callable[[_Patients, int], _Fitted]]] = {
    CLINICAL_LOGISTIC: _clinical_logistic,
    LASSO: _lasso,
    BOOSTING: _boosting,
}


def _folds(labels: Values, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    smallest = int(min((labels == 1).sum(), (labels == 0).sum()))
    if smallest < FOLDS:
        raise ValueError(f"a class has {smallest} training patients, and {FOLDS} folds need {FOLDS}")
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels))


def _filled() -> SimpleImputer:
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _finite(patients: _Patients) -> Values:
    """Return the features, NaN where they are not finite."""
    return np.where(np.isfinite(patients.radiomics), patients.radiomics, np.nan)
