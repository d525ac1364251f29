"""The paper's prognostic analyses: groups, treatments, clinical variables, the clinical and the fusion Cox model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from training.progress import Count
from training.statistics.arrays import Estimate, Test, binary_vector, finite_vector, follow_up
from training.statistics.concordance import Concordance, concordance
from training.statistics.cox import cox
from training.statistics.cox_model import CoxModel
from training.statistics.cox_refit import CoxRefit
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.hazards_check import ProportionalHazards, hazards_of
from training.statistics.survival import KaplanMeier, LogRank, kaplan_meier, log_rank
from training.statistics.xtile import CutOffSearch, search_cut_off

SIGNATURE = "pdl1es"
CLINICAL_RISK = "clinical_risk"


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Two groups of patients, upper against lower.

    Attributes
    ----------
    lower, upper
        Their Kaplan-Meier curves, with medians.
    log_rank
        Not estimable where nobody had an event.
    model
        Univariable Cox model of the group; not estimable where it has no finite hazard ratio (a group without events).
    concordance
        C-index of the group as a score; not estimable where no pair can be compared.
    proportional_hazards
        Of the model; not estimable where there is none, or where events at too few times compare the groups.
    """

    lower: KaplanMeier
    upper: KaplanMeier
    log_rank: LogRank | NotEstimable
    model: CoxModel | NotEstimable
    concordance: Concordance | NotEstimable
    proportional_hazards: ProportionalHazards | NotEstimable

    @property
    def hazard_ratio(self) -> Estimate | NotEstimable:
        """Of the upper group, with Wald's interval."""
        return self.model if isinstance(self.model, NotEstimable) else self.model.terms[0].hazard_ratio


@dataclass(frozen=True, slots=True)
class SubgroupComparison:
    """The same comparison within each subgroup, and whether it differs between them.

    Attributes
    ----------
    groups
        By subgroup, in order of name; None where a subgroup has all its patients on one side.
    unknown
        Patients without a subgroup, left out.
    interaction
        Likelihood ratio test of group x subgroup: two P values on either side of 0.05 do not show that effects differ.
        None where a model has no finite estimate.
    """

    groups: dict[str, GroupComparison | None]
    unknown: int
    interaction: Test | None


@dataclass(frozen=True, slots=True)
class RiskModel:
    """A Cox model with a cut-off on its linear predictor, centred at the cohort's means.

    Attributes
    ----------
    model
        The fit; ``model.centre`` and ``model.coefficients`` give the linear predictor of a new patient.
    risk
        float64, shape (N,): the cohort's linear predictors.
    search
        How the cut-off was found (X-tile) and what the search costs.
    groups
        Patients above against those at or below the cut-off. Model and cut-off were fitted to split them, so the P
        values in it are too small; the one corrected for both is ``search.p_permutation``.
    concordance
        Of the linear predictor, on the cohort that fitted it.
    proportional_hazards
        Of the model; not estimable where events at too few times compare the patients.
    """

    model: CoxModel
    risk: NDArray[np.float64]
    search: CutOffSearch
    groups: GroupComparison
    concordance: Concordance
    proportional_hazards: ProportionalHazards | NotEstimable


def compare_groups(time: ArrayLike, event: ArrayLike, upper: ArrayLike) -> GroupComparison:
    """Compare two groups by curves, log-rank and univariable Cox model (paper, Figure 3).

    Parameters
    ----------
    time, event
        Shape (N,).
    upper
        Shape (N,): 1 for the upper group.

    Returns
    -------
    GroupComparison

    Raises
    ------
    ValueError
        NaN, columns of different length, or all patients on one side.
    """
    times, events = follow_up(time, event)
    above = binary_vector(upper, "upper", times.size)
    if above.all() or not above.any():
        raise ValueError(f"all {times.size} patients are in the {'upper' if above.all() else 'lower'} group")
    model = estimated(cox, times, events, {"upper": above})
    return GroupComparison(
        lower=kaplan_meier(times[~above], events[~above]),
        upper=kaplan_meier(times[above], events[above]),
        log_rank=estimated(log_rank, times, events, above),
        model=model,
        concordance=estimated(concordance, times, events, above),
        proportional_hazards=hazards_of(times, events, {"upper": above}, model),
    )


