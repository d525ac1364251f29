"""k-nearest-neighbour imputation of missing clinical variables over a table that identifies no patient (paper, Methods)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS: Final = 3
"""k (paper, Methods)."""
AGE_BAND_YEARS: Final = 5
MIN_PROFILE_COUNT: Final = 5
"""A profile that fewer training patients share is left out, so that no patient can be found in the model's file."""


@dataclass(frozen=True, slots=True)
class ReferenceProfiles:
    """The reference table of the imputation.

    Attributes
    ----------
    values
        float64, shape (P, 4): distinct profiles (age, sex, smoking, family history) on the raw scale; P may be 0.
    counts
        float64, shape (P,): how many training patients share each.
    training_mean
        float64, shape (4,): mean of each variable over the whole training cohort.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.float64]
    training_mean: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != 4:
            raise ValueError(f"values must have the shape (P, 4), got {self.values.shape}")
        if self.counts.shape != self.values.shape[:1]:
            raise ValueError(f"counts must have the shape {self.values.shape[:1]}, got {self.counts.shape}")
        if self.training_mean.shape != (4,):
            raise ValueError(f"training_mean must have the shape (4,), got {self.training_mean.shape}")
        if not (np.isfinite(self.values).all() and np.isfinite(self.training_mean).all()):
            raise ValueError("profiles and training means must be finite")
        if not (np.isfinite(self.counts).all() and (self.counts > 0).all()):
            raise ValueError("every profile must have a positive count")


def build_profiles(table: NDArray[np.float64], min_count: int = MIN_PROFILE_COUNT) -> ReferenceProfiles:
    """Turn the training cohort into a table of profiles that several patients share.

    Parameters
    ----------
    table
        float64, shape (N, 4): age in years, sex, smoking, family history; NaN where missing. Rows with a missing
        value count towards the means alone.
    min_count
        Profiles of fewer patients are left out.

    Returns
    -------
    ReferenceProfiles
        Sorted, so that the order of the table's rows does not matter. Age is the middle of its five-year band in
        completed years: 62 for 60 to 64.

    Raises
    ------
    ValueError
        The table has another shape, an infinite value, or a variable that no row knows.
    """
    if table.ndim != 2 or table.shape[1] != 4:
        raise ValueError(f"the table must have the shape (N, 4), got {table.shape}")
    if np.isinf(table).any():
        raise ValueError("the table holds an infinite value")
    known = ~np.isnan(table)
    if not known.any(axis=0).all():
        raise ValueError("a clinical variable is missing in every row")
    mean = np.array([math.fsum(column[rows]) / rows.sum() for column, rows in zip(table.T, known.T, strict=True)])
    banded = table[known.all(axis=1)].astype(np.float64)
    banded[:, 0] = np.floor(banded[:, 0] / AGE_BAND_YEARS) * AGE_BAND_YEARS + (AGE_BAND_YEARS - 1) / 2
    values, counts = np.unique(banded, axis=0, return_counts=True)
    shared = counts >= min_count
    return ReferenceProfiles(values[shared], counts[shared].astype(np.float64), mean)


def impute(values: NDArray[np.float64], profiles: ReferenceProfiles) -> NDArray[np.float64]:
    """Fill the missing variables of one patient; the model's graph does the same, step by step.

    The distance is Euclidean over the variables that the patient has, on the raw scale. A row is a donor where fewer
    than three rows are strictly nearer: those are the rows at or below the third-smallest distance, ties included, so
    the order of rows decides nothing. Donors weigh 1/d; where some have d = 0, they alone count, equally. A profile
    stands for as many rows as patients share it.

    Parameters
    ----------
    values
        float64, shape (4,): NaN where missing.
    profiles
        The reference table.

    Returns
    -------
    NDArray[np.float64]
        Shape (4,): the training mean where no variable is known or the table is empty.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values.copy()
    if missing.all() or not len(profiles.counts):
        return np.where(missing, profiles.training_mean, values)
    squares = np.where(missing, 0.0, profiles.values - values) ** 2
    # Added one by one, as in the graph: equal distances have to be equal to the last bit.
    squared = squares[:, 0] + squares[:, 1] + squares[:, 2] + squares[:, 3]
    nearer = (squared[None, :] < squared[:, None]) @ profiles.counts
    distance = np.sqrt(squared)
    if (distance == 0).any():
        weight = np.where(distance == 0, profiles.counts, 0.0)
    else:
        weight = np.where(nearer < NEIGHBOURS, profiles.counts, 0.0) / distance
    total = math.fsum(weight)
    estimate = np.array([math.fsum(weight * column) / total for column in profiles.values.T])
    return np.where(missing, estimate, values)
