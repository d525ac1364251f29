"""Statements on a model's performance for its card: each number with its interval, patients and cohort."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from training.expression.results import EXTERNAL, GATE, TEST, CohortEvaluation, Evaluation
from training.known_truth.gates import Gate
from training.progression.results import Prognosis
from training.scoring.predictions import BAYES, SIGNATURE
from training.statistics.arrays import Estimate
from training.statistics.classification import Classification, Proportion
from training.statistics.discrimination import Auc
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import GroupComparison
from training.statistics.wording import number, p_value
from training.statistics.xtile import CutOffSearch

IMMUNOTHERAPY: Final = "Immunotherapy"
NOT_FINITE: Final = "the patients hold no finite estimate"
NO_CUT_OFF: Final = NotEstimable("there is no cut-off")
Kind = Literal["estimate", "P"]
Stated = Estimate | Auc | Proportion | float | NotEstimable | None
Result = TypeVar("Result")
Chosen = TypeVar("Chosen")


class Statement(BaseModel):
    """One number.

    Attributes
    ----------
    what
        In words.
    kind
        A P value has no interval.
    value
        None where it is not estimable.
    limits
        Lower and upper limit (95 %), or None.
    patients, events
        Of whom; an event is high expression, or progression in the immunotherapy cohort.
    cohort
        As the report names it.
    reason
        Why there is no value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    what: str
    kind: Kind = "estimate"
    value: float | None
    limits: tuple[float, float] | None = None
    patients: int
    events: int
    cohort: str
    reason: str | None = None

    def words(self) -> str:
        """Return the value as a reader sees it."""
        if self.value is None:
            return f"not estimable: {self.reason}"
        if self.kind == "P":
            return p_value(self.value)
        within = "" if self.limits is None else f" ({number(self.limits[0])} to {number(self.limits[1])})"
        return number(self.value) + within


class Performance(BaseModel):
    """All statements of the analyses about a model, on patients that it was not fitted on.

    Attributes
    ----------
    statements
        In the order of the card.
    gates
        Of a synthetic cohort: what its known truth says of the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    statements: tuple[Statement, ...] = ()
    gates: tuple[Gate, ...] = ()

    @property
    def not_holding(self) -> tuple[Gate, ...]:
        """The claims on the known truth that do not hold."""
        return tuple(gate for gate in self.gates if gate.holds is False)


def performance_of(
    evaluation: Evaluation | None, prognosis: Prognosis | None, gates: Sequence[Gate] = ()
) -> Performance:
    """Collect the statements of both analyses, in each cohort that no network was trained or chosen on.

    Parameters
    ----------
    evaluation, prognosis
        Results on the same patients' scores; None where an analysis was not run.
    gates
        Of a synthetic cohort.

    Returns
    -------
    Performance
    """
    statements: list[Statement] = []
    if evaluation is not None:
        for name in (TEST, GATE, EXTERNAL):
            if name in evaluation.cohorts:
                statements += _expression(name, evaluation.cohorts[name])
    if prognosis is not None:
        statements += _progression(prognosis)
    return Performance(statements=tuple(statements), gates=tuple(gates))


@dataclass(frozen=True, slots=True)
class _Cohort:
    name: str
    patients: int
    events: int

    def states(self, what: str, found: Stated, kind: Kind = "estimate") -> Statement:
        value, limits, reason = None, None, NOT_FINITE
        if isinstance(found, NotEstimable):
            reason = found.reason
        elif isinstance(found, float):
            value = found
        elif found is not None:
            value, limits = found.value, (found.lower, found.upper)
        if value is not None and not math.isfinite(value):
            value = None
        if value is None or limits is None or not all(map(math.isfinite, limits)):
            limits = None
        return Statement(
            what=what,
            kind=kind,
            value=value,
            limits=limits,
            patients=self.patients,
            events=self.events,
            cohort=self.name,
            reason=reason if value is None else None,
        )


def _expression(name: str, found: CohortEvaluation) -> list[Statement]:
    model, classified = found.models[SIGNATURE], found.classification
    cohort = _Cohort(name, found.n, found.n_positive)
    at = ""
    if isinstance(classified, Classification):
        positive = classified.true_positive + classified.false_negative
        cohort = _Cohort(name, positive + classified.true_negative + classified.false_positive, positive)
        at = f" at {classified.cut_off:.3g}"
    statements = []
    if BAYES in found.models:
        statements.append(cohort.states("AUC of the score that knows the truth (Bayes)", found.models[BAYES].auc))
    return [
        *statements,
        cohort.states(f"sensitivity{at}", _of(classified, lambda c: c.sensitivity)),
        cohort.states(f"specificity{at}", _of(classified, lambda c: c.specificity)),
        cohort.states(f"positive predictive value{at}", _of(classified, lambda c: c.positive_predictive_value)),
        cohort.states(f"negative predictive value{at}", _of(classified, lambda c: c.negative_predictive_value)),
        cohort.states("calibration slope (1 is right)", _of(model.calibration, lambda c: c.slope)),
        cohort.states(
            "calibration intercept with the slope at 1 (0 is right)", _of(model.calibration, lambda c: c.in_the_large)
        ),
        cohort.states("Brier score", _of(model.calibration, lambda c: c.brier)),
    ]


def _progression(prognosis: Prognosis) -> list[Statement]:
    cohort = _Cohort(IMMUNOTHERAPY, prognosis.n, prognosis.n_events)
    grouping = prognosis.groupings.get("X-tile")
    groups = NO_CUT_OFF if grouping is None else grouping.groups
    statements = [
        *_groups(cohort, "PD-L1ES", groups, prognosis.search),
        cohort.states("PD-L1ES: C-index of the groups", _of(groups, _concordance)),
        cohort.states("PD-L1ES: C-index of the score", _of(prognosis.continuous_concordance, lambda c: c.c_index)),
    ]
    for name, result in (("clinical Cox model", prognosis.clinical), ("fusion Cox model", prognosis.fusion)):
        fit = _of(result, lambda r: r.fit)
        statements += [
            *_groups(cohort, name, _of(fit, lambda f: f.groups), _of(fit, lambda f: f.search)),
            cohort.states(f"{name}: C-index of its linear predictor", _of(fit, lambda f: f.concordance.c_index)),
        ]
    return statements


def _groups(
    cohort: _Cohort, model: str, groups: GroupComparison | NotEstimable, search: CutOffSearch | NotEstimable
) -> list[Statement]:
    above = f" above {search.cut_off:.3g}" if isinstance(search, CutOffSearch) else ""
    return [
        cohort.states(f"{model}: hazard ratio{above}", _of(groups, lambda g: g.hazard_ratio)),
        cohort.states(f"{model}: log-rank test, the search for the cut-off ignored", _of(groups, _log_rank), "P"),
        cohort.states(f"{model}: log-rank test after the search", _of(search, lambda s: s.p_permutation), "P"),
    ]


def _concordance(groups: GroupComparison) -> Estimate | NotEstimable:
    return _of(groups.concordance, lambda found: found.c_index)


def _log_rank(groups: GroupComparison) -> float | NotEstimable:
    return _of(groups.log_rank, lambda found: found.test.p_value)


def _of(found: Result | NotEstimable, choose: Callable[[Result], Chosen]) -> Chosen | NotEstimable:
    return found if isinstance(found, NotEstimable) else choose(found)
