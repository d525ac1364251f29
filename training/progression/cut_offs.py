"""Intervals of the cut-offs that were chosen on the patients themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.clinical import VARIABLES
from training.progression.followed import FollowedCohort
from training.progression.results import ClinicalGrouping, PrognosisSettings
from training.statistics.arrays import Estimate
from training.statistics.cut_off_interval import (
    ScoresOf,
    median_interval,
    refitted_fusion,
    refitted_risk,
    scores_as_they_are,
    searched_cut_off_interval,
)
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.prognosis import RiskModel
from training.statistics.xtile import CutOffSearch

NOT_SEARCHED: Final = NotEstimable("no cut-off was searched")


def cut_off_intervals(
    cohort: FollowedCohort,
    score: NDArray[np.float64] | NotEstimable,
    usable: Mapping[str, NDArray[np.float64]],
    search: CutOffSearch | NotEstimable,
    age: ClinicalGrouping,
    models: Mapping[str, RiskModel | NotEstimable],
    settings: PrognosisSettings,
) -> dict[str, Estimate | NotEstimable]:
    """Return each cut-off with its bootstrap interval; models that it cuts are fitted anew on each resample.

    Parameters
    ----------
    cohort
        The patients.
    score
        PD-L1ES, shape (N,), or why there is none.
    usable
        The clinical variables of the models, by name.
    search, age, models
        X-tile on PD-L1ES, on age, and on the linear predictors (``clinical``, ``fusion``).
    settings
        Their ``cut_off_resamples`` and ``seed``.

    Returns
    -------
    dict
        ``X-tile`` and ``median`` of PD-L1ES, ``age``, ``clinical``, ``fusion``.
    """
    options = {"n_resamples": settings.cut_off_resamples, "seed": settings.seed}

    def interval(
        found: CutOffSearch | NotEstimable | None, rows: NDArray[np.bool_] | slice, scores: ScoresOf
    ) -> Estimate | NotEstimable:
        if not isinstance(found, CutOffSearch):
            return found or NOT_SEARCHED
        return estimated(
            searched_cut_off_interval,
            found.cut_off,
            cohort.time[rows],
            cohort.event[rows],
            scores,
            smallest_share=settings.smallest_share,
            **options,
        )

    everybody = slice(None)
    place = VARIABLES.index("age")
    known = cohort.known[:, place]
    columns = np.column_stack(list(usable.values())) if usable else np.empty((cohort.time.size, 0))
    searches = {name: model if isinstance(model, NotEstimable) else model.search for name, model in models.items()}
    intervals: dict[str, Estimate | NotEstimable] = {}
    if isinstance(score, NotEstimable):
        intervals |= {"X-tile": score, "median": score, "fusion": score}
    else:
        intervals["X-tile"] = interval(search, everybody, scores_as_they_are(score))
        intervals["median"] = estimated(median_interval, score, **options)
        intervals["fusion"] = interval(
            searches["fusion"], everybody, refitted_fusion(cohort.time, cohort.event, score, columns)
        )
    if known.any():
        intervals["age"] = interval(age.search, known, scores_as_they_are(cohort.clinical[known, place]))
    else:
        intervals["age"] = NOT_SEARCHED
    intervals["clinical"] = interval(searches["clinical"], everybody, refitted_risk(cohort.time, cohort.event, columns))
    return intervals
