"""What the paper leaves open in training, tried on a synthetic cohort's training and validation patients.

Run from the repository, with the training's requirements, on a folder that `make reproduce` made::

    python -m benchmarks.training_choices runs/full [--epochs 20] [--output FILE]

The linear layer alone, on radiomics or on radiomics and clinical variables, is trained as `pdl1es train` trains it, in
five folds; everything is fitted on four. Beside the label's AUC stands the correlation of the scores of the fifth with what
they should tell, the true factor or the Bayes logit: without the noise of the labels it tells choices apart that an AUC
of some hundred patients cannot. It is a study of choices on phantoms, and no way to choose on patients. Test and further
cases are not looked at.
"""

from __future__ import annotations

import argparse
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from training.cohort.prepared import PreparedCohort
from training.cohort.synthesise import TRUTH_TABLE_FILE
from training.fit import Correction, coded_clinical, fit_preprocessing
from training.network import Preprocessor
from training.reproduce import COHORT, PREPARED

FOLDS = 5
SLICES = 3
RATE = 1e-4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """One way to train the linear layer."""

    clinical: bool
    correction: Correction
    factor: float
    batch: int


@dataclass(frozen=True)
class Fold:
    """What one fold's layer is trained on and scores."""

    inputs: Tensor
    labels: Tensor
    held_out: Tensor
    rows: NDArray[np.intp]


class Patients:
    """Training and validation patients of a synthetic cohort, and the truth of them."""

    def __init__(self, folder: Path) -> None:
        prepared = PreparedCohort.load(folder / PREPARED)
        known = np.isin(prepared.cases["split"].to_numpy(dtype=object), ["train", "validation"])
        self.cohort = prepared.subset(known)
        truth = pd.read_csv(folder / COHORT / TRUTH_TABLE_FILE).set_index("case_id")
        self.truth = truth.loc[list(self.cohort.case_ids)]

    @functools.cache  # noqa: B019 - one object for the whole programme
    def folds(self, clinical: bool, correction: Correction) -> list[Fold]:
        """Divide, and fit on four fifths.

        Parameters
        ----------
        clinical
            Whether clinical variables are among the inputs.
        correction
            Of the feature selection's P values.

        Returns
        -------
        list of Fold
        """
        labels = self.cohort.labels
        folds = []
        for _, rows in StratifiedKFold(FOLDS, shuffle=True, random_state=1).split(labels, labels):
            held_out = np.zeros(len(labels), dtype=bool)
            held_out[rows] = True
            training, rest = self.cohort.subset(~held_out), self.cohort.subset(held_out)
            fitted = fit_preprocessing(
                training.clinical, training.radiomics, training.labels, training.smoking_graded, correction=correction
            )
            preprocessor = Preprocessor(fitted)

            def z_scores(
                part: PreparedCohort, preprocessor: Preprocessor = preprocessor, grade: float = fitted.smoker_grade
            ) -> Tensor:
                inputs = [preprocessor.clipped(preprocessor.radiomic_z(torch.from_numpy(part.radiomics)))]
                if clinical:
                    coded = torch.from_numpy(coded_clinical(part.clinical, part.smoking_graded, grade))
                    inputs.append(preprocessor.clinical_z(preprocessor.impute(coded)))
                return torch.cat(inputs, dim=1).float()

            folds.append(
                Fold(
                    z_scores(training),
                    torch.from_numpy(training.labels).long(),
                    z_scores(rest),
                    np.flatnonzero(held_out),
                )
            )
        return folds


def tried(patients: Patients, choice: Choice, epochs: int) -> tuple[Floats, Floats, int]:
    """Train in every fold.

    Parameters
    ----------
    patients
        The cohort.
    choice
        What is tried.
    epochs
        Of training in each fold.

    Returns
    -------
    areas
        AUC after each epoch, shape (epochs,).
    correlations
        With the truth, shape (epochs,).
    features
        Mean number of selected features.
    """
    labels = patients.cohort.labels
    logits = np.zeros((epochs, len(labels)))
    areas = np.zeros((epochs, FOLDS))
    folds = patients.folds(choice.clinical, choice.correction)
    for number, fold in enumerate(folds):
        layer = nn.Linear(fold.inputs.shape[1], 2)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        adam = torch.optim.Adam(layer.parameters(), lr=RATE * choice.factor)
        order = torch.Generator().manual_seed(0)
        samples = torch.arange(len(fold.labels)).repeat(SLICES)
        for epoch in range(epochs):
            for batch in torch.randperm(len(samples), generator=order).split(choice.batch):
                rows = samples[batch]
                adam.zero_grad()
                nn.functional.cross_entropy(layer(fold.inputs[rows]), fold.labels[rows]).backward()
                adam.step()
            with torch.inference_mode():
                scores = layer(fold.held_out)
            logits[epoch, fold.rows] = (scores[:, 1] - scores[:, 0]).numpy()
            areas[epoch, number] = roc_auc_score(labels[fold.rows], logits[epoch, fold.rows])
    told = patients.truth["bayes_logit" if choice.clinical else "inner"].to_numpy()
    correlations = np.array([np.corrcoef(row, told)[0, 1] for row in logits])
    features = np.mean([fold.inputs.shape[1] for fold in folds]) - 4 * choice.clinical
    return areas.mean(axis=1), correlations, round(features)


def main() -> int:
    """Try every choice, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    patients = Patients(arguments.folder)
    shown = sorted({1, 5, 10, arguments.epochs} & set(range(1, arguments.epochs + 1)))
    head = " | ".join(f"{what} after {epoch}" for what in ("AUC", "correlation") for epoch in shown)
    rows = [f"| linear layer on | selection | features | rate | batch | {head} |", "|" + "---|" * (5 + 2 * len(shown))]
    for clinical in (False, True):
        for correction in ("none", "benjamini-hochberg"):
            for factor in (1.0, 10.0):
                for batch in (32, 16):
                    choice = Choice(clinical, correction, factor, batch)
                    areas, correlations, features = tried(patients, choice, arguments.epochs)
                    numbers = [f"{areas[epoch - 1]:.3f}" for epoch in shown]
                    numbers += [f"{correlations[epoch - 1]:.2f}" for epoch in shown]
                    on = "radiomics and clinical" if clinical else "radiomics"
                    rows.append(
                        f"| {on} | {correction} | {features} | {RATE * factor:.0e} | {batch} | {' | '.join(numbers)} |"
                    )
                    print(rows[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
