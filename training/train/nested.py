"""Repeated nested cross-validation: what a recipe, every choice on a label included, is worth on patients it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from training.cohort.prepared import PreparedCohort
from training.controls.repeated_features import RepeatedFeatures
from training.expression.results import NestedCrossValidation
from training.network import Parts
from training.progress import Progress
from training.statistics.arrays import labels_of_both_classes
from training.statistics.calibration import calibration
from training.statistics.discrimination import auc
from training.statistics.estimability import estimated
from training.train.config import TrainingConfig
from training.train.division import check_images
from training.train.label_free import FittedLayer, fit_layer, folds_of

OUTER_FOLDS: Final = 5
WITHOUT_NETWORK: Final = Parts(deep=False)
_SEED: Final = 13
"""Part of the seed of the inner folds."""


@dataclass(frozen=True, slots=True, eq=False)
class NestedRecipe:
    """What is fitted anew in every outer fold.

    Attributes
    ----------
    config
        A training run's own: selection, filters, strengths and inner folds.
    deep
        float64, shape (N, D): features of a network that saw no label, of the cohort's patients; None where the network
        takes no part.
    repeats
        Features measured again, where the run's selection was filtered by them.
    of_a_run
        Whether the configuration is of a training run; otherwise it is the recipe's own.
    network_seconds
        What the run took to train PD-L1ES's network on labels; None where it did not.
    """

    config: TrainingConfig
    deep: NDArray[np.float64] | None = None
    repeats: RepeatedFeatures | None = None
    of_a_run: bool = True
    network_seconds: float | None = None

    @property
    def parts(self) -> Parts:
        """What the linear layer takes."""
        return WITHOUT_NETWORK if self.deep is None else Parts()


LINEAR: Final = NestedRecipe(TrainingConfig(recipe="label-free"), of_a_run=False)
"""Where there is no training run: radiomics and clinical variables, by the recipe's own settings."""


def nested_cross_validation(
    patients: PreparedCohort,
    recipe: NestedRecipe,
    repetitions: int,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> NestedCrossValidation:
    """Validate a recipe by nested folds, with the functions that `train` fits the linear layer by.

    Parameters
    ----------
    patients
        A cohort; those without a label, and those of the splits ``gate`` and ``prognosis``, take no part.
    recipe
        What is fitted anew; its arrays are of all these patients.
    repetitions
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
        A class is too small for the folds, two cases have the same images, or fewer than one repetition is asked for.

    Notes
    -----
    Imputation, selection with its filters, z-scores, and the ridge strength of each part (by inner folds) are fitted in
    every outer fold on its own patients (Varma and Simon, BMC Bioinformatics 2006; 7: 91).
    """
    if repetitions < 1:
        raise ValueError(f"nested cross-validation needs a repetition, got {repetitions}")
    set_aside = np.isin(patients.cases["split"].to_numpy(dtype=object).astype(str), ("gate", "prognosis"))
    chosen = ~np.isnan(patients.labels) & ~set_aside
    known = patients.subset(chosen)
    # one patient in two rows would be on both sides of a fold
    check_images(known.patches, known.case_ids, [np.arange(len(known)).astype(object)], scans=known.scans)
    deep = None if recipe.deep is None else recipe.deep[chosen]
    positive = labels_of_both_classes(known.labels, OUTER_FOLDS * 2)
    areas, calibrations, layers = [], [], []
    for own_seed in range(seed, seed + repetitions):
        scores = np.empty(positive.size)
        places = folds_of(known.labels, OUTER_FOLDS, own_seed)
        for fold in range(OUTER_FOLDS):
            outside = places == fold
            layer = _fitted_inside(known, deep, ~outside, recipe, own_seed, fold)
            scores[outside] = layer.logit(known.subset(outside), None if deep is None else deep[outside])
            layers.append(layer)
            if progress is not None:
                progress("nested cross-validation", len(layers), repetitions * OUTER_FOLDS)
        probability = expit(scores)
        areas.append(auc(known.labels, probability))
        calibrations.append(estimated(calibration, known.labels, probability))
    values = np.array([area.value for area in areas])
    return NestedCrossValidation(
        recipe=recipe.config.recipe if recipe.of_a_run else None,
        with_network=recipe.deep is not None,
        network_seconds=recipe.network_seconds,
        seeds=tuple(range(seed, seed + repetitions)),
        areas=tuple(areas),
        calibrations=tuple(calibrations),
        mean=float(values.mean()),
        standard_deviation=float(values.std(ddof=1)) if repetitions > 1 else float("nan"),
        lowest=float(values.min()),
        highest=float(values.max()),
        selected=tuple(len(layer.fitted.selected) for layer in layers),
        strengths=tuple(layer.chosen.strengths for layer in layers),
        n=positive.size,
        n_positive=int(positive.sum()),
    )


def _fitted_inside(
    patients: PreparedCohort,
    deep: NDArray[np.float64] | None,
    inside: NDArray[np.bool_],
    recipe: NestedRecipe,
    seed: int,
    fold: int,
) -> FittedLayer:
    """Return the layer that those inside alone chose and fitted."""
    return fit_layer(
        recipe.parts,
        patients.subset(inside),
        None if deep is None else deep[inside],
        recipe.config,
        int(np.random.SeedSequence([seed, _SEED, fold]).generate_state(1)[0]),
        repeats=recipe.repeats,
    )
