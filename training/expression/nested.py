"""Repeated nested cross-validation: what the whole recipe, every choice included, is worth on patients it has not seen."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from training.cohort.prepared import PreparedCohort
from training.expression.results import NestedCrossValidation
from training.fit import coded_clinical, fit_preprocessing
from training.network import Preprocessor
from training.preprocessing import FittedPreprocessing
from training.progress import Progress
from training.statistics.arrays import labels_of_both_classes
from training.statistics.calibration import calibration
from training.statistics.discrimination import auc
from training.statistics.estimability import estimated
from training.statistics.grouped_ridge import HeldOutFold, choose_strengths, fit_grouped_ridge
from training.statistics.predicted_risk import stratified_folds

OUTER_FOLDS: Final = 5
INNER_FOLDS: Final = 5
ALPHA: Final = 0.1
STRENGTHS: Final = {"radiomic": (0.1, 0.3, 1.0, 3.0), "clinical": (0.1, 0.3)}
Variables = dict[str, NDArray[np.float64]]


def nested_cross_validation(
    patients: PreparedCohort, repeats: int, *, seed: int = 0, progress: Progress | None = None
) -> NestedCrossValidation:
    """Validate the linear recipe by nested folds.

    Parameters
    ----------
    patients
        A cohort; those without a label take no part.
    repeats
        Divisions, each with the seed ``seed + k``.
    seed
        Of the first division.
    progress
        Called with the number of outer folds done and in all.

    Returns
    -------
    NestedCrossValidation

    Raises
    ------
    ValueError
        A class is too small for the folds, or fewer than one repetition is asked for.

    Notes
    -----
    Imputation, Mann-Whitney with Benjamini-Hochberg, z-scores, and the ridge strengths of each group (by inner folds) are
    fitted anew in every outer fold (Varma and Simon, BMC Bioinformatics 2006; 7: 91). No deep feature takes part: the
    network would have to be trained anew in each fold.
    """
    if repeats < 1:
        raise ValueError(f"nested cross-validation needs a repetition, got {repeats}")
    known = patients.subset(~np.isnan(patients.labels))
    positive = labels_of_both_classes(known.labels, OUTER_FOLDS * 2)
    areas, calibrations = [], []
    for repeat in range(repeats):
        scores = np.empty(positive.size)
        place = stratified_folds(positive, OUTER_FOLDS, seed + repeat)
        for fold in range(OUTER_FOLDS):
            inside = place != fold
            scores[~inside] = _scores(known, inside, seed + repeat)
            if progress is not None:
                progress("nested cross-validation", repeat * OUTER_FOLDS + fold + 1, repeats * OUTER_FOLDS)
        areas.append(auc(known.labels, scores))
        calibrations.append(estimated(calibration, known.labels, scores))
    values = np.array([area.value for area in areas])
    return NestedCrossValidation(
        tuple(areas),
        tuple(calibrations),
        float(values.mean()),
        float(values.std(ddof=1)) if repeats > 1 else float("nan"),
        float(values.min()),
        float(values.max()),
        positive.size,
        int(positive.sum()),
    )


def _scores(patients: PreparedCohort, inside: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """Return the scores of those outside by a model that those inside alone chose and fitted."""
    training = patients.subset(inside)
    place = stratified_folds(training.labels == 1, INNER_FOLDS, seed)
    folds = [_fold(training, place != k) for k in range(INNER_FOLDS)]
    names = set.intersection(*(set(fold.training) for fold in folds))
    chosen = choose_strengths(folds, {name: STRENGTHS[name] for name in STRENGTHS if name in names})
    whole = _fold(patients, inside)
    model = fit_grouped_ridge({name: whole.training[name] for name in chosen.strengths}, whole.labels, chosen.strengths)
    return expit(model.logit(whole.held_out))


def _fold(patients: PreparedCohort, inside: NDArray[np.bool_]) -> HeldOutFold:
    part = patients.subset(inside)
    fitted = fit_preprocessing(
        part.clinical,
        part.radiomics,
        part.labels,
        part.smoking_graded,
        alpha=ALPHA,
        correction="benjamini-hochberg",
    )
    variables = _variables(patients, fitted)
    return HeldOutFold(
        {name: values[inside] for name, values in variables.items()},
        patients.labels[inside],
        {name: values[~inside] for name, values in variables.items()},
        patients.labels[~inside],
    )


def _variables(patients: PreparedCohort, fitted: FittedPreprocessing) -> Variables:
    preprocessor = Preprocessor(fitted)
    coded = coded_clinical(patients.clinical, patients.smoking_graded, fitted.smoker_grade)
    with torch.inference_mode():
        radiomic = preprocessor.clipped(preprocessor.radiomic_z(torch.from_numpy(patients.radiomics))).numpy()
        clinical = preprocessor.clinical_z(preprocessor.impute(torch.from_numpy(coded))).numpy()
    return {"radiomic": radiomic, "clinical": clinical}
