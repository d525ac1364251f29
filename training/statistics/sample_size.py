"""How many patients a new prediction model needs, and what a model of some area explains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import log_expit
from scipy.stats import norm

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
    proper_share(prevalence, "the prevalence")
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
    proper_share(prevalence, "the prevalence")
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


def proper_share(value: float, name: str) -> None:
    """Refuse a share that is not between 0 and 1.

    Parameters
    ----------
    value
        To check.
    name
        For the message.

    Raises
    ------
    ValueError
        It lies outside, or is 0 or 1.
    """
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value:g}")
