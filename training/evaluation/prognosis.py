"""What the score says of progression under immunotherapy (paper, Figures 3 and 4, Supplementary Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.clinical import VARIABLES
from training.evaluation.estimability import NotEstimable, estimated
from training.statistics.arrays import Estimate
from training.statistics.concordance import Concordance, ConcordanceComparison, compare_concordance, concordance
from training.statistics.cox import (
    LINEAR_PREDICTOR,
    CoxCalibration,
    CoxModel,
    ProportionalHazards,
    cox,
    cox_calibration,
    proportional_hazards,
)
from training.statistics.prognosis import (
    SIGNATURE,
    GroupComparison,
    RiskModel,
    SubgroupComparison,
    compare_groups,
    compare_in_subgroups,
    fit_fusion_model,
    fit_risk_model,
)
from training.statistics.survival import LogRank, log_rank, median_follow_up
from training.statistics.xtile import CutOffSearch, HeldOutCutOff, held_out_cut_off, search_cut_off

PAPERS_CUT_OFF: Final = 0.66
"""Of the paper's own model; on another model's scale it is a number like others."""
ALL: Final = "All"

_LEVELS: Final[dict[str, dict[float, str]]] = {
    "sex": {0.0: "female", 1.0: "male"},
    "smoking": {0.0: "never", 1.0: "occasionally", 2.0: "constantly"},
    "family_history": {0.0: "no", 1.0: "yes"},
}

NO_SCORE: Final = NotEstimable("there is no score: no model has scored these patients")

_EXPORTED: Final = "the exported model's, from other patients"
OF_UNKNOWN_GRADE: Final = "smoker of unknown grade"

Column = NDArray[np.float64] | NotEstimable
Design = dict[str, NDArray[np.float64]] | NotEstimable
"""Covariates of a Cox model, or why there is none."""
Values = TypeVar("Values")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""


@dataclass(frozen=True, slots=True)
class PrognosisSettings:
    """What an analysis of progression may be told.

    Attributes
    ----------
    smallest_share
        Of patients on either side of a cut-off.
    permutations
        Behind each corrected P of a cut-off.
    seed
        Of everything drawn.
    """

    smallest_share: float = 0.1
    permutations: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ModelRisk:
    """What an exported Cox model says of patients that it was not fitted on.

    Attributes
    ----------
    linear_predictor
        float64, shape (N,); NaN where the model says nothing of a patient.
    cut_off
        The model's own.
    above, below
        What the model calls its groups.
    """

    linear_predictor: NDArray[np.float64]
    cut_off: float
    above: str = "above the cut-off"
    below: str = "not above the cut-off"


@dataclass(frozen=True, slots=True)
class FollowedCohort:
    """Patients with follow-up; every column has shape (N,).

    Attributes
    ----------
    time, event
        Days to progression or censoring, and whether it was progression.
    score
        PD-L1ES; None where no model has scored the patients, as in a table without images.
    clinical
        The four variables on the raw scale, imputed, shape (N, 4).
    known
        Which of them were measured, shape (N, 4): curves by a variable show these alone.
    treatment
        None where it is not known.
    expression
        Measured PD-L1, 1 high, 0 low, NaN where it is not known.
    left_out
        Patients who take no part, by reason.
    model_risks
        By name (`clinical`, `fusion`), where an exported model holds Cox models.
    """

    time: NDArray[np.float64]
    event: NDArray[np.float64]
    score: NDArray[np.float64] | None
    clinical: NDArray[np.float64]
    known: NDArray[np.bool_]
    treatment: tuple[str | None, ...]
    expression: NDArray[np.float64]
    left_out: dict[str, int] = field(default_factory=dict)
    model_risks: Mapping[str, ModelRisk] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Patients above a cut-off against those at or below it: all of them, and within each treatment."""

    cut_off: float
    source: str
    groups: GroupComparison | NotEstimable
    by_treatment: SubgroupComparison | NotEstimable


@dataclass(frozen=True, slots=True)
class ClinicalGrouping:
    """Curves by one clinical variable: the log-rank test over its levels, and two groups for the figure.

    Attributes
    ----------
    n
        Patients of whom the variable was measured.
    upper, lower
        Names of the two groups.
    found
        How age was cut; empty for the others.
    levels
        Log-rank test over all levels; of age, over the two groups.
    groups
        Upper against lower.
    search
        How the cut-off was found, of age alone.
    """

    n: int
    upper: str
    lower: str
    found: str
    levels: LogRank | NotEstimable
    groups: GroupComparison | NotEstimable
    search: CutOffSearch | NotEstimable | None


