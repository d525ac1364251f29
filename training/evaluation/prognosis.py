"""What the score says of progression under immunotherapy (paper, Figures 3 and 4, Supplementary Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.clinical import VARIABLES
from training.evaluation.estimability import NotEstimable, estimated
from training.statistics.arrays import Estimate
from training.statistics.concordance import Concordance, ConcordanceComparison, compare_concordance, concordance
from training.statistics.cox import CoxModel, CoxTerm, ProportionalHazards, cox, proportional_hazards
from training.statistics.prognosis import (
    SIGNATURE,
    GroupComparison,
    RiskModel,
    SubgroupComparison,
    compare_groups,
    compare_in_subgroups,
    fit_fusion_model,
    fit_risk_model,
    signature_with_each,
    univariable,
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
class FollowedCohort:
    """Patients with follow-up; every column has shape (N,).

    Attributes
    ----------
    time, event
        Days to progression or censoring, and whether it was progression.
    score
        PD-L1ES.
    clinical
        The four variables on the raw scale, imputed, shape (N, 4).
    known
        Which of them were measured, shape (N, 4): curves by a variable show these alone.
    treatment
        None where it is not known.
    expression
        Measured PD-L1, 1 high, 0 low, NaN where it is not known.
    left_out
        Patients of the cohort without follow-up or without a score, by reason.
    """

    time: NDArray[np.float64]
    event: NDArray[np.float64]
    score: NDArray[np.float64]
    clinical: NDArray[np.float64]
    known: NDArray[np.bool_]
    treatment: tuple[str | None, ...]
    expression: NDArray[np.float64]
    left_out: dict[str, int] = field(default_factory=dict)


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
    continuous
        PD-L1ES as a number in Cox's model, per unit of score.
    continuous_hazards, continuous_concordance
        Of that.
    univariable
        Each variable alone.
    with_each, with_each_continuous
        PD-L1ES (groups by X-tile; as a number) with each clinical variable.
    multivariable, multivariable_hazards
        PD-L1ES as a number with all four.
    clinical_variables
        Curves by each.
    clinical, fusion
        The clinical and the fusion Cox model.
    fusion_against_clinical, fusion_against_signature
        C-indices on the same patients; the models were fitted on them.
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
    continuous: CoxModel | NotEstimable
    continuous_hazards: ProportionalHazards | NotEstimable
    continuous_concordance: Concordance | NotEstimable
    univariable: dict[str, CoxTerm | NotEstimable]
    with_each: dict[str, CoxModel | NotEstimable]
    with_each_continuous: dict[str, CoxModel | NotEstimable]
    multivariable: CoxModel | NotEstimable
    multivariable_hazards: ProportionalHazards | NotEstimable
    clinical_variables: dict[str, ClinicalGrouping]
    clinical: RiskModelResult | NotEstimable
    fusion: RiskModelResult | NotEstimable
    fusion_against_clinical: ConcordanceComparison | NotEstimable
    fusion_against_signature: ConcordanceComparison | NotEstimable
    settings: PrognosisSettings


def followed_cohort(cases: pd.DataFrame, score: NDArray[np.float64], imputed: NDArray[np.float64]) -> FollowedCohort:
    """Take the patients with follow-up from a prepared cohort.

    Parameters
    ----------
    cases
        ``cases.parquet``, N rows; where a row's split is 'prognosis' those rows, else all rows with follow-up.
    score
        PD-L1ES, float64, shape (N,), NaN where a patient was not scored.
    imputed
        float64, shape (N, 4): the clinical variables as the model imputes them.

    Raises
    ------
    ValueError
        No patient has both follow-up and a score.
    """
    time = cases["pfs_days"].to_numpy(dtype=np.float64, na_value=np.nan)
    event = cases["progressed"].to_numpy(dtype=np.float64, na_value=np.nan)
    split = cases["split"].astype(object).to_numpy() if "split" in cases else np.full(len(cases), None, dtype=object)
    cohort = split == "prognosis" if (split == "prognosis").any() else np.isfinite(time)
    followed = cohort & np.isfinite(time) & np.isfinite(event)
    kept = followed & np.isfinite(score)
    if not kept.any():
        raise ValueError("no patient has both follow-up and a score")
    treatment = [None if pd.isna(value) or not str(value) else str(value) for value in cases["treatment"]]
    return FollowedCohort(
        time=time[kept],
        event=event[kept],
        score=score[kept],
        clinical=imputed[kept],
        known=~np.isnan(cases[list(VARIABLES)].to_numpy(dtype=np.float64, na_value=np.nan)[kept]),
        treatment=tuple(treatment[k] for k in np.flatnonzero(kept)),
        expression=cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)[kept],
        left_out={
            "without follow-up": int((cohort & ~followed).sum()),
            "without a score": int((followed & ~kept).sum()),
        },
    )


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
        Patients with follow-up and a score.
    settings
        By default `PrognosisSettings`.
    model_cut_off
        Of an exported model whose groups shall be tested on other patients (external validation).
    progress
        Called as the permutations go.
    """
    settings = settings or PrognosisSettings()
    time, event, score = cohort.time, cohort.event, cohort.score
    clinical = {name: cohort.clinical[:, k] for k, name in enumerate(VARIABLES)}
    search_options: dict[str, Any] = {
        "smallest_share": settings.smallest_share,
        "n_permutations": settings.permutations,
        "seed": settings.seed,
    }

    def told(step: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, of: progress(step, done, of)

    search = estimated(search_cut_off, time, event, score, **search_options, progress=told("cut-off on PD-L1ES"))
    groupings: dict[str, Grouping] = {}
    if isinstance(search, CutOffSearch):
        groupings["X-tile"] = _grouping(cohort, score, search.cut_off, "X-tile on these patients")
    groupings["median"] = _grouping(cohort, score, float(np.median(score)), "median of these patients")
    groupings["paper"] = _grouping(cohort, score, PAPERS_CUT_OFF, "the paper's, of the paper's model")
    if model_cut_off is not None:
        groupings["model"] = _grouping(cohort, score, model_cut_off, "the exported model's, from other patients")
    clinical_fit = estimated(
        fit_risk_model, time, event, clinical, **search_options, progress=told("cut-off on the clinical model")
    )
    fusion_fit: RiskModel | NotEstimable
    if isinstance(clinical_fit, RiskModel):
        fusion_fit = estimated(
            fit_fusion_model,
            time,
            event,
            score,
            clinical_fit,
            **search_options,
            progress=told("cut-off on the fusion model"),
        )
    else:
        fusion_fit = NotEstimable(f"there is no clinical model: {clinical_fit.reason}")
    alone: dict[str, CoxTerm | NotEstimable] = {}
    for name, column in {SIGNATURE: score, **clinical}.items():
        terms = estimated(univariable, time, event, {name: column})
        alone[name] = terms if isinstance(terms, NotEstimable) else terms[name]
    upper = None if isinstance(search, NotEstimable) else score > search.cut_off
    return Prognosis(
        n=time.size,
        n_events=int(event.sum()),
        left_out=cohort.left_out,
        follow_up=estimated(median_follow_up, time, event),
        search=search,
        held_out=estimated(held_out_cut_off, time, event, score, **search_options),
        groupings=groupings,
        expression=_by_expression(cohort),
        continuous=estimated(cox, time, event, {SIGNATURE: score}),
        continuous_hazards=estimated(proportional_hazards, time, event, {SIGNATURE: score}),
        continuous_concordance=estimated(concordance, time, event, score),
        univariable=alone,
        with_each={
            name: NotEstimable("there is no cut-off")
            if upper is None
            else _with(time, event, upper.astype(np.float64), name, column)
            for name, column in clinical.items()
        },
        with_each_continuous={name: _with(time, event, score, name, column) for name, column in clinical.items()},
        multivariable=estimated(cox, time, event, {SIGNATURE: score, **clinical}),
        multivariable_hazards=estimated(proportional_hazards, time, event, {SIGNATURE: score, **clinical}),
        clinical_variables={
            name: _by_variable(cohort, k, name, settings, told("cut-off on age")) for k, name in enumerate(VARIABLES)
        },
        clinical=_risk_result(cohort, clinical_fit),
        fusion=_risk_result(cohort, fusion_fit),
        fusion_against_clinical=_compared(cohort, fusion_fit, clinical_fit),
        fusion_against_signature=_compared(cohort, fusion_fit, score),
        settings=settings,
    )


def _with(
    time: NDArray[np.float64],
    event: NDArray[np.float64],
    signature: NDArray[np.float64],
    name: str,
    column: NDArray[np.float64],
) -> CoxModel | NotEstimable:
    models = estimated(signature_with_each, time, event, signature, {name: column})
    return models if isinstance(models, NotEstimable) else models[name]


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
    part = FollowedCohort(
        time=cohort.time[known],
        event=cohort.event[known],
        score=cohort.score[known],
        clinical=cohort.clinical[known],
        known=cohort.known[known],
        treatment=tuple(cohort.treatment[k] for k in np.flatnonzero(known)),
        expression=cohort.expression[known],
    )
    return _grouping(part, part.expression, 0.5, f"measured PD-L1 (high or low), known of {int(known.sum())} patients")


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
        levels = estimated(log_rank, time, event, [_LEVELS[name].get(float(v), f"{v:g}") for v in values])
    return ClinicalGrouping(
        int(known.sum()), *names, found, levels, estimated(compare_groups, time, event, upper), search
    )


def _risk_result(cohort: FollowedCohort, fit: RiskModel | NotEstimable) -> RiskModelResult | NotEstimable:
    if isinstance(fit, NotEstimable):
        return fit
    return RiskModelResult(fit, _by_treatment(cohort, fit.risk > fit.search.cut_off))


def _compared(
    cohort: FollowedCohort, fusion: RiskModel | NotEstimable, other: RiskModel | NotEstimable | NDArray[np.float64]
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
