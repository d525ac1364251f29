"""Fitting of whatever comes before the network, and of how far the patients lie, as a training run's recipe asks."""

from __future__ import annotations

import numpy as np

from pdl1es.model.training_reach import TrainingReach
from training.cohort.prepared import PreparedCohort
from training.controls.repeated_features import RepeatedFeatures
from training.fit import fit_preprocessing
from training.preprocessing import FittedPreprocessing
from training.reach import fit_reach
from training.train.config import TrainingConfig
from training.train.division import Division, fitted_on
from training.train.filters import filters_of
from training.train.run_folder import TrainingError


def fit_patients(
    patients: PreparedCohort,
    config: TrainingConfig,
    repeats: RepeatedFeatures | None = None,
    who: str = "the training patients",
) -> FittedPreprocessing:
    """Fit imputation, selection with its filters, and z-scores on patients.

    Parameters
    ----------
    patients
        Labelled; nobody else's values count.
    config
        Significance, correction and filters of the selection.
    repeats
        Features measured again; those of other patients do not count.
    who
        The patients in words, for the message.

    Returns
    -------
    FittedPreprocessing

    Raises
    ------
    TrainingError
        They cannot be fitted on.
    """
    try:
        return fit_preprocessing(
            patients.clinical,
            patients.radiomics,
            patients.labels,
            patients.smoking_graded,
            alpha=config.alpha,
            correction=config.correction,
            filters=filters_of(config, repeats, patients),
        )
    except ValueError as error:
        raise TrainingError(f"{who} cannot be fitted: {error}") from error


def fit_on_training(
    prepared: PreparedCohort, division: Division, config: TrainingConfig, repeats: RepeatedFeatures | None = None
) -> FittedPreprocessing:
    """Fit what comes before the network on the patients that are fitted on alone (`division.fitted_on`).

    Parameters
    ----------
    prepared
        The cohort.
    division
        Who is where.
    config
        Recipe, significance, correction and filters of the selection.
    repeats
        Features measured again; those of training patients alone count.

    Returns
    -------
    FittedPreprocessing

    Raises
    ------
    TrainingError
        The training patients cannot be fitted.
    """
    return fit_patients(prepared.subset(fitted_on(division, config)), config, repeats)


def reach_of_training(
    prepared: PreparedCohort, division: Division, fitted: FittedPreprocessing, config: TrainingConfig
) -> TrainingReach | None:
    """Measure how far the training patients lie (`training.reach.fit_reach`).

    Parameters
    ----------
    prepared
        The cohort.
    division
        Who is where.
    fitted
        What comes before the network: it standardises.
    config
        Its recipe says who is fitted on.

    Returns
    -------
    TrainingReach or None
        None where the training patients are too few.
    """
    training = prepared.subset(fitted_on(division, config))
    values = training.radiomics[:, list(fitted.selected)]
    values = np.where(np.isfinite(values), values, np.nan)
    return fit_reach(
        (values - fitted.radiomic_mean) / fitted.radiomic_sd,
        training.cases["volume_ml"].to_numpy(np.float64),
        training.cases["longest_diameter_mm"].to_numpy(np.float64),
    )