@dataclass(frozen=True, slots=True)
class RiskModelResult:
    """A Cox model cut by X-tile, its groups within each treatment."""

    fit: RiskModel
    by_treatment: SubgroupComparison | NotEstimable

    @property
    def grouping(self) -> Grouping:
        """Its groups, as those of any other cut-off."""
        return Grouping(self.fit.search.cut_off, "X-tile on these patients", self.fit.groups, self.by_treatment)


@dataclass(frozen=True, slots=True)
class ExportedRisk:
    """An exported Cox model on patients that it was not fitted on: nothing is fitted or searched but what checks it.

    Attributes
    ----------
    n, n_events, unknown
        Patients with a linear predictor, and without one.
    above, below
        What the model calls its groups, whichever fares worse here.
    grouping
        At the model's own cut-off, all patients and within each treatment.
    concordance
        Of the linear predictor.
    calibration
        Its slope: 1 where the model carries over.
    proportional_hazards
        Of the Cox model that the slope is of.
    """

    n: int
    n_events: int
    unknown: int
    above: str
    below: str
    grouping: Grouping
    concordance: Concordance | NotEstimable
    calibration: CoxCalibration | NotEstimable
    proportional_hazards: ProportionalHazards | NotEstimable


@dataclass(frozen=True, slots=True)
class Prognosis:
    """The whole analysis of progression; whatever the patients do not hold is a `NotEstimable`.

    Attributes
    ----------
    n, n_events, left_out
        Patients.
    follow_up
        Median, by the reverse Kaplan-Meier curve, days.
    search, held_out
        X-tile on all patients with the search's correction, and found on one half and tested on the other.
    groupings
        PD-L1ES at X-tile's cut-off (``X-tile``), at the median (``median``), at the paper's 0.66 (``paper``), and at the
        model's own (``model``) where one was given.
    expression
        The same by measured PD-L1.
    continuous_concordance
        Of PD-L1ES as a number.
    univariable
        PD-L1ES as a number, per unit of score, and each clinical variable, alone.
    with_each, with_each_continuous
        PD-L1ES (groups by X-tile; as a number) with each clinical variable.
    multivariable
        PD-L1ES as a number with all four, or with those that were measured and differ.
    univariable_hazards, with_each_hazards, with_each_continuous_hazards, multivariable_hazards
        The check of proportional hazards of each of these models.
    clinical_variables
        Curves by each.
    clinical, fusion
        The clinical and the fusion Cox model.
    fusion_against_clinical, fusion_against_signature
        C-indices on the same patients; the models were fitted on them, so that gain and P flatter the fusion model.
    exported
        An exported model's Cox models by name (`clinical`, `fusion`), fitted on other patients.
    settings
        As given.
    """

    n: int
    n_events: int
    left_out: dict[str, int]
    follow_up: Estimate | NotEstimable
    search: CutOffSearch | NotEstimable
    held_out: HeldOutCutOff | NotEstimable
    groupings: dict[str, Grouping]
    expression: Grouping | NotEstimable
    continuous_concordance: Concordance | NotEstimable
    univariable: dict[str, CoxModel | NotEstimable]
    univariable_hazards: dict[str, ProportionalHazards | NotEstimable]
    with_each: dict[str, CoxModel | NotEstimable]
    with_each_hazards: dict[str, ProportionalHazards | NotEstimable]
    with_each_continuous: dict[str, CoxModel | NotEstimable]
    with_each_continuous_hazards: dict[str, ProportionalHazards | NotEstimable]
    multivariable: CoxModel | NotEstimable
    multivariable_hazards: ProportionalHazards | NotEstimable
    clinical_variables: dict[str, ClinicalGrouping]
    clinical: RiskModelResult | NotEstimable
    fusion: RiskModelResult | NotEstimable
    fusion_against_clinical: ConcordanceComparison | NotEstimable
    fusion_against_signature: ConcordanceComparison | NotEstimable
    exported: dict[str, ExportedRisk]
    settings: PrognosisSettings


