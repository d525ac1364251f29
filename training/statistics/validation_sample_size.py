"""How many patients the validation of a prediction model needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from training.statistics.arrays import Z, finite_vector
from training.statistics.sample_size import proper_share

_MOST: Final = 1e9
"""Patients; no cohort is larger."""


@dataclass(frozen=True, slots=True)
class ValidationSize:
    """Patients that the validation of a model of a binary outcome needs.

    Attributes
    ----------
    for_observed_to_expected
        That the interval of observed / expected is as narrow as wanted.
    for_slope
        Likewise of the calibration slope.
    for_auc
        Likewise of the area.
    for_net_benefit
        Likewise of the standardised net benefit at a threshold; None where none is given.
    n
        The largest of them.
    events
        Expected among ``n``.
    """

    for_observed_to_expected: int
    for_slope: int
    for_auc: int
    for_net_benefit: int | None
    n: int
    events: float


def validation_size(
    prevalence: float,
    area: float,
    logits: ArrayLike,
    *,
    observed_to_expected_width: float = 0.2,
    slope_width: float = 0.2,
    area_width: float = 0.1,
    net_benefit: tuple[float, float, float] | None = None,
    net_benefit_width: float = 0.2,
) -> ValidationSize:
    """Return the patients that the validation of a model of a binary outcome needs.

    Parameters
    ----------
    prevalence
        Of the outcome.
    area
        Expected.
    logits
        Log-odds that the model gives such patients, shape (M,), taken as calibrated; any sample of their distribution.
    observed_to_expected_width, slope_width, area_width, net_benefit_width
        Of the 95 % intervals.
    net_benefit
        Threshold, and sensitivity and specificity there.

    Returns
    -------
    ValidationSize

    Raises
    ------
    ValueError
        A share outside 0 to 1, log-odds that are all the same, NaN, or more patients needed than there are.

    Notes
    -----
    Riley et al., Stat Med 2021; 40: 4230-4251, as R's pmvalsampsize; of the area by Newcombe's method 4 as there.
    """
    proper_share(prevalence, "the prevalence")
    if not 0.5 <= area < 1:
        raise ValueError(f"the area must lie between 0.5 and 1, got {area:g}")
    # exp(z s) - exp(-z s) is the width of an interval around 1
    error = math.asinh(observed_to_expected_width / 2) / Z
    ratio = math.ceil((1 - prevalence) / (prevalence * error**2))
    slope = math.ceil(_slope_variance(finite_vector(logits, "logits")) / (slope_width / (2 * Z)) ** 2)
    curve = _for_area(area, prevalence, area_width)
    benefit = None
    if net_benefit is not None:
        threshold, sensitivity, specificity = net_benefit
        proper_share(threshold, "the threshold")
        weight = (1 - prevalence) / prevalence * threshold / (1 - threshold)
        variance = (
            sensitivity * (1 - sensitivity) / prevalence
            + weight**2 * specificity * (1 - specificity) / (1 - prevalence)
            + weight**2 * (1 - specificity) ** 2 / (prevalence * (1 - prevalence))
        )
        benefit = math.ceil(variance / (net_benefit_width / (2 * Z)) ** 2)
    n = max(ratio, slope, curve, benefit or 0)
    return ValidationSize(ratio, slope, curve, benefit, n, n * prevalence)


def normal_logits(mean: float, standard_deviation: float) -> NDArray[np.float64]:
    """Return log-odds whose sample moments are those of a normal distribution, for `validation_size`.

    Parameters
    ----------
    mean, standard_deviation
        Of the log-odds.

    Returns
    -------
    NDArray[np.float64]
        Quantiles in the middles of 100,000 equal parts.
    """
    n = 100_000
    return mean + standard_deviation * norm.ppf((np.arange(n) + 0.5) / n)


def logits_of_area(area: float, prevalence: float) -> NDArray[np.float64]:
    """Return calibrated log-odds of patients, for `validation_size`, if they are normal in either class.

    Parameters
    ----------
    area
        Under the ROC curve, above 0.5.
    prevalence
        Of the outcome.

    Returns
    -------
    NDArray[np.float64]
        Quantiles of either class, as many as its share of about 20,000.

    Raises
    ------
    ValueError
        An area outside 0.5 to 1, or a prevalence outside 0 to 1.
    """
    proper_share(prevalence, "the prevalence")
    if not 0.5 < area < 1:
        raise ValueError(f"the area must lie between 0.5 and 1, got {area:g}")
    apart = math.sqrt(2) * float(norm.ppf(area))
    odds = math.log(prevalence / (1 - prevalence))
    parts = []
    for share, sign in ((prevalence, 1), (1 - prevalence, -1)):
        n = max(100, round(20_000 * share))
        parts.append(odds + apart * (norm.ppf((np.arange(n) + 0.5) / n) + sign * apart / 2))
    return np.concatenate(parts)


def _slope_variance(logits: NDArray[np.float64]) -> float:
    """Return the slope's variance times the number of patients, where intercept 0 and slope 1 are true."""
    weight = expit(logits) * expit(-logits)
    one, two, three = (float((weight * logits**k).mean()) for k in range(3))
    determinant = one * three - two**2
    if determinant <= 1e-12 * one * three:
        raise ValueError("all log-odds are the same, so there is no slope")
    return one / determinant


def _for_area(area: float, prevalence: float, width: float) -> int:
    def wider(n: float) -> float:
        more = n / 2 - 1
        variance = (area * (1 - area) * (1 + more * (1 - area) / (2 - area) + more * area / (1 + area))) / (
            n**2 * prevalence * (1 - prevalence)
        )
        return 2 * Z * math.sqrt(variance) - width

    if wider(_MOST) > 0:
        raise ValueError(
            f"the interval of the area would need more than {_MOST:.0e} patients: so low or high a prevalence "
            "cannot be validated in a cohort"
        )
    return math.ceil(brentq(wider, 2, _MOST, xtol=1e-6))
