"""How far features differ between scanners, before and after ComBat: told, and no part of any score.

A score is given for a patient of any scanner. ComBat knows the scanners that it was fitted on alone, so that a model that needs it
could not be used on another one. It is therefore not built into the model; here it shows what a scanner does to features and
to their association with expression.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, kruskal
from statsmodels.stats.multitest import multipletests

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.prepared import PreparedCohort
from training.fit import select_features
from training.scoring.scanner_differences import FamilyDifferences, ScannerDifferences
from training.scoring.scored_cohort import ScoredCohort
from training.statistics.combat import FEWEST_PER_BATCH, CombatFit, fit_combat
from training.statistics.estimability import estimated

BATCHES: Final = {
    "manufacturer": "manufacturer",
    "model": "scanner_model",
    "kernel": "convolution_kernel",
    "site": "site",
}
"""What may tell scanners apart, and the column of the cases that holds it."""
MANUFACTURER: Final = "manufacturer"
SIGNIFICANT: Final = 0.05

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Part:
    values: Values
    batch: list[str | None]
    labels: Values


def with_scanner_differences(scored: ScoredCohort, prepared: PreparedCohort, by: str = MANUFACTURER) -> ScoredCohort:
    """Add what scanners do to the features of a cohort's training and test patients.

    Parameters
    ----------
    scored
        Its cases name the division.
    prepared
        The same patients.
    by
        One of `BATCHES`. A model is told apart by its manufacturer too, and spellings do not count.

    Returns
    -------
    ScoredCohort
        With ``scanners``: the result, or why there is none.
    """
    split = scored.cases["split"].to_numpy(dtype=object).astype(str)
    labels = prepared.labels
    makers = _batches(prepared.cases, by)
    chosen = {name: (split == name) & ~np.isnan(labels) for name in ("train", "test")}
    parts = {
        name: _Part(
            prepared.radiomics[rows], [maker for maker, row in zip(makers, rows, strict=True) if row], labels[rows]
        )
        for name, rows in chosen.items()
    }
    return replace(scored, scanners=estimated(_differences, by, parts["train"], parts["test"]))


def _batches(cases: pd.DataFrame, by: str) -> list[str | None]:
    """Return each patient's batch, in the spelling that comes first; None where it is not known."""
    columns = ["manufacturer", "scanner_model"] if by == "model" else [BATCHES[by]]
    spelling: dict[str, str] = {}
    found: list[str | None] = []
    for values in cases[columns].itertuples(index=False):
        if pd.isna(values[-1]) or not str(values[-1]).strip():
            found.append(None)
            continue
        name = " ".join(" ".join(str(value) for value in values if not pd.isna(value)).split())
        found.append(spelling.setdefault(name.casefold(), name))
    return found


def _differences(by: str, training: _Part, test: _Part) -> ScannerDifferences:
    if not len(training.labels):
        raise ValueError("no patient here is one that a model was fitted on")
    if all(name is None for name in training.batch):
        raise ValueError(f"no training patient's {by} is known")
    finite = np.isfinite(training.values)
    middle = np.nanmedian(np.where(finite, training.values, np.nan)[:, finite.any(axis=0)], axis=0)
    filled = np.zeros(training.values.shape[1])
    filled[finite.any(axis=0)] = middle
    used = _varying(training, filled)
    if not used.size:
        raise ValueError("no feature varies within every scanner")

    def complete(part: _Part) -> Values:
        values = np.where(np.isfinite(part.values), part.values, filled)
        return np.asarray(values[:, used])

    fit = fit_combat(complete(training), training.batch)
    rows = np.array([one in fit.batches for one in test.batch], dtype=bool)
    held = _Part(test.values[rows], [one for one in test.batch if one in fit.batches], test.labels[rows])
    differs = {
        (name, when): _differing(values, part.batch, fit)
        for name, part in (("training", training), ("test", held))
        for when, values in (
            ("before", complete(part)),
            ("after", fit.apply(complete(part), part.batch)),
        )
    }
    associated = [
        _associated(training, used, values) for values in (None, fit.apply(complete(training), training.batch))
    ]
    families = {}
    classes = np.array([name.split("_")[1] for name in FEATURE_NAMES])[used]
    for family in dict.fromkeys(classes):
        members = classes == family
        families[str(family)] = FamilyDifferences(
            features=int(members.sum()),
            training_before=_count(differs["training", "before"], members),
            training_after=_count(differs["training", "after"], members),
            test_before=_count(differs["test", "before"], members),
            test_after=_count(differs["test", "after"], members),
            associated_before=int(associated[0][members].sum()),
            associated_after=int(associated[1][members].sum()),
        )
    return ScannerDifferences(
        by=by,
        left_out=fit.left_out,
        unnamed=training.batch.count(None),
        patients={name: training.batch.count(name) for name in fit.batches},
        high={name: _share(training, name) for name in fit.batches},
        unknown_in_test=int((~rows).sum()),
        confounding=_confounding(training, fit),
        families=families,
    )


def _count(found: NDArray[np.bool_] | None, members: NDArray[np.bool_]) -> int | None:
    return None if found is None else int(found[members].sum())


def _varying(training: _Part, filled: Values) -> NDArray[np.intp]:
    """Return the features that vary within every large enough scanner, and lack at most few values."""
    varies = np.isfinite(training.values).mean(axis=0) > 0.95
    values = np.where(np.isfinite(training.values), training.values, filled)
    for name in {one for one in training.batch if one is not None}:
        part = values[[one == name for one in training.batch]]
        if len(part) >= FEWEST_PER_BATCH:
            varies &= np.ptp(part, axis=0) > 1e-10 * np.maximum(np.abs(part).max(axis=0), 1e-300)
    return np.flatnonzero(varies)


def _differing(values: Values, batch: list[str | None], fit: CombatFit) -> NDArray[np.bool_] | None:
    """Return which features differ between scanners (Kruskal-Wallis, Benjamini-Hochberg); None where groups are too small."""
    groups = [values[[one == name for one in batch]] for name in fit.batches]
    groups = [group for group in groups if len(group) >= 5]
    if len(groups) < 2:
        return None
    found = kruskal(*groups, axis=0)
    return np.asarray(multipletests(found.pvalue, SIGNIFICANT, method="fdr_bh")[0])


def _associated(training: _Part, used: NDArray[np.intp], harmonised: Values | None) -> NDArray[np.bool_]:
    """Return which of the features are associated with expression by the selection's own test, corrected."""
    values = training.values.copy()
    if harmonised is not None:
        values[:, used] = harmonised
    found = select_features(values, training.labels, correction="benjamini-hochberg").selected
    return np.isin(used, found)


def _share(training: _Part, name: str) -> float:
    return float(np.mean(training.labels[[one == name for one in training.batch]]))


def _confounding(training: _Part, fit: CombatFit) -> float:
    """Return chi-squared's P that scanners do not differ in their share of high expression."""
    table = np.array(
        [
            [np.sum(training.labels[[one == name for one in training.batch]] == label) for label in (0.0, 1.0)]
            for name in fit.batches
        ]
    )
    table = table[:, table.sum(axis=0) > 0]
    return float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] == 2 else 1.0
