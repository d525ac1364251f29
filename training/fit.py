"""Fitting of everything before the network, on the training cohort alone: imputation, z-scores, feature selection."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from statsmodels.stats.multitest import multipletests

from pdl1es.atomic import write_atomically
from pdl1es.clinical import SMOKING_CODES, VARIABLES
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method import MAX_MISSING_FEATURES
from pdl1es.model.imputation import ReferenceProfiles, build_profiles, impute
from training.preprocessing import FittedPreprocessing
from training.statistics.stability import FeatureStability, without_correlated

ALPHA: Final = 0.05
"""Significance level of the selection (method page)."""
CONSTANT: Final = 1e-10
"""A feature whose range is smaller than this share of its largest absolute value varies by rounding alone."""

SMALLEST_ICC: Final = 0.75
"""Koo and Li call a feature good where the 95 % interval of its ICC lies above this (J Chiropr Med 2016; 15: 155-163)."""

Correction = Literal["none", "holm", "benjamini-hochberg"]
Preference = Literal["associated", "stable"]
_STATSMODELS_NAME: Final[dict[Correction, str]] = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}


@dataclass(frozen=True, slots=True, eq=False)
class SelectionFilters:
    """What a feature has to meet besides the test; by default nothing.

    Attributes
    ----------
    stability
        Of the training patients who were measured again; None: no feature is left out for it.
    smallest_icc
        A feature is tested only where the lower limit of its ICC's 95 % interval reaches this.
    largest_correlation
        Absolute Spearman correlation, in the training patients, that two selected features may have; None: any.
    prefer
        Which of correlated ones is kept: the most ``associated`` (smallest P), or the most ``stable`` (largest lower limit).
    """

    stability: FeatureStability | None = None
    smallest_icc: float = SMALLEST_ICC
    largest_correlation: float | None = None
    prefer: Preference = "associated"


@dataclass(frozen=True, slots=True)
class FeatureSelection:
    """Which features the Mann-Whitney U test keeps.

    Attributes
    ----------
    selected
        Indices into the 1316 features, ascending.
    p_values
        float64, shape (1316,): two-sided, before any correction; NaN where a feature was not tested.
    constant, incomplete
        Indices of features that were not tested: those with one value only, and those that more than 5 % of the
        patients lack.
    correction
        Of the P values, for all tested features at once.
    unstable
        Indices of features that were not tested because they are not stable enough.
    stands
        For each feature that passed the test the selected one that stands for it; empty where any correlation is allowed.
    """

    selected: tuple[int, ...]
    p_values: NDArray[np.float64]
    constant: tuple[int, ...]
    incomplete: tuple[int, ...]
    correction: Correction
    unstable: tuple[int, ...] = ()
    stands: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImputationDifference:
    """What the table of shared profiles changes against k-nearest neighbours among the patients themselves.

    Attributes
    ----------
    variable
        Name of the clinical variable.
    missing
        Missing values of the training cohort: all were imputed in both ways.
    mean, largest
        Absolute difference, on the variable's raw scale; 0 where nothing was missing.
    """

    variable: str
    missing: int
    mean: float
    largest: float


def fit_preprocessing(
    clinical: NDArray[np.float64],
    radiomics: NDArray[np.float64],
    labels: NDArray[np.float64],
    smoking_graded: NDArray[np.bool_] | None = None,
    *,
    alpha: float = ALPHA,
    correction: Correction = "none",
    filters: SelectionFilters | None = None,
) -> FittedPreprocessing:
    """Fit everything between raw values and the network. Pass training patients only.

    Parameters
    ----------
    clinical
        float64, shape (N, 4): raw codes, NaN where missing.
    radiomics
        float64, shape (N, 1316).
    labels
        Shape (N,), 0 and 1.
    smoking_graded
        Shape (N,): False for a smoker of unknown grade, whose smoking is NaN. All True by default.
    alpha, correction, filters
        Of the feature selection; `select_features`.

    Returns
    -------
    FittedPreprocessing
        The order of the patients changes at most the last bits of a mean.

    Raises
    ------
    ValueError
        Shapes differ, a class has no patient, or a clinical variable is missing everywhere or the same everywhere.
    """
    n = len(labels)
    for name, array, shape in (("clinical", clinical, (n, 4)), ("radiomics", radiomics, (n, len(FEATURE_NAMES)))):
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
    grade = smoker_grade(clinical)
    profiles = build_profiles(clinical)
    imputed = impute_all(coded_clinical(clinical, smoking_graded, grade), profiles)
    clinical_sd = imputed.std(axis=0)
    same = [name for name, sd in zip(VARIABLES, clinical_sd, strict=True) if not sd > 0]
    if same:
        raise ValueError(f"the training cohort has one value only of {', '.join(same)}: nothing can be learnt from it")
    selected = select_features(radiomics, labels, alpha=alpha, correction=correction, filters=filters).selected
    values = radiomics[:, selected]
    values = np.where(np.isfinite(values), values, np.nan)
    return FittedPreprocessing(
        profiles=profiles,
        clinical_mean=imputed.mean(axis=0),
        clinical_sd=clinical_sd,
        selected=selected,
        radiomic_mean=np.nanmean(values, axis=0),
        radiomic_sd=np.nanstd(values, axis=0),
        smoker_grade=grade,
    )


def smoker_grade(clinical: NDArray[np.float64]) -> float:
    """Return the code of a smoker of unknown grade: never's plus one plus the share of 'constantly' among smokers.

    Parameters
    ----------
    clinical
        float64, shape (N, 4). Without a graded smoker the grade is 'occasionally'.
    """
    never, occasionally, constantly = (SMOKING_CODES[name] for name in ("never", "occasionally", "constantly"))
    smoking = clinical[:, VARIABLES.index("smoking")]
    n_occasionally, n_constantly = int((smoking == occasionally).sum()), int((smoking == constantly).sum())
    smokers = n_occasionally + n_constantly
    return never + 1 + (n_constantly / smokers if smokers else 0.0)


def coded_clinical(
    clinical: NDArray[np.float64], smoking_graded: NDArray[np.bool_] | None, grade: float
) -> NDArray[np.float64]:
    """Give smokers of unknown grade the model's own grade, as the chain does; float64, shape (N, 4).

    Parameters
    ----------
    clinical
        float64, shape (N, 4): raw codes.
    smoking_graded
        Shape (N,): False for a smoker of unknown grade; all True where None.
    grade
        The code that such a smoker gets.

    Returns
    -------
    NDArray[np.float64]
        In the order of `pdl1es.model.imputation`'s variables; NaN is missing.
    """
    coded = clinical.copy()
    if smoking_graded is not None:
        coded[~np.asarray(smoking_graded, dtype=bool), VARIABLES.index("smoking")] = grade
    return coded


def impute_all(clinical: NDArray[np.float64], profiles: ReferenceProfiles) -> NDArray[np.float64]:
    """Impute every row by `pdl1es.model.imputation.impute`; float64, shape (N, 4).

    Parameters
    ----------
    clinical
        float64, shape (N, 4), NaN where missing.
    profiles
        The table of the imputation.

    Returns
    -------
    NDArray[np.float64]
        Without NaN.
    """
    return np.array([impute(row, profiles) for row in clinical]).reshape(-1, len(VARIABLES))


def select_features(
    radiomics: NDArray[np.float64],
    labels: NDArray[np.float64],
    *,
    alpha: float = ALPHA,
    correction: Correction = "none",
    filters: SelectionFilters | None = None,
) -> FeatureSelection:
    """Keep the features that differ between the classes (paper, Methods: Mann-Whitney U test).

    Parameters
    ----------
    radiomics
        float64, shape (N, 1316): of the training cohort; values that are not finite are left out, feature by feature.
    labels
        Shape (N,), 0 and 1.
    alpha
        A feature is kept where its P is smaller.
    correction
        For many tests; none in the paper, as far as it says.
    filters
        None in the paper. Unstable features are left out before the test, so that a correction counts fewer tests;
        correlated ones after it.

    Returns
    -------
    FeatureSelection

    Raises
    ------
    ValueError
        A label is neither 0 nor 1, or a class has no patient.

    Notes
    -----
    Two-sided, normal approximation with correction for ties and continuity: what R's ``wilcox.test`` gives from 50
    patients on. Constant features are never kept; nor is one that more than 5 % of the patients lack, since the chain
    refuses a patient who lacks that share of the model's features.
    """
    high = labels == 1
    if not (high | (labels == 0)).all():
        raise ValueError("labels must be 0 or 1; leave out patients without one")
    if high.all() or not high.any():
        raise ValueError("the training cohort holds one class only: there is nothing to tell apart")
    finite = np.isfinite(radiomics)
    values = np.where(finite, radiomics, np.nan)
    incomplete = (~finite).mean(axis=0) > MAX_MISSING_FEATURES
    constant = np.zeros_like(incomplete)
    complete = ~incomplete
    low, top = np.nanmin(values[:, complete], axis=0), np.nanmax(values[:, complete], axis=0)
    constant[complete] = top - low <= CONSTANT * np.maximum(np.abs(low), np.abs(top))
    p_values = np.full(len(FEATURE_NAMES), np.nan)
    filters = filters or SelectionFilters()
    unstable = np.zeros_like(incomplete)
    if filters.stability is not None:
        unstable = complete & ~constant & ~filters.stability.holds(filters.smallest_icc)
    tested = np.flatnonzero(complete & ~constant & ~unstable)
    if tested.size:
        test = mannwhitneyu(
            values[high][:, tested],
            values[~high][:, tested],
            alternative="two-sided",
            method="asymptotic",
            axis=0,
            nan_policy="omit",
        )
        p_values[tested] = test.pvalue
    # there is no P where a class has no value of the feature
    tested = tested[np.isfinite(p_values[tested])]
    kept = p_values[tested] < alpha
    if correction != "none" and tested.size:
        kept = multipletests(p_values[tested], alpha, method=_STATSMODELS_NAME[correction])[0]
    passed = tested[kept]
    stands: dict[int, int] = {}
    if filters.largest_correlation is not None:
        stable = filters.stability if filters.prefer == "stable" else None
        worth = p_values if stable is None else -stable.lower
        order = [int(index) for index in passed[np.argsort(worth[passed], kind="stable")]]
        stands = without_correlated(radiomics, order, filters.largest_correlation)
        passed = np.array(sorted(set(stands.values())), dtype=np.intp)
    return FeatureSelection(
        selected=tuple(int(index) for index in passed),
        p_values=p_values,
        constant=tuple(int(index) for index in np.flatnonzero(constant)),
        incomplete=tuple(int(index) for index in np.flatnonzero(incomplete)),
        correction=correction,
        unstable=tuple(int(index) for index in np.flatnonzero(unstable)),
        stands=stands,
    )


def imputation_difference(
    clinical: NDArray[np.float64], smoking_graded: NDArray[np.bool_] | None, fitted: FittedPreprocessing
) -> tuple[ImputationDifference, ...]:
    """Compare the imputation from shared profiles with the same rule over the training patients themselves.

    Parameters
    ----------
    clinical, smoking_graded
        Of the training cohort, as `fit_preprocessing` got them.
    fitted
        What it gave.

    Returns
    -------
    tuple[ImputationDifference, ...]
        One per clinical variable.
    """
    known = ~np.isnan(clinical).any(axis=1)
    rows, counts = np.unique(clinical[known], axis=0, return_counts=True)
    exact = ReferenceProfiles(rows, counts.astype(np.float64), fitted.profiles.training_mean)
    coded = coded_clinical(clinical, smoking_graded, fitted.smoker_grade)
    gap = np.abs(impute_all(coded, fitted.profiles) - impute_all(coded, exact))
    missing = np.isnan(coded)
    return tuple(
        ImputationDifference(
            variable=name,
            missing=int(missing[:, column].sum()),
            mean=float(gap[missing[:, column], column].mean()) if missing[:, column].any() else 0.0,
            largest=float(gap[missing[:, column], column].max(initial=0.0)),
        )
        for column, name in enumerate(VARIABLES)
    )


def write_fitted(path: Path, fitted: FittedPreprocessing) -> None:
    """Write fitted values as one NPZ file of plain arrays.

    Parameters
    ----------
    path
        An ``.npz`` file.
    fitted
        What was fitted.
    """
    content = io.BytesIO()
    np.savez(
        content,
        profile_values=fitted.profiles.values,
        profile_counts=fitted.profiles.counts,
        training_mean=fitted.profiles.training_mean,
        clinical_mean=fitted.clinical_mean,
        clinical_sd=fitted.clinical_sd,
        selected=np.array(fitted.selected, dtype=np.int64),
        radiomic_mean=fitted.radiomic_mean,
        radiomic_sd=fitted.radiomic_sd,
        smoker_grade=np.float64(fitted.smoker_grade),
    )
    write_atomically(path, content.getvalue())


def read_fitted(path: Path) -> FittedPreprocessing:
    """Read what `write_fitted` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return FittedPreprocessing(
            profiles=ReferenceProfiles(arrays["profile_values"], arrays["profile_counts"], arrays["training_mean"]),
            clinical_mean=arrays["clinical_mean"],
            clinical_sd=arrays["clinical_sd"],
            selected=tuple(int(index) for index in arrays["selected"]),
            radiomic_mean=arrays["radiomic_mean"],
            radiomic_sd=arrays["radiomic_sd"],
            smoker_grade=float(arrays["smoker_grade"]),
        )
