"""How many patients a prediction model needs: to be developed, and to be validated on others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit
from scipy.stats import norm

from training.statistics.arrays import Z, finite_vector

SHRINKAGE: Final = 0.9
"""Least expected slope on other patients."""
R2_DIFFERENCE: Final = 0.05
"""Largest expected difference between apparent and true Nagelkerke's R2."""
RISK_MARGIN: Final = 0.05
"""Of the overall risk: half of its 95 % interval."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(200)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, slots=True)
class DevelopmentSize:
    """Patients that a new model needs.

    Attributes
    ----------
    for_shrinkage
        That predictions need to be shrunken by 10 % at most.
    for_optimism
        That apparent and true Nagelkerke's R2 differ by 0.05 at most.
    for_risk
        That the overall risk is known to within 0.05; None of a time to an event, whose interval `risk` holds.
    n
        The largest of them.
    events, events_per_parameter
        Expected among ``n``.
    cox_snell_r2, largest_cox_snell_r2
        Expected of the model, and the largest possible at this prevalence or rate.
    parameters
        Candidates: all that were considered, not those that were kept.
    risk
        Overall risk at the time, with the 95 % interval that ``n`` patients give; of a time to an event only.
    """

    for_shrinkage: int
    for_optimism: int
    for_risk: int | None
    n: int
    events: float
    events_per_parameter: float
    cox_snell_r2: float
    largest_cox_snell_r2: float
    parameters: int
    risk: tuple[float, float, float] | None = None


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


def development_size(prevalence: float, parameters: int, cox_snell_r2: float) -> DevelopmentSize:
    """Return the patients that a model of a binary outcome needs.

    Parameters
    ----------
    prevalence
        Of the outcome.
    parameters
        Candidates.
    cox_snell_r2
        Expected of the model; `cox_snell_r2_of` gives it from an area.

    Returns
    -------
    DevelopmentSize

    Raises
    ------
    ValueError
        A share outside 0 to 1, no parameter, or an R2 that this prevalence does not allow.

    Notes
    -----
    Riley et al., Stat Med 2019; 38: 1276-1296, and BMJ 2020; 368: m441, as R's pmsampsize.
    """
    _share(prevalence, "the prevalence")
    largest = 1 - math.exp(2 * (prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)))
    shrinkage, optimism = _shrinkage_and_optimism(parameters, cox_snell_r2, largest)
    # the quantile that pmsampsize takes
    risk = math.ceil((1.96 / RISK_MARGIN) ** 2 * prevalence * (1 - prevalence))
    n = max(shrinkage, optimism, risk)
    return DevelopmentSize(
        shrinkage,
        optimism,
        risk,
        n,
        n * prevalence,
        n * prevalence / parameters,
        cox_snell_r2,
        largest,
        parameters,
    )


def development_size_of_survival(
    rate: float, at: float, mean_follow_up: float, parameters: int, cox_snell_r2: float
) -> DevelopmentSize:
    """Return the patients that a model of a time to an event needs.

    Parameters
    ----------
    rate
        Events per patient and unit of time.
    at
        Time of interest.
    mean_follow_up
        In the same unit.
    parameters
        Candidates.
    cox_snell_r2
        Expected of the model.

    Returns
    -------
    DevelopmentSize

    Raises
    ------
    ValueError
        A number that is not positive, no parameter, or an R2 that this rate does not allow.

    Notes
    -----
    As `development_size`; the largest R2 is that of an exponential model, as in R's pmsampsize.
    """
    if min(rate, at, mean_follow_up) <= 0:
        raise ValueError("rate, time and follow-up must be positive")
    per_patient = rate * mean_follow_up
    largest = 1 - math.exp(2 * (per_patient * math.log(per_patient) - per_patient))
    shrinkage, optimism = _shrinkage_and_optimism(parameters, cox_snell_r2, largest)
    n = max(shrinkage, optimism)
    margin = 1.96 * math.sqrt(rate / (n * mean_follow_up))
    low, middle, high = (1 - math.exp(-max(0.0, each) * at) for each in (rate - margin, rate, rate + margin))
    return DevelopmentSize(
        shrinkage,
        optimism,
        None,
        n,
        n * per_patient,
        n * per_patient / parameters,
        cox_snell_r2,
        largest,
        parameters,
        (middle, low, high),
    )


def parameters_allowed(n: int, prevalence: float, cox_snell_r2: float) -> int:
    """Return how many candidate parameters a cohort allows, by the criteria of `development_size`.

    Parameters
    ----------
    n
        Patients that there are.
    prevalence
        Of the outcome.
    cox_snell_r2
        Expected of the model.

    Returns
    -------
    int
        0 where not even one is allowed.

    Raises
    ------
    ValueError
        As `development_size`.
    """
    one = development_size(prevalence, 1, cox_snell_r2)
    if one.for_risk is not None and one.for_risk > n:
        return 0
    largest = one.largest_cox_snell_r2
    shrinkages = (SHRINKAGE, cox_snell_r2 / (cox_snell_r2 + R2_DIFFERENCE * largest))
    return int(min(n * (shrunken - 1) * math.log(1 - cox_snell_r2 / shrunken) for shrunken in shrinkages))


def cox_snell_r2_of(area: float, prevalence: float) -> float:
    """Return the R2 of a model with an area, if its log-odds are normal in either class with the same variance.

    Parameters
    ----------
    area
        Under the ROC curve, above 0.5.
    prevalence
        Of the outcome.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An area outside 0.5 to 1, or a prevalence outside 0 to 1.

    Notes
    -----
    Riley, Van Calster and Collins, Stat Med 2021; 40: 859-864, integrated where they simulate.
    """
    _share(prevalence, "the prevalence")
    if not 0.5 < area < 1:
        raise ValueError(f"the area must lie between 0.5 and 1, got {area:g}")
    apart = math.sqrt(2) * float(norm.ppf(area))
    # then the log-odds are linear in the predictor: log(prevalence odds) + apart * (x - apart / 2)
    odds = math.log(prevalence / (1 - prevalence))
    with_event = log_expit(odds + apart * (_NODES + apart / 2))
    without = log_expit(-(odds + apart * (_NODES - apart / 2)))
    model = prevalence * float(_WEIGHTS @ with_event) + (1 - prevalence) * float(_WEIGHTS @ without)
    null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(2 * (null - model))


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
        A share outside 0 to 1, log-odds that are all the same, or NaN.

    Notes
    -----
    Riley et al., Stat Med 2021; 40: 4230-4251, as R's pmvalsampsize; of the area by Newcombe's method 4 as there.
    """
    _share(prevalence, "the prevalence")
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
        _share(threshold, "the threshold")
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
    _share(prevalence, "the prevalence")
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

    return math.ceil(brentq(wider, 2, 1e9, xtol=1e-6))


def _shrinkage_and_optimism(parameters: int, r2: float, largest: float) -> tuple[int, int]:
    if parameters < 1:
        raise ValueError(f"a model needs a parameter, got {parameters}")
    if not 0 < r2 < largest:
        raise ValueError(f"Cox and Snell's R2 must lie between 0 and {largest:.3f} here, got {r2:g}")

    def needed(shrinkage: float) -> int:
        if r2 >= shrinkage:
            raise ValueError(f"Cox and Snell's R2 of {r2:g} is too large for a shrinkage of {shrinkage:g}")
        return math.ceil(parameters / ((shrinkage - 1) * math.log(1 - r2 / shrinkage)))

    return needed(SHRINKAGE), needed(r2 / (r2 + R2_DIFFERENCE * largest))


def _share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value:g}")
