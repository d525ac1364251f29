"""First-order statistics of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics.firstorder import RadiomicsFirstOrder

from pdl1es.features.discretisation import GreyLevels
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.prepared_class import PreparedClass
from pdl1es.features.region import Values

Floats = NDArray[np.float64]


class FirstOrder(PreparedClass, RadiomicsFirstOrder):
    """First-order statistics of one image (IBSI UHIW, ZVCW)."""

    def __init__(
        self,
        values: Values,
        grey: GreyLevels,
        *,
        spacing: tuple[float, float, float],
    ) -> None:
        self._prepare("firstorder")
        self.pixelSpacing = spacing
        self.voxelArrayShift = 0
        self.targetVoxelArray = values.astype(np.float64).reshape(1, -1)
        self.coefficients["p_i"] = (grey.counts / grey.counts.sum()).reshape(1, -1)
        self.enabledFeatures = {"Entropy": True, "Uniformity": True}
        # In the image's own data type, which is shorter and sorts faster.
        self.sorted = np.sort(values)

    def _initCalculation(self, voxelCoordinates: None = None) -> None:
        """Do nothing, because the grey levels hold the histogram."""

    def execute(self) -> dict[str, Any]:
        """Compute once what several formulas need: mean, deviations, percentiles.

        pyradiomics sorts the voxels partly for each of ten percentiles, tests for NaN at every step and raises to the
        third and fourth power by ``pow``. Here sums run over the same voxels in the same order. Equality: to rounding.
        Mean and deviations are exact, because skewness and kurtosis of a flat image depend on their rounding errors.
        """
        features = super().execute()
        voxels = self.targetVoxelArray
        count = voxels.shape[1]
        p10, p25, p50, p75, p90 = (percentile(self.sorted, percent) for percent in (10, 25, 50, 75, 90))
        low, high = float(self.sorted[0]), float(self.sorted[-1])
        energy = (voxels * voxels).sum(axis=1)[0]
        mean = voxels.sum(axis=1) / count
        deviations = voxels - mean[:, None]
        squares = deviations * deviations
        second = (squares.sum(axis=1) / count)[0]
        third = ((squares * deviations).sum(axis=1) / count)[0]
        fourth = ((squares * squares).sum(axis=1) / count)[0]
        # pyradiomics divides a flat image's moments by 1.
        scale = second if second != 0 else 1.0

        # Voxels beyond the percentiles add 0 and keep their place, so that the sum is rounded as pyradiomics rounds it.
        within = (voxels >= p10) & (voxels <= p90)
        inner_count = np.count_nonzero(within)
        inner_mean = np.where(within, voxels, 0.0).sum(axis=1) / inner_count
        inner_deviation = np.where(within, np.abs(voxels - inner_mean[:, None]), 0.0).sum(axis=1) / inner_count

        features.update(
            {
                "10Percentile": p10,
                "90Percentile": p90,
                "Energy": energy,
                "InterquartileRange": p75 - p25,
                "Kurtosis": fourth / scale**2.0,
                "Maximum": high,
                "Mean": mean[0],
                "MeanAbsoluteDeviation": np.abs(deviations).sum(axis=1)[0] / count,
                "Median": p50,
                "Minimum": low,
                "Range": high - low,
                "RobustMeanAbsoluteDeviation": inner_deviation[0],
                "RootMeanSquared": np.sqrt(energy / count),
                "Skewness": third / scale**1.5,
                "TotalEnergy": energy * np.multiply.reduce(self.pixelSpacing),
                "Variance": np.sqrt(second) ** 2,
            }
        )
        return features


def percentile(ordered: Values, percent: float) -> float:
    """Interpolate between the two nearest of an image's sorted voxels, as `numpy.percentile` does.

    Parameters
    ----------
    ordered
        Ascending, shape (n_voxels,).
    percent
        From 0 to 100.

    Returns
    -------
    float
    """
    position = (len(ordered) - 1) * (percent / 100)
    below = int(position)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    # numpy takes the nearer end, so that the value cannot leave the interval.
    fraction = position - below
    return low + (high - low) * fraction if fraction < 0.5 else high - (high - low) * (1 - fraction)


def first_order_features(
    values: Values,
    grey: GreyLevels,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Floats:
    """Evaluate the first-order statistics of one image.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,).
    grey
        The same, discretised.
    spacing
        Voxel size in mm, (z, y, x).

    Returns
    -------
    Floats
        Shape (18,), in the order of ``FEATURES_BY_CLASS``.
    """
    features = FirstOrder(values, grey, spacing=spacing).execute()
    return np.array([float(features[name]) for name in FEATURES_BY_CLASS["firstorder"]])