def compare_in_subgroups(
    time: ArrayLike, event: ArrayLike, upper: ArrayLike, subgroup: Sequence[str | None]
) -> SubgroupComparison:
    """Compare two groups within each subgroup (paper: by treatment); None is unknown.

    Parameters
    ----------
    time, event
        Shape (N,).
    upper
        Shape (N,): 1 for the upper group.
    subgroup
        One name per patient; None where it is not known.

    Returns
    -------
    SubgroupComparison

    Raises
    ------
    ValueError
        NaN, or columns of different length.
    """
    times, events = follow_up(time, event)
    above = binary_vector(upper, "upper", times.size)
    if len(subgroup) != times.size:
        raise ValueError(f"subgroup has {len(subgroup)} values where the other columns have {times.size}")
    known = np.array([name is not None for name in subgroup])
    names = np.array(["" if name is None else name for name in subgroup], dtype=object)
    groups: dict[str, GroupComparison | None] = {}
    for name in sorted(set(names[known])):
        member = known & (names == name)
        split = 0 < above[member].sum() < member.sum()
        groups[name] = compare_groups(times[member], events[member], above[member]) if split else None
    interaction = _interaction(times[known], events[known], above[known], names[known], list(groups))
    return SubgroupComparison(groups, int((~known).sum()), interaction)


def fit_risk_model(
    time: ArrayLike,
    event: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    *,
    smallest_share: float = 0.1,
    n_permutations: int = 2000,
    seed: int = 0,
    progress: Count | None = None,
) -> RiskModel:
    """Fit a Cox model and cut its linear predictor by X-tile (paper: the clinical model, cut-off 0.05).

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Columns of shape (N,) by name.
    smallest_share, n_permutations, seed, progress
        As of `xtile.search_cut_off`; the model is fitted anew on each shuffle.

    Returns
    -------
    RiskModel

    Raises
    ------
    ValueError
        As `cox.cox` and `xtile.search_cut_off`.
    """
    times, events = follow_up(time, event)
    model = cox(times, events, covariates)
    fit = CoxRefit(times, events)
    columns = np.column_stack([finite_vector(values, name) for name, values in covariates.items()])
    return _cut(
        times,
        events,
        covariates,
        model,
        lambda shuffle: fit.linear_predictor(columns[shuffle]),
        smallest_share=smallest_share,
        n_permutations=n_permutations,
        seed=seed,
        progress=progress,
    )


def _cut(
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    covariates: Mapping[str, ArrayLike],
    model: CoxModel,
    refit: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    **options: Any,
) -> RiskModel:
    risk = model.linear_predictor(covariates)
    search = search_cut_off(times, events, risk, refit=refit, **options)
    return RiskModel(
        model=model,
        risk=risk,
        search=search,
        groups=compare_groups(times, events, risk > search.cut_off),
        concordance=concordance(times, events, risk),
        proportional_hazards=hazards_of(times, events, covariates, model),
    )


def fit_fusion_model(
    time: ArrayLike,
    event: ArrayLike,
    signature: ArrayLike,
    clinical: RiskModel,
    covariates: Mapping[str, ArrayLike],
    *,
    smallest_share: float = 0.1,
    n_permutations: int = 2000,
    seed: int = 0,
    progress: Count | None = None,
) -> RiskModel:
    """Fit PD-L1ES (continuous) and the clinical model's linear predictor together (paper: cut-off 1.78).

    The clinical predictor was fitted on the same patients, so its P here ignores that and is too small, as the paper's is.
    On each shuffle of `xtile.search_cut_off` both models are fitted anew.

    Parameters
    ----------
    time, event, signature
        Shape (N,).
    clinical
        The clinical model of these patients.
    covariates
        What it was fitted on.
    smallest_share, n_permutations, seed, progress
        As of `xtile.search_cut_off`.

    Returns
    -------
    RiskModel

    Raises
    ------
    ValueError
        As `fit_risk_model`.
    """
    times, events = follow_up(time, event)
    values = finite_vector(signature, "signature", clinical.risk.size)
    columns = np.column_stack([finite_vector(covariates[name], name, values.size) for name in clinical.model.names])
    fit = CoxRefit(times, events)

    def refit(shuffle: NDArray[np.int64]) -> NDArray[np.float64]:
        return fit.linear_predictor(np.column_stack([values[shuffle], fit.linear_predictor(columns[shuffle])]))

    both = {SIGNATURE: values, CLINICAL_RISK: clinical.risk}
    return _cut(
        times,
        events,
        both,
        cox(times, events, both),
        refit,
        smallest_share=smallest_share,
        n_permutations=n_permutations,
        seed=seed,
        progress=progress,
    )


def _interaction(
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    above: NDArray[np.bool_],
    subgroup: NDArray[np.object_],
    names: Sequence[str],
) -> Test | None:
    """Compare the model with a group effect per subgroup with the one that has a common effect."""
    if len(names) < 2 or not events.any():
        return None
    dummies = {f"subgroup {name}": (subgroup == name).astype(float) for name in names[1:]}
    products = {f"{name} x upper": column * above for name, column in dummies.items()}
    common = {"upper": above.astype(float), **dummies}
    try:
        gain = cox(times, events, {**common, **products}).log_likelihood - cox(times, events, common).log_likelihood
    except ValueError:
        return None
    return Test(2 * gain, len(products), float(chi2.sf(2 * gain, len(products))))