def followed_cohort(
    cases: pd.DataFrame,
    score: NDArray[np.float64] | None,
    imputed: NDArray[np.float64],
    model_risks: Mapping[str, ModelRisk] | None = None,
) -> FollowedCohort:
    """Take the patients with follow-up from a cohort.

    Parameters
    ----------
    cases
        As ``cases.parquet``, N rows. Where a row's split is 'prognosis' those rows, else all that did not train or
        validate the model: its score knows their label, so that their cut-offs and hazard ratios would flatter it.
    score
        PD-L1ES, float64, shape (N,), NaN where a patient was not scored; None where there is no score at all.
    imputed
        float64, shape (N, 4): the clinical variables as the model imputes them.
    model_risks
        By name (`clinical`, `fusion`) an exported model's Cox models on these N patients.

    Raises
    ------
    ValueError
        No patient is left who has follow-up and, where there is a score, a score.
    """
    time = cases["pfs_days"].to_numpy(dtype=np.float64, na_value=np.nan)
    event = cases["progressed"].to_numpy(dtype=np.float64, na_value=np.nan)
    split = cases["split"].astype(object).to_numpy() if "split" in cases else np.full(len(cases), None, dtype=object)
    fitted_on = (split == "train") | (split == "validation")
    complete = np.isfinite(time) & np.isfinite(event)
    cohort = split == "prognosis" if (split == "prognosis").any() else np.isfinite(time) & ~fitted_on
    followed = cohort & complete
    kept = followed if score is None else followed & np.isfinite(score)
    if not kept.any():
        raise ValueError(_nobody(followed, complete & fitted_on))
    known = ~np.isnan(cases[list(VARIABLES)].to_numpy(dtype=np.float64, na_value=np.nan))
    if "smoking_graded" in cases:
        # a smoker of unknown grade has smoked, whatever the grade
        known[:, VARIABLES.index("smoking")] |= cases["smoking_graded"].eq(False).to_numpy(dtype=bool, na_value=False)
    treatment = [None if pd.isna(value) or not str(value) else str(value) for value in cases["treatment"]]
    return FollowedCohort(
        time=time[kept],
        event=event[kept],
        score=None if score is None else score[kept],
        clinical=imputed[kept],
        known=known[kept],
        treatment=tuple(treatment[k] for k in np.flatnonzero(kept)),
        expression=cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)[kept],
        left_out={
            "in the training or validation split": int((complete & fitted_on).sum()),
            "without follow-up": int((cohort & ~followed).sum()),
            "without a score": int((followed & ~kept).sum()),
        },
        model_risks={
            name: replace(risk, linear_predictor=risk.linear_predictor[kept])
            for name, risk in (model_risks or {}).items()
        },
    )


def _nobody(followed: NDArray[np.bool_], fitted_on: NDArray[np.bool_]) -> str:
    if followed.any():
        return "none of the patients with follow-up has a score"
    if fitted_on.any():
        return (
            f"all {int(fitted_on.sum())} patients with follow-up trained or validated the model: name those who "
            "are to be analysed in the column split as prognosis, and train without them"
        )
    return "no patient has follow-up: give pfs_days and progressed"


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
        Patients with follow-up; without a score, what is of the score is not estimable.
    settings
        By default `PrognosisSettings`.
    model_cut_off
        Of an exported model whose groups shall be tested on other patients (external validation).
    progress
        Called as the permutations go.
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

    def told(step: str) -> Callable[[int, int], None] | None:
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

    def checked(designs: Mapping[str, Design]) -> dict[str, ProportionalHazards | NotEstimable]:
        return {name: _where(design, partial(proportional_hazards, time, event)) for name, design in designs.items()}

    return Prognosis(
        n=time.size,
        n_events=int(event.sum()),
        left_out=cohort.left_out,
        follow_up=estimated(median_follow_up, time, event),
        search=search,
        held_out=_where(score, partial(held_out_cut_off, time, event, **search_options)),
        groupings={} if cohort.score is None else _by_score(cohort, cohort.score, search, model_cut_off),
        expression=_by_expression(cohort),
        continuous_concordance=_where(score, partial(concordance, time, event)),
        univariable=fitted(alone),
        univariable_hazards=checked(alone),
        with_each=fitted(by_group),
        with_each_hazards=checked(by_group),
        with_each_continuous=fitted(as_number),
        with_each_continuous_hazards=checked(as_number),
        multivariable=fitted(everything)[ALL],
        multivariable_hazards=checked(everything)[ALL],
        clinical_variables={
            name: _by_variable(cohort, k, name, settings, told("cut-off on age")) for k, name in enumerate(VARIABLES)
        },
        clinical=_risk_result(cohort, clinical_fit),
        fusion=_risk_result(cohort, fusion_fit),
        fusion_against_clinical=_compared(cohort, fusion_fit, clinical_fit),
        fusion_against_signature=_compared(cohort, fusion_fit, score),
        exported={name: _exported(cohort, risk) for name, risk in cohort.model_risks.items()},
        settings=settings,
    )


def _where(values: Values | NotEstimable, function: Callable[[Values], Result]) -> Result | NotEstimable:
    """Call a function of `training.statistics` on what there is; what there is not keeps its reason."""
    return values if isinstance(values, NotEstimable) else estimated(function, values)


def _above(cut_off: float, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values > cut_off).astype(np.float64)


