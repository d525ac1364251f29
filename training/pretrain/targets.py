"""What the network is trained to see without a label: principal components of the rim's radiomic features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.method import MAX_MISSING_FEATURES, Z_CLIP

FEWEST_PATIENTS: Final = 3
"""Of fewer there are no components."""


@dataclass(frozen=True, slots=True, eq=False)
class RimComponents:
    """Standardised rim features, turned onto their principal components.

    Attributes
    ----------
    features
        Indices of the features that are used, shape (f,): those with more than one value that at most 5 % of the
        patients lack.
    mean, sd
        Of these features, shape (f,).
    axes
        float64, shape (k, f): the components, by descending variance.
    scale
        float64, shape (k,): what a component is multiplied by, so that its standard deviation becomes
        ``(sd_k / sd_1) ** 0.5``. The first components count more, and the later ones still count.
    explained
        Share of the features' variance that each component holds, shape (k,).
    """

    features: NDArray[np.intp]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    axes: NDArray[np.float64]
    scale: NDArray[np.float64]
    explained: NDArray[np.float64]

    def targets(self, rim: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return patients' targets.

        Parameters
        ----------
        rim
            float64, shape (n, 1316): as `training.cohort.rim.rim_features`; NaN counts as the mean.

        Returns
        -------
        NDArray[np.float32]
            Shape (n, k).
        """
        return ((_clipped_z(rim[:, self.features], self.mean, self.sd) @ self.axes.T) * self.scale).astype(np.float32)


def fit_components(rim: NDArray[np.float64], components: int) -> RimComponents:
    """Find the components of the rim's features.

    Parameters
    ----------
    rim
        float64, shape (n, 1316), of the patients that are pretrained on.
    components
        How many; fewer where the patients or the features do not span as many.

    Returns
    -------
    RimComponents

    Raises
    ------
    ValueError
        Fewer than three patients, or no feature that differs between them.
    """
    if len(rim) < FEWEST_PATIENTS:
        raise ValueError(f"{len(rim)} patients have no principal components: at least {FEWEST_PATIENTS} are needed")
    values = np.where(np.isfinite(rim), rim, np.nan)
    complete = np.isnan(values).mean(axis=0) <= MAX_MISSING_FEATURES
    with np.errstate(over="ignore", invalid="ignore"):
        sd = np.full(rim.shape[1], np.nan)
        sd[complete] = np.nanstd(values[:, complete], axis=0)
        size = np.nanmax(np.abs(values[:, complete]), axis=0, initial=0.0)
    used = np.zeros(len(sd), dtype=np.bool_)
    # Of a constant feature rounding leaves a standard deviation that is not quite zero.
    used[complete] = np.isfinite(sd[complete]) & (sd[complete] > 1e-9 * size) & (sd[complete] > 0)
    features = np.flatnonzero(used)
    if not features.size:
        raise ValueError("no feature of the rim differs between the patients")
    mean = np.nanmean(values[:, features], axis=0)
    z = _clipped_z(rim[:, features], mean, sd[features])
    _, singular, axes = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    kept = min(components, int((singular > 1e-6 * singular[0]).sum()))
    spread = singular[:kept] / np.sqrt(len(z))
    # The sign of a component is not defined; this one is the same on every machine.
    axes = axes[:kept] * np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])[:, None]
    return RimComponents(
        features=features,
        mean=mean,
        sd=sd[features],
        axes=axes,
        scale=np.sqrt(spread / spread[0]) / spread,
        explained=singular[:kept] ** 2 / (singular**2).sum(),
    )


def _clipped_z(values: NDArray[np.float64], mean: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        z = (values - mean) / sd
    return np.clip(np.where(np.isfinite(z), z, 0.0), -Z_CLIP, Z_CLIP)
