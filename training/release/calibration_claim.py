"""Whether a model's score may be called a probability, and the sentence that says why or why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from training.statistics.arrays import Estimate
from training.statistics.calibration import Calibration
from training.statistics.estimability import NotEstimable

SMALLEST_CLASS: Final = 100
"""Patients with and without the event that a test of calibration needs."""
INTERCEPT: Final = 0.0
SLOPE: Final = 1.0
"""Of a calibrated score."""
Interval = tuple[float, float, float]
"""Value, lower and upper limit (95 %)."""


class TestedCalibration(BaseModel):
    """The calibration of PD-L1ES on the test split, in numbers that fit into JSON.

    Attributes
    ----------
    synthetic
        Whether the cohort was one of phantoms.
    events, non_events
        Test patients with high expression and without.
    intercept
        Calibration in the large: the intercept with the slope held at 1.
    slope
        Of the label on the score's logit; None where no finite slope exists.
    """

    __test__ = False  # tells pytest that this class holds no tests

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    synthetic: bool
    events: int
    non_events: int
    intercept: Interval | None
    slope: Interval | None

    @classmethod
    def of(cls, found: Calibration, *, synthetic: bool) -> TestedCalibration:
        """Take what the claim needs from a calibration.

        Parameters
        ----------
        found
            On the test split.
        synthetic
            Whether the patients were phantoms.

        Returns
        -------
        TestedCalibration
        """
        return cls(
            synthetic=synthetic,
            events=found.n_positive,
            non_events=found.n - found.n_positive,
            intercept=_interval(found.in_the_large),
            slope=_interval(found.slope),
        )


@dataclass(frozen=True, slots=True)
class CalibrationClaim:
    """Whether the score may be called a probability, and one sentence with the reason."""

    holds: bool
    reason: str


def calibration_claim(trained_on_patients: bool, tested: TestedCalibration | NotEstimable) -> CalibrationClaim:
    """Judge whether a model may be called calibrated.

    All three must hold: (1) it was trained and tested on patients, since phantoms say nothing of a hospital's
    prevalence and spectrum; (2) its test split has at least 100 patients with the event and 100 without; (3) there the
    95 % interval of the calibration intercept holds 0, and that of the slope holds 1. The second is needed because with
    few patients both intervals are so wide that they hold every value.

    Parameters
    ----------
    trained_on_patients
        False for a synthetic cohort.
    tested
        On the test split, or the reason why there is none.

    Returns
    -------
    CalibrationClaim
        The reason is ASCII: it goes into DICOM reports.

    References
    ----------
    .. [1] Vergouwe Y, et al. Substantial effective sample sizes were required for external validation studies of
       predictive logistic regression models. J Clin Epidemiol 2005; 58(5): 475-483: 100 events and 100 non-events.
    .. [2] Collins GS, Ogundimu EO, Altman DG. Sample size considerations for the external validation of a multivariable
       prognostic model: a resampling study. Stat Med 2016; 35(2): 214-226: at least 100 events.
    .. [3] Van Calster B, et al. A calibration hierarchy for risk models was defined: from utopia to empirical data.
       J Clin Epidemiol 2016; 74: 167-176: intercept and slope.
    """
    if not trained_on_patients:
        return _denied("it was trained on synthetic phantoms, whose calibration says nothing about patients")
    if isinstance(tested, NotEstimable):
        return _denied(f"its calibration was not measured: {tested.reason}")
    if tested.synthetic:
        return _denied("it was tested on synthetic phantoms, whose calibration says nothing about patients")
    patients = f"{tested.events} test patients with high expression and {tested.non_events} without"
    if min(tested.events, tested.non_events) < SMALLEST_CLASS:
        return _denied(f"there are {patients}, and a test of calibration needs {SMALLEST_CLASS} of each")
    measured = (
        f"on {patients} the calibration intercept is {_said(tested.intercept)} where {INTERCEPT:g} is right, and the "
        f"slope {_said(tested.slope)} where {SLOPE:g} is right"
    )
    if not (_contains(tested.intercept, INTERCEPT) and _contains(tested.slope, SLOPE)):
        return _denied(measured)
    return CalibrationClaim(True, f"Calibration was tested: {measured}.")


def _denied(why: str) -> CalibrationClaim:
    return CalibrationClaim(False, f"The score is no probability: {why}.")


def _interval(estimate: Estimate) -> Interval | None:
    return None if math.isnan(estimate.value) else (estimate.value, estimate.lower, estimate.upper)


def _contains(interval: Interval | None, right: float) -> bool:
    return interval is not None and interval[1] <= right <= interval[2]


def _said(interval: Interval | None) -> str:
    if interval is None:
        return "not finite"
    return f"{interval[0]:.2f} (95 % CI {interval[1]:.2f} to {interval[2]:.2f})"