def _clinical(cohort: FollowedCohort) -> dict[str, Column]:
    """Return each clinical variable, or why it can be in no model."""
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
        groupings["model"] = _grouping(cohort, score, model_cut_off, _EXPORTED)
    return groupings


def _grouping(cohort: FollowedCohort, values: NDArray[np.float64], cut_off: float, source: str) -> Grouping:
    upper = values > cut_off
    return Grouping(
        cut_off=cut_off,
        source=source,
        groups=estimated(compare_groups, cohort.time, cohort.event, upper),
        by_treatment=_by_treatment(cohort, upper),
    )


def _by_treatment(cohort: FollowedCohort, upper: NDArray[np.bool_]) -> SubgroupComparison | NotEstimable:
    if all(name is None for name in cohort.treatment):
        return NotEstimable("nobody's treatment is known")
    return estimated(compare_in_subgroups, cohort.time, cohort.event, upper, cohort.treatment)


def _by_expression(cohort: FollowedCohort) -> Grouping | NotEstimable:
    known = ~np.isnan(cohort.expression)
    if not known.any():
        return NotEstimable("PD-L1 was measured of none of the patients with follow-up")
    part = _part(cohort, known)
    return _grouping(part, part.expression, 0.5, f"measured PD-L1 (high or low), known of {int(known.sum())} patients")


def _exported(cohort: FollowedCohort, risk: ModelRisk) -> ExportedRisk:
    known = np.isfinite(risk.linear_predictor)
    if not known.any():
        nobody = NotEstimable("the exported model gives no patient a risk")
        grouping = Grouping(risk.cut_off, _EXPORTED, nobody, nobody)
        return ExportedRisk(0, 0, known.size, risk.above, risk.below, grouping, nobody, nobody, nobody)
    part, predictor = _part(cohort, known), risk.linear_predictor[known]
    return ExportedRisk(
        n=part.time.size,
        n_events=int(part.event.sum()),
        unknown=int((~known).sum()),
        above=risk.above,
        below=risk.below,
        grouping=_grouping(part, predictor, risk.cut_off, _EXPORTED),
        concordance=estimated(concordance, part.time, part.event, predictor),
        calibration=estimated(cox_calibration, part.time, part.event, predictor),
        proportional_hazards=estimated(proportional_hazards, part.time, part.event, {LINEAR_PREDICTOR: predictor}),
    )


def _part(cohort: FollowedCohort, rows: NDArray[np.bool_]) -> FollowedCohort:
    return FollowedCohort(
        time=cohort.time[rows],
        event=cohort.event[rows],
        score=None if cohort.score is None else cohort.score[rows],
        clinical=cohort.clinical[rows],
        known=cohort.known[rows],
        treatment=tuple(cohort.treatment[k] for k in np.flatnonzero(rows)),
        expression=cohort.expression[rows],
    )


def _by_variable(
    cohort: FollowedCohort,
    k: int,
    name: str,
    settings: PrognosisSettings,
    progress: Callable[[int, int], None] | None,
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
        levels = estimated(log_rank, time, event, [_LEVELS[name].get(float(v), OF_UNKNOWN_GRADE) for v in values])
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


def panels(
    whole: GroupComparison | NotEstimable, by_treatment: SubgroupComparison | NotEstimable
) -> dict[str, GroupComparison]:
    """Return the comparisons that can be drawn: all patients first, then each treatment that has both groups."""
    found: dict[str, GroupComparison] = {}
    if isinstance(whole, GroupComparison):
        found[ALL] = whole
    if isinstance(by_treatment, SubgroupComparison):
        found |= {name: group for name, group in by_treatment.groups.items() if group is not None}
    return found


def upper_is_worse(comparison: GroupComparison | NotEstimable | None) -> bool | None:
    """Return whether the upper group had more events than expected: the direction is the data's, never a constant."""
    if comparison is None or isinstance(comparison, NotEstimable) or comparison.log_rank is None:
        return None
    # groups sort as False, True
    return bool(comparison.log_rank.observed[1] > comparison.log_rank.expected[1])


def risk_names(worse_above: bool | None) -> tuple[str, str]:
    """Return the names of the group above and of the group at or below a cut-off."""
    names: Mapping[bool | None, tuple[str, str]] = {
        True: ("high risk", "low risk"),
        False: ("low risk", "high risk"),
        None: ("above the cut-off", "not above the cut-off"),
    }
    return names[worse_above]


def names_of(searches: Sequence[CutOffSearch | NotEstimable]) -> list[tuple[str, str]]:
    """Return `risk_names` of each search."""
    return [risk_names(None if isinstance(s, NotEstimable) else s.upper_is_worse) for s in searches]
