"""How far the training patients lie in the features that the network uses, and in size: what the exported file says of it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from pdl1es.method import Z_CLIP
from pdl1es.model.training_reach import TrainingReach, as_seen

POINT: Final = 0.999
FOLDS: Final = 10
DIGITS: Final = 8
"""Significant digits that are kept: the distance is exact to about 1e-6."""


def fit_reach(
    radiomic_z: NDArray[np.float64], volumes_ml: NDArray[np.float64], diameters_mm: NDArray[np.float64]
) -> TrainingReach | None:
    """Measure how far the training patients lie.

    Parameters
    ----------
    radiomic_z
        Standardised selected features before clipping, shape (N, features); NaN where missing.
    volumes_ml, diameters_mm
        Of the tumours, shape (N,); NaN where not known.

    Returns
    -------
    TrainingReach or None
        None where there are fewer than two patients in a fold, no feature, or no known size.

    Notes
    -----
    Covariance shrunken towards a multiple of the identity (Ledoit and Wolf 2004). A patient's distance is measured from the
    mean and covariance of nine tenths of the patients without their own tenth; the file holds those of all.
    """
    patients, features = radiomic_z.shape
    known = np.isfinite(volumes_ml) & np.isfinite(diameters_mm)
    if patients < 2 * FOLDS or not features or not known.any():
        return None
    seen = np.array([as_seen(row) for row in radiomic_z])
    fold = np.arange(patients) % FOLDS
    distances = np.empty(patients)
    for number in range(FOLDS):
        own = fold == number
        centre, factor = _whitened(seen[~own])
        distances[own] = np.linalg.norm((seen[own] - centre) @ factor, axis=1)
    centre, factor = _whitened(seen)
    clipped = np.mean(np.abs(radiomic_z) > Z_CLIP, axis=1)
    return TrainingReach(
        patients=patients,
        clipped_share=float(np.quantile(clipped, POINT)),
        distance=float(np.quantile(distances, POINT)),
        centre=_rounded(centre),
        whitening=_rounded(factor[np.tril_indices(features)]),
        volume_ml=(float(volumes_ml[known].min()), float(volumes_ml[known].max())),
        longest_diameter_mm=(float(diameters_mm[known].min()), float(diameters_mm[known].max())),
    )


def _whitened(seen: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    fitted = LedoitWolf().fit(seen)
    return fitted.location_, np.linalg.cholesky(fitted.precision_)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)
