"""The check of proportional hazards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import Test, follow_up
from training.statistics.cox import cox
from training.statistics.cox_model import CoxModel, NoFiniteEstimate, chi_square_test
from training.statistics.efron import covariate_matrix, efron_steps, has_full_rank
from training.statistics.estimability import NotEstimable, estimated

TimeTransform = Literal["km", "identity", "rank"]


@dataclass(frozen=True, slots=True)
class ProportionalHazards:
    """The check of proportional hazards: one test per covariate and one of all; a small P speaks against the model."""

    transform: TimeTransform
    by_term: dict[str, Test]
    overall: Test


def proportional_hazards(
    time: ArrayLike,
    event: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    transform: TimeTransform = "km",
    *,
    model: CoxModel | None = None,
) -> ProportionalHazards:
    """Test whether hazard ratios change with time, as R's ``cox.zph`` since survival 3.0 does.

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Columns of shape (N,) by name.
    transform
        Of time: ``km``, ``identity`` or ``rank``.
    model
        `cox` of the same patients and covariates, where it is known; it is fitted here otherwise.

    Returns
    -------
    ProportionalHazards

    Raises
    ------
    NoFiniteEstimate
        All events were at one time, or at all times but one the patients at risk had the same covariates.
    ValueError
        As `cox`.

    Notes
    -----
    Grambsch and Therneau, Biometrika 1994; 81: 515-526, as the exact score test of adding covariate x g(time) to the
    model. (lifelines' test is their approximation, which takes the risk sets' variance as constant; it gives other
    numbers.) g is 1 - Kaplan-Meier just before the event (``km``), the time itself, or its rank.
    """
    times, events = follow_up(time, event)
    if model is None:
        model = cox(times, events, covariates)
    x = covariate_matrix(covariates, times.size) - model.centre
    deaths = efron_steps(times, events, x, model.coefficients)
    if deaths.times.size < 2:
        raise NoFiniteEstimate("all events were at one time, so nothing can be said of hazards that change with time")
    g = _time_scale(times, events, deaths.times, transform)[deaths.step_time]
    g = g - g.mean()
    p = x.shape[1]
    score = np.concatenate([np.zeros(p), (g[:, None] * (deaths.covariates - deaths.mean)).sum(axis=0)])
    v = deaths.variance
    cross, square = np.einsum("s,sij->ij", g, v), np.einsum("s,sij->ij", g**2, v)
    information = np.block([[v.sum(axis=0), cross], [cross, square]])

    def test(added: list[int]) -> Test:
        kept = [*range(p), *(p + k for k in added)]
        part, within = score[kept], information[np.ix_(kept, kept)]
        if not has_full_rank(within):
            raise NoFiniteEstimate(
                f"nothing can be said of hazards of {', '.join(model.names[k] for k in added)} that change with time: "
                "patients at risk differed at too few of the times of events"
            )
        return chi_square_test(float(part @ np.linalg.solve(within, part)), len(added))

    by_term = {name: test([k]) for k, name in enumerate(model.names)}
    return ProportionalHazards(transform, by_term, test(list(range(p))))


def hazards_of(
    time: ArrayLike, event: ArrayLike, covariates: Mapping[str, ArrayLike], model: CoxModel | NotEstimable
) -> ProportionalHazards | NotEstimable:
    """Return `proportional_hazards` of a fitted model, or why there is none.

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Columns of shape (N,) by name.
    model
        `cox` of the same patients and covariates, or the reason why it has no fit.

    Returns
    -------
    ProportionalHazards or NotEstimable
    """
    if isinstance(model, NotEstimable):
        return model
    return estimated(proportional_hazards, time, event, covariates, model=model)


def _time_scale(
    times: NDArray[np.float64], events: NDArray[np.bool_], at: NDArray[np.float64], transform: TimeTransform
) -> NDArray[np.float64]:
    if transform == "identity":
        return at
    if transform == "rank":
        # ranks of all patients' times, as in R: ties get their mean rank
        below = (times[:, None] < at).sum(axis=0)
        equal = (times[:, None] == at).sum(axis=0)
        return below + (equal + 1) / 2
    if transform != "km":
        raise ValueError(f"transform must be 'km', 'identity' or 'rank', got {transform!r}")
    risk = (times[:, None] >= at).sum(axis=0)
    died = ((times[:, None] == at) & events[:, None]).sum(axis=0)
    survival = np.cumprod(1 - died / risk)
    return 1 - np.concatenate([[1.0], survival[:-1]])
