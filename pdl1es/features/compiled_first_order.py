"""First-order statistics of one image with compiled sums, with the numpy path's bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from pdl1es.features import compiled
from pdl1es.features.discretisation import GreyLevels
from pdl1es.features.first_order import Floats, percentile
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.region import Values


def first_order_features_by_kernel(values: Values, ordered: Values, grey: GreyLevels) -> Floats:
    """As `pdl1es.features.first_order.first_order_features`, for voxels of 1 mm.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,).
    ordered
        The same, ascending.
    grey
        The same, discretised.

    Returns
    -------
    Floats
        Shape (18,), in the order of ``FEATURES_BY_CLASS``.
    """
    p10, p25, p50, p75, p90 = (percentile(ordered, percent) for percent in (10, 25, 50, 75, 90))
    low, high = float(ordered[0]), float(ordered[-1])
    count = len(values)
    sums = compiled.moments(values, p10, p90)
    energy, mean, absolute, second, third, fourth, inner_count, inner_absolute = (np.float64(one) for one in sums)
    second, third, fourth = second / count, third / count, fourth / count
    scale = second if second != 0 else np.float64(1.0)
    probability = grey.counts / grey.counts.sum()
    features: dict[str, Any] = {
        "10Percentile": p10,
        "90Percentile": p90,
        "Energy": energy,
        "Entropy": -1.0 * np.sum(probability * np.log2(probability + np.spacing(1))),
        "InterquartileRange": p75 - p25,
        "Kurtosis": fourth / scale**2.0,
        "Maximum": high,
        "Mean": mean,
        "MeanAbsoluteDeviation": absolute / count,
        "Median": p50,
        "Minimum": low,
        "Range": high - low,
        "RobustMeanAbsoluteDeviation": inner_absolute / inner_count,
        "RootMeanSquared": np.sqrt(energy / count),
        "Skewness": third / scale**1.5,
        "TotalEnergy": energy,
        "Uniformity": np.nansum(probability**2),
        "Variance": np.sqrt(second) ** 2,
    }
    return np.array([float(features[name]) for name in FEATURES_BY_CLASS["firstorder"]])
