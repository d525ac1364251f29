"""The recipe ``label-free``: a frozen, pretrained network, and one linear layer with a ridge strength per part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from training.cohort.prepared import PreparedCohort
from training.controls.repeated_features import RepeatedFeatures
from training.fit import coded_clinical
from training.network import FusionNetwork, Parts, Preprocessor
from training.preprocessing import FittedPreprocessing
from training.statistics.grouped_ridge import (
    ChosenStrengths,
    GroupedRidge,
    HeldOutFold,
    choose_strengths,
    fit_grouped_ridge,
)
from training.train.config import TrainingConfig
from training.train.fitting import fit_patients
from training.train.run_folder import TrainingError

_PATIENTS_AT_ONCE: Final = 32
Variables = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class DeepScale:
    """Standardisation of the deep features: ``(x - mean) * factor``; the factor of a constant feature is 0.

    Attributes
    ----------
    mean, factor
        float64, shape (D,); empty without a deep part.
    """

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def of(cls, deep: NDArray[np.float64] | None) -> DeepScale:
        """Fit it on patients' features, shape (n, D)."""
        if deep is None:
            return cls(np.zeros(0), np.zeros(0))
        sd = deep.std(axis=0)
        # A channel that no patch excites differs by rounding alone.
        varies = sd > 1e-6 * np.abs(deep).max(axis=0, initial=0.0)
        return cls(deep.mean(axis=0), np.divide(1.0, sd, out=np.zeros_like(sd), where=varies & (sd > 0)))

    def z(self, deep: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        """Standardise features, shape (n, D); None stays None."""
        return None if deep is None else (deep - self.mean) * self.factor


@dataclass(frozen=True, slots=True, eq=False)
class FittedLayer:
    """The linear layer and everything before it, fitted on some patients alone.

    Attributes
    ----------
    parts
        What it takes.
    fitted, scale
        Imputation, selection and z-scores; standardisation of the deep features.
    model
        The layer on these patients.
    out_of_fold
        float64, shape (n,): each patient's probability by a layer that was fitted without them, at the chosen strengths.
    chosen
        Strengths, with the deviance of each combination.
    """

    parts: Parts
    fitted: FittedPreprocessing
    scale: DeepScale
    model: GroupedRidge
    out_of_fold: NDArray[np.float64]
    chosen: ChosenStrengths

    def logit(self, patients: PreparedCohort, deep: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Score any patients.

        Parameters
        ----------
        patients
            N of them, fitted on or not.
        deep
            Their `deep_features`; None where the layer takes none.

        Returns
        -------
        NDArray[np.float64]
            Shape (N,).
        """
        return self.model.logit(_variables(self.parts, patients, self.fitted, self.scale.z(deep)))


def fit_linear_layer(
    network: FusionNetwork,
    patients: PreparedCohort,
    fitted: FittedPreprocessing,
    config: TrainingConfig,
    seed: int,
    *,
    deep: NDArray[np.float64] | None = None,
    repeats: RepeatedFeatures | None = None,
) -> FittedLayer:
    """Fit the network's linear layer, and nothing else.

    Parameters
    ----------
    network
        With its pretrained DenseNet; on the CPU. Its linear layer gets the weights, and it is left in evaluation mode.
    patients
        Labelled: training and validation patients together, since no epoch is chosen.
    fitted
        What comes before the network, fitted on these patients.
    config, seed, repeats
        As of `fit_layer`.
    deep
        What `deep_features` gave of these patients; computed where None.

    Returns
    -------
    FittedLayer

    Raises
    ------
    TrainingError
        The patients are too few for the folds.
    """
    network.eval()
    if not network.parts.deep:
        deep = None
    elif deep is None:
        deep = deep_features(network, patients.patches)
    layer = fit_layer(network.parts, patients, deep, config, seed, fitted=fitted, repeats=repeats)
    weights, intercept = [], layer.model.intercept
    if network.parts.deep:
        folded = layer.model.weights["deep"] * layer.scale.factor
        intercept -= float(folded @ layer.scale.mean)
        weights.append(folded)
    weights += [layer.model.weights[name] for name in ("radiomic", "clinical") if name in layer.model.weights]
    _set_logit(network, np.concatenate(weights), intercept)
    return layer


def fit_layer(
    parts: Parts,
    patients: PreparedCohort,
    deep: NDArray[np.float64] | None,
    config: TrainingConfig,
    seed: int,
    *,
    fitted: FittedPreprocessing | None = None,
    repeats: RepeatedFeatures | None = None,
) -> FittedLayer:
    """Fit the linear layer and whatever before it looks at patients; the network stays as it is.

    Parameters
    ----------
    parts
        What the layer takes.
    patients
        Labelled; N of them.
    deep
        Their `deep_features`; None where the layer takes none.
    config
        Strengths to try, folds, and how features are selected.
    seed
        Of the folds.
    fitted
        What `fit_patients` gave of these patients; fitted here where None.
    repeats
        Features measured again, where the selection is filtered by stability: in every fold that of its own patients.

    Returns
    -------
    FittedLayer

    Raises
    ------
    TrainingError
        The patients are too few for the folds.

    Notes
    -----
    Imputation, selection and z-scores are fitted anew in every fold, on its own patients. The strengths are chosen by the
    same folds as the out-of-fold scores come from.
    """
    places = folds_of(patients.labels, config.folds, seed)
    folds = [
        _held_out(parts, patients, deep, places != number, config, repeats, f"fold {number + 1} of {config.folds}")
        for number in range(config.folds)
    ]
    grid = {
        "deep": config.deep_strengths,
        "radiomic": config.radiomic_strengths,
        "clinical": config.clinical_strengths,
    }
    chosen = choose_strengths(folds, {name: grid[name] for name in folds[0].training})
    out_of_fold = np.full(len(patients), np.nan)
    for number, fold in enumerate(folds):
        model = fit_grouped_ridge(fold.training, fold.labels, chosen.strengths)
        out_of_fold[places == number] = expit(model.logit(fold.held_out))
    if fitted is None:
        fitted = fit_patients(patients, config, repeats, "the patients")
    scale = DeepScale.of(deep)
    model = fit_grouped_ridge(_variables(parts, patients, fitted, scale.z(deep)), patients.labels, chosen.strengths)
    return FittedLayer(parts, fitted, scale, model, out_of_fold, chosen)


def _held_out(
    parts: Parts,
    patients: PreparedCohort,
    deep: NDArray[np.float64] | None,
    inside: NDArray[np.bool_],
    config: TrainingConfig,
    repeats: RepeatedFeatures | None,
    name: str,
) -> HeldOutFold:
    """Return everybody's variables as those inside the fold decide them."""
    fitted = fit_patients(patients.subset(inside), config, repeats, name)
    scale = DeepScale.of(None if deep is None else deep[inside])
    everyone = _variables(parts, patients, fitted, scale.z(deep))
    return HeldOutFold(
        {group: values[inside] for group, values in everyone.items()},
        patients.labels[inside],
        {group: values[~inside] for group, values in everyone.items()},
        patients.labels[~inside],
    )


def deep_features(network: FusionNetwork, patches: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return the mean of the three slices' features.

    Parameters
    ----------
    network
        With a deep part, in evaluation mode.
    patches
        int16 whole HU, shape (n, 3, 112, 112).

    Returns
    -------
    NDArray[np.float64]
        Shape (n, 1024) for DenseNet121; computed in float32.
    """
    found = []
    with torch.inference_mode():
        for first in range(0, len(patches), _PATIENTS_AT_ONCE):
            some = torch.from_numpy(patches[first : first + _PATIENTS_AT_ONCE].astype(np.float32))
            pooled = network.feature_maps(some.flatten(0, 1).unsqueeze(1)).mean((2, 3))
            found.append(pooled.reshape(len(some), some.shape[1], -1).mean(1).to(torch.float64).numpy())
    return np.concatenate(found)


def folds_of(labels: NDArray[np.float64], folds: int, seed: int) -> NDArray[np.intp]:
    """Draw each patient's fold, within each class.

    Parameters
    ----------
    labels
        Shape (n,), 0 and 1.
    folds
        How many.
    seed
        Of the draw.

    Returns
    -------
    NDArray[np.intp]
        Shape (n,), 0 to ``folds - 1``.

    Raises
    ------
    TrainingError
        A class has fewer patients than there are folds.
    """
    rng = np.random.default_rng([seed, 11])
    places = np.zeros(len(labels), dtype=np.intp)
    for label in (0.0, 1.0):
        members = np.flatnonzero(labels == label)
        if len(members) < folds:
            raise TrainingError(
                f"{len(members)} patients with label {label:g} cannot be divided into {folds} folds: set `folds` lower"
            )
        places[rng.permutation(members)] = np.arange(len(members)) % folds
    return places


def _variables(
    parts: Parts, patients: PreparedCohort, fitted: FittedPreprocessing, deep: NDArray[np.float64] | None
) -> Variables:
    """Return the linear layer's inputs by part."""
    preprocessor = Preprocessor(fitted)
    coded = coded_clinical(patients.clinical, patients.smoking_graded, fitted.smoker_grade)
    found: Variables = {} if deep is None else {"deep": deep}
    with torch.inference_mode():
        if parts.radiomics:
            radiomic = preprocessor.clipped(preprocessor.radiomic_z(torch.from_numpy(patients.radiomics)))
            found["radiomic"] = radiomic.numpy()
        if parts.clinical:
            found["clinical"] = preprocessor.clinical_z(preprocessor.impute(torch.from_numpy(coded))).numpy()
    return found


def _set_logit(network: FusionNetwork, weights: NDArray[np.float64], intercept: float) -> None:
    """Give the layer's two outputs half of the logit each, with opposite signs."""
    half = torch.from_numpy(weights / 2).to(network.classifier.weight.dtype)
    with torch.no_grad():
        network.classifier.weight.copy_(torch.stack([-half, half]))
        network.classifier.bias.copy_(torch.tensor([-intercept / 2, intercept / 2]))
