"""Progression where death may come first: cumulative incidences by group, and models of both events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.progression.followed import FollowedCohort
from training.statistics.competing_risks import CompetingComparison, compare_under_competing_risks
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.fine_gray import COMPETING, EVENT, SubdistributionModel, fine_gray
from training.statistics.prognosis import SIGNATURE

PROGRESSION: Final = "progression"
DEATH: Final = "death"
NO_CAUSES: Final = "no cause of event is given (column event_cause), so that progression and death cannot be told apart"


@dataclass(frozen=True, slots=True)
class CompetingRisks:
    """Both events of progression-free survival apart.

    Attributes
    ----------
    n, n_progressed, n_died
        Patients, and which event came first.
    horizons
        Days at which incidences are told.
    groupings
        By the names of the groupings of PD-L1ES, and ``expression`` for measured PD-L1: by event (`PROGRESSION`, `DEATH`)
        the upper group against the lower, the other event competing.
    score, multivariable
        Fine and Gray's model of progression: PD-L1ES as a number alone, and with the clinical variables.
    """

    n: int
    n_progressed: int
    n_died: int
    horizons: tuple[float, ...]
    groupings: dict[str, dict[str, CompetingComparison | NotEstimable]]
    score: SubdistributionModel | NotEstimable
    multivariable: SubdistributionModel | NotEstimable


def competing_risks(
    cohort: FollowedCohort,
    cut_offs: Mapping[str, float],
    score: NDArray[np.float64] | NotEstimable,
    clinical: Mapping[str, NDArray[np.float64]],
    horizons: tuple[float, ...],
) -> CompetingRisks:
    """Analyse progression with death before it as the competing event.

    Parameters
    ----------
    cohort
        Patients with follow-up and causes of their events.
    cut_offs
        Of the groupings of PD-L1ES, by name.
    score
        PD-L1ES, shape (N,), or why there is none.
    clinical
        Variables that were measured and differ, by name.
    horizons
        Days.

    Returns
    -------
    CompetingRisks

    Raises
    ------
    ValueError
        No cause is given, that of some events is not known, or all events had the same.
    """
    status = _status(cohort)
    known = ~np.isnan(cohort.expression)
    groupings: dict[str, dict[str, CompetingComparison | NotEstimable]] = {}
    if not isinstance(score, NotEstimable):
        groupings = {name: _of_groups(cohort.time, status, score > cut) for name, cut in cut_offs.items()}
    if known.any():
        groupings["expression"] = _of_groups(cohort.time[known], status[known], cohort.expression[known] > 0.5)

    def modelled(others: Mapping[str, NDArray[np.float64]]) -> SubdistributionModel | NotEstimable:
        if isinstance(score, NotEstimable):
            return score
        return estimated(fine_gray, cohort.time, status, {SIGNATURE: score, **others})

    return CompetingRisks(
        n=status.size,
        n_progressed=int((status == EVENT).sum()),
        n_died=int((status == COMPETING).sum()),
        horizons=horizons,
        groupings=groupings,
        score=modelled({}),
        multivariable=modelled(clinical),
    )


def _status(cohort: FollowedCohort) -> NDArray[np.int64]:
    """Return 0 for a censored patient, 1 for progression, 2 for death before it."""
    events = cohort.event == 1
    if not cohort.cause:
        raise ValueError(NO_CAUSES)
    causes = np.array([{PROGRESSION: EVENT, DEATH: COMPETING}.get(cause or "", 0) for cause in cohort.cause])
    unknown = int((events & (causes == 0)).sum())
    if unknown:
        raise ValueError(f"of {unknown} of {int(events.sum())} events the cause is not known")
    status = np.where(events, causes, 0)
    for kind, none in ((EVENT, "nobody progressed"), (COMPETING, "nobody died without progression")):
        if not (status == kind).any():
            raise ValueError(f"{none}, so that no event competes with another")
    return status


def _of_groups(
    time: NDArray[np.float64], status: NDArray[np.int64], upper: NDArray[np.bool_]
) -> dict[str, CompetingComparison | NotEstimable]:
    swapped = np.select([status == EVENT, status == COMPETING], [COMPETING, EVENT])
    return {
        PROGRESSION: estimated(compare_under_competing_risks, time, status, upper),
        DEATH: estimated(compare_under_competing_risks, time, swapped, upper),
    }
