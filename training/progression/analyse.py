"""Every prognostic analysis of the paper (Figures 3 and 4, Supplementary Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pdl1es.clinical import VARIABLES
from training.progress import Count, Progress
from training.progression.competing import competing_risks
from training.progression.cut_offs import cut_off_intervals
from training.progression.followed import FollowedCohort, ModelRisk, part_of
from training.progression.performance import performance_at_times
from training.progression.results import (
    ALL,
    ClinicalGrouping,
    ExportedRisk,
    Grouping,
    Prognosis,
    PrognosisSettings,
    RiskModelResult,
)
from training.statistics.concordance import ConcordanceComparison, compare_concordance, concordance
from training.statistics.cox import LINEAR_PREDICTOR, cox, cox_calibration
from training.statistics.cox_model import CoxModel
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.hazards_check import ProportionalHazards, proportional_hazards
from training.statistics.prognosis import (
    SIGNATURE,
    RiskModel,
    SubgroupComparison,
    compare_groups,
    compare_in_subgroups,
    fit_fusion_model,
    fit_risk_model,
)
from training.statistics.restricted_mean import RestrictedMeanComparison, compare_restricted_means
from training.statistics.survival import log_rank, median_follow_up
from training.statistics.xtile import CutOffSearch, held_out_cut_off, search_cut_off

PAPERS_CUT_OFF: Final = 0.66
"""Cut-off of the paper's own model; it has no special meaning on another model's scale."""
_LEVELS: Final[dict[str, dict[float, str]]] = {
    "sex": {0.0: "female", 1.0: "male"},
    "smoking": {0.0: "never", 1.0: "occasionally", 2.0: "constantly"},
    "family_history": {0.0: "no", 1.0: "yes"},
}
NO_SCORE: Final = NotEstimable("there is no score: no model has scored these patients")
EXPORTED: Final = "the exported model's, from other patients"
OF_UNKNOWN_GRADE: Final = "smoker of unknown grade"
Column = NDArray[np.float64] | NotEstimable
Design = dict[str, NDArray[np.float64]] | NotEstimable
"""Covariates of a Cox model, or why there is none."""
Values = TypeVar("Values")
Result = TypeVar("Result")


def analyse(
    cohort: FollowedCohort,
    settings: PrognosisSettings | None = None,
    *,
    model_cut_off: float | None = None,
    progress: Progress | None = None,
) -> Prognosis:
    """Run every prognostic analysis of the paper.

    Parameters
    ----------
    cohort
        Patients with follow-up; where they have no score, everything about the score is not estimable.
    settings
        By default `PrognosisSettings`.
    model_cut_off
        Of an exported model whose groups shall be tested on other patients (external validation).
    progress
        Called with the number of permutations done and in all.

    Returns
    -------
    Prognosis
    """
    settings = settings or PrognosisSettings()
    time, event = cohort.time, cohort.event
    score: Column = NO_SCORE if cohort.score is None else cohort.score
    clinical = _clinical(cohort)
    usable = {name: column for name, column in clinical.items() if not isinstance(column, NotEstimable)}
    search_options: dict[str, Any] = {
        "smallest_share": settings.smallest_share,
        "n_permutations": settings.permutations,
        "seed": settings.seed,
    }

    def told(step: str) -> Count | None:
        return None if progress is None else lambda done, of: progress(step, done, of)

    def searched(values: NDArray[np.float64]) -> CutOffSearch:
        return search_cut_off(time, event, values, **search_options, progress=told("cut-off on PD-L1ES"))

    search = _where(score, searched)
    upper: Column = search if isinstance(search, NotEstimable) else _where(score, partial(_above, search.cut_off))
    clinical_fit = estimated(
        fit_risk_model, time, event, usable, **search_options, progress=told("cut-off on the clinical model")
    )

    def fused(values: NDArray[np.float64]) -> RiskModel:
        if isinstance(clinical_fit, NotEstimable):
            raise ValueError(f"there is no clinical model: {clinical_fit.reason}")
        return fit_fusion_model(
            time, event, values, clinical_fit, usable, **search_options, progress=told("cut-off on the fusion model")
        )

    fusion_fit = _where(score, fused)
    alone = {name: _design({name: column}) for name, column in {SIGNATURE: score, **clinical}.items()}
    by_group = {name: _design({SIGNATURE: upper, name: column}) for name, column in clinical.items()}
    as_number = {name: _design({SIGNATURE: score, name: column}) for name, column in clinical.items()}
    everything = {ALL: _design({SIGNATURE: score, **usable})}

    def fitted(designs: Mapping[str, Design]) -> dict[str, CoxModel | NotEstimable]:
        return {name: _where(design, partial(cox, time, event)) for name, design in designs.items()}

    def checked(
        designs: Mapping[str, Design], models: Mapping[str, CoxModel | NotEstimable]
    ) -> dict[str, ProportionalHazards | NotEstimable]:
        found: dict[str, ProportionalHazards | NotEstimable] = {}
        for name, model in models.items():
            if isinstance(model, NotEstimable):
                found[name] = model
            else:
                found[name] = _where(designs[name], partial(proportional_hazards, time, event, model=model))
        return found

    univariable, with_each = fitted(alone), fitted(by_group)
    groupings = {} if cohort.score is None else _by_score(cohort, cohort.score, search, model_cut_off)
    with_each_continuous, multivariable = fitted(as_number), fitted(everything)
    variables = {
        name: _by_variable(cohort, k, name, settings, told("cut-off on age")) for k, name in enumerate(VARIABLES)
    }
    return Prognosis(
        n=time.size,
        n_events=int(event.sum()),
        left_out=cohort.left_out,
        follow_up=estimated(median_follow_up, time, event),
        search=search,
        held_out=_where(score, partial(held_out_cut_off, time, event, **search_options)),
        cut_offs=cut_off_intervals(
            cohort,
            score,
            usable,
            search,
            variables["age"],
            {"clinical": clinical_fit, "fusion": fusion_fit},
            settings,
        ),
        groupings=groupings,
        expression=_by_expression(cohort),
        continuous_concordance=_where(score, partial(concordance, time, event)),
        univariable=univariable,
        univariable_hazards=checked(alone, univariable),
        with_each=with_each,
        with_each_hazards=checked(by_group, with_each),
        with_each_continuous=with_each_continuous,
        with_each_continuous_hazards=checked(as_number, with_each_continuous),
        multivariable=multivariable[ALL],
        multivariable_hazards=checked(everything, multivariable)[ALL],
        clinical_variables=variables,
        clinical=_risk_result(cohort, clinical_fit),
        fusion=_risk_result(cohort, fusion_fit),
        fusion_against_clinical=_compared(cohort, fusion_fit, clinical_fit),
        fusion_against_signature=_compared(cohort, fusion_fit, score),
        exported={name: exported_risk(cohort, risk) for name, risk in cohort.model_risks.items()},
        performance=performance_at_times(
            time,
            event,
            score,
            usable,
            {name: cohort.known[:, k] for k, name in enumerate(VARIABLES)},
            settings.horizons,
            n_permutations=settings.permutations,
            n_resamples=settings.resamples,
            seed=settings.seed,
        ),
        restricted_means={
            name: estimated(_restricted_means, cohort, grouping.cut_off) for name, grouping in groupings.items()
        },
        competing=estimated(
            competing_risks,
            cohort,
            {name: grouping.cut_off for name, grouping in groupings.items()},
            score,
            usable,
            settings.horizons,
        ),
        settings=settings,
    )


def _where(values: Values | NotEstimable, function: Callable[[Values], Result]) -> Result | NotEstimable:
    """Call a function of `training.statistics` on values; a `NotEstimable` is returned as it is."""
    return values if isinstance(values, NotEstimable) else estimated(function, values)


def _above(cut_off: float, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values > cut_off).astype(np.float64)


def _clinical(cohort: FollowedCohort) -> dict[str, Column]:
    """Return each clinical variable, or the reason why no model can use it."""
    columns: dict[str, Column] = {}
    for k, name in enumerate(VARIABLES):
        column = cohort.clinical[:, k]
        if not cohort.known[:, k].any():
            columns[name] = NotEstimable(f"{name} was measured of nobody")
        elif np.ptp(column) == 0:
            columns[name] = NotEstimable(f"{name} is the same for every patient, so it has no hazard ratio")
        else:
            columns[name] = column
    return columns


def _design(columns: Mapping[str, Column]) -> Design:
    found: dict[str, NDArray[np.float64]] = {}
    for name, column in columns.items():
        if isinstance(column, NotEstimable):
            return column
        found[name] = column
    return found


def _by_score(
    cohort: FollowedCohort,
    score: NDArray[np.float64],
    search: CutOffSearch | NotEstimable,
    model_cut_off: float | None,
) -> dict[str, Grouping]:
    groupings: dict[str, Grouping] = {}
    if isinstance(search, CutOffSearch):
        groupings["X-tile"] = _grouping(cohort, score, search.cut_off, "X-tile on these patients")
    groupings["median"] = _grouping(cohort, score, float(np.median(score)), "median of these patients")
    groupings["paper"] = _grouping(cohort, score, PAPERS_CUT_OFF, "the paper's, of the paper's model")
    if model_cut_off is not None:
        groupings["model"] = _grouping(cohort, score, model_cut_off, EXPORTED)
    return groupings


def _grouping(cohort: FollowedCohort, values: NDArray[np.float64], cut_off: float, source: str) -> Grouping:
    upper = values > cut_off
    return Grouping(
        cut_off=cut_off,
        source=source,
        groups=estimated(compare_groups, cohort.time, cohort.event, upper),
        by_treatment=_by_treatment(cohort, upper),
    )


def _restricted_means(cohort: FollowedCohort, cut_off: float) -> RestrictedMeanComparison:
    if cohort.score is None:
        raise ValueError(NO_SCORE.reason)
    return compare_restricted_means(cohort.time, cohort.event, cohort.score > cut_off)


def _by_treatment(cohort: FollowedCohort, upper: NDArray[np.bool_]) -> SubgroupComparison | NotEstimable:
    if all(name is None for name in cohort.treatment):
        return NotEstimable("nobody's treatment is known")
    return estimated(compare_in_subgroups, cohort.time, cohort.event, upper, cohort.treatment)


def _by_expression(cohort: FollowedCohort) -> Grouping | NotEstimable:
    known = ~np.isnan(cohort.expression)
    if not known.any():
        return NotEstimable("PD-L1 was measured of none of the patients with follow-up")
    part = part_of(cohort, known)
    return _grouping(part, part.expression, 0.5, f"measured PD-L1 (high or low), known of {int(known.sum())} patients")


def exported_risk(cohort: FollowedCohort, risk: ModelRisk) -> ExportedRisk:
    """Check an exported Cox model on patients that it was not fitted on.

    Parameters
    ----------
    cohort
        The patients.
    risk
        The model's linear predictors, cut-off and group names.

    Returns
    -------
    ExportedRisk
    """
    known = np.isfinite(risk.linear_predictor)
    if not known.any():
        nobody = NotEstimable("the exported model gives no patient a risk")
        grouping = Grouping(risk.cut_off, EXPORTED, nobody, nobody)
        return ExportedRisk(0, 0, known.size, risk.above, risk.below, grouping, nobody, nobody, nobody)
    part, predictor = part_of(cohort, known), risk.linear_predictor[known]
    return ExportedRisk(
        n=part.time.size,
        n_events=int(part.event.sum()),
        unknown=int((~known).sum()),
        above=risk.above,
        below=risk.below,
        grouping=_grouping(part, predictor, risk.cut_off, EXPORTED),
        concordance=estimated(concordance, part.time, part.event, predictor),
        calibration=estimated(cox_calibration, part.time, part.event, predictor),
        proportional_hazards=estimated(proportional_hazards, part.time, part.event, {LINEAR_PREDICTOR: predictor}),
    )


def _by_variable(
    cohort: FollowedCohort,
    k: int,
    name: str,
    settings: PrognosisSettings,
    progress: Count | None,
) -> ClinicalGrouping:
    known = cohort.known[:, k]
    time, event, values = cohort.time[known], cohort.event[known], cohort.clinical[known, k]
    if not known.any():
        nobody = NotEstimable(f"{name} was measured of nobody")
        return ClinicalGrouping(0, "", "", "", nobody, nobody, None)
    search: CutOffSearch | NotEstimable | None = None
    if name == "age":
        search = estimated(
            search_cut_off,
            time,
            event,
            values,
            smallest_share=settings.smallest_share,
            n_permutations=settings.permutations,
            seed=settings.seed,
            progress=progress,
        )
        cut = float(np.median(values)) if isinstance(search, NotEstimable) else search.cut_off
        upper = values > cut
        found = "cut at the median" if isinstance(search, NotEstimable) else "cut by X-tile"
        names = (f"> {cut:g} years", f"≤ {cut:g} years")
        levels = estimated(log_rank, time, event, upper)
    else:
        upper = values > 0
        found = ""
        names = {"sex": ("male", "female"), "smoking": ("ever", "never"), "family_history": ("yes", "no")}[name]
        words = np.array([_LEVELS[name].get(float(v), OF_UNKNOWN_GRADE) for v in values], dtype=object)
        if name == "smoking" and cohort.ungraded is not None:
            # their code may be that of a grade: without a graded smoker it is 'occasionally'
            words[cohort.ungraded[known]] = OF_UNKNOWN_GRADE
        levels = estimated(log_rank, time, event, words.tolist())
    return ClinicalGrouping(
        int(known.sum()), *names, found, levels, estimated(compare_groups, time, event, upper), search
    )


def _risk_result(cohort: FollowedCohort, fit: RiskModel | NotEstimable) -> RiskModelResult | NotEstimable:
    if isinstance(fit, NotEstimable):
        return fit
    return RiskModelResult(fit, _by_treatment(cohort, fit.risk > fit.search.cut_off))


def _compared(
    cohort: FollowedCohort, fusion: RiskModel | NotEstimable, other: RiskModel | Column
) -> ConcordanceComparison | NotEstimable:
    if isinstance(fusion, NotEstimable):
        return fusion
    if isinstance(other, NotEstimable):
        return other
    risk = other.risk if isinstance(other, RiskModel) else other
    return estimated(compare_concordance, cohort.time, cohort.event, fusion.risk, risk)
