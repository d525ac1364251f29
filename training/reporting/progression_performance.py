"""The page's tables of progression at fixed times, of what the score adds, and of restricted means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.progression.analyse import NO_SCORE
from training.progression.performance import ProgressionPerformance, RiskPerformance
from training.progression.results import Grouping, Prognosis
from training.reporting.added_value_table import added_value_table
from training.reporting.tables import Table, without_rows
from training.statistics.arrays import Estimate
from training.statistics.decision_at_time import DecisionAtTime
from training.statistics.estimability import NotEstimable
from training.statistics.multiple_imputation import PooledCox
from training.statistics.prognosis import SIGNATURE, GroupComparison
from training.statistics.restricted_mean import RestrictedMeanComparison
from training.statistics.sample_size import DevelopmentSize
from training.statistics.wording import interval, number, p_value, said

_SHOWN_THRESHOLDS: Final = (0.2, 0.4, 0.6, 0.8)
_PROPORTIONAL: Final = 0.05


@dataclass(frozen=True, slots=True)
class ProgressionPerformanceTables:
    """The page's section.

    Attributes
    ----------
    horizons
        Days, in words.
    models
        A row per model and horizon.
    added
        What the score adds, a table or the reason why there is none.
    sample_size
        A sentence.
    groups, decision, restricted_means, imputed
        Tables that the page folds; a sentence where there is none.
    """

    horizons: str
    models: Table
    added: Table | str
    sample_size: str
    groups: Table
    decision: Table
    restricted_means: Table | str
    imputed: Table | str


def performance_tables(prognosis: Prognosis) -> ProgressionPerformanceTables:
    """Put performance at fixed times into tables."""
    found = prognosis.performance
    return ProgressionPerformanceTables(
        horizons=" and ".join(f"{at:g}" for at in found.horizons),
        models=without_rows(_models(found), NO_SCORE),
        added=added_value_table(found.added, "c_index", "C-index"),
        sample_size=said(found.sample_size, lambda size: _needed(size, prognosis.n, found.horizons[-1])),
        groups=_groups(found),
        decision=_decision(found),
        restricted_means=_restricted_means(prognosis),
        imputed=_imputed(found.imputed),
    )


def _models(found: ProgressionPerformance) -> Table:
    head = (
        "Model, cross-fitted",
        "Days",
        "Uno's C-index (95 % CI)",
        "AUC at the time (95 % CI)",
        "Brier (95 % CI); scaled",
        "Observed / expected (95 % CI)",
        "Calibration slope (95 % CI)",
    )
    rows: list[Sequence[str]] = []
    for name, model in found.models.items():
        if isinstance(model, NotEstimable):
            rows.append((name, "", said(model, str), *[""] * 4))
            continue
        for k, (at, measured) in enumerate(model.at.items()):
            calibration = measured.calibration
            rows.append(
                (
                    name if k == 0 else "",
                    at,
                    said(model.concordance, lambda c: interval(c.c_index)) if k == len(model.at) - 1 else "",
                    said(measured.area, lambda a: interval(a.area)),
                    said(measured.brier, lambda b: f"{interval(b.brier, 3)}; {number(b.scaled)}"),
                    said(calibration, lambda c: interval(c.observed_to_expected)),
                    said(calibration, lambda c: said(c.slope, interval)),
                )
            )
    return Table.of(head, rows)


def _groups(found: ProgressionPerformance) -> Table:
    rows: list[Sequence[str]] = []
    for name, model in found.models.items():
        if isinstance(model, RiskPerformance):
            for at, measured in model.at.items():
                if not isinstance(measured.calibration, NotEstimable):
                    rows += [
                        (name, at, str(group.n), number(group.mean_risk), interval(group.observed))
                        for group in measured.calibration.groups
                    ]
    return Table.of(("Model, cross-fitted", "Days", "n", "Mean risk", "Progressed, Kaplan-Meier (95 % CI)"), rows)


def _decision(found: ProgressionPerformance) -> Table:
    head = ("Days", "Acting on", *(f"above {threshold:.0%}" for threshold in _SHOWN_THRESHOLDS))
    rows: list[Sequence[str]] = []
    for at, curves in found.decision.items():
        if not isinstance(curves, DecisionAtTime):
            rows.append((at, said(curves, str), *[""] * len(_SHOWN_THRESHOLDS)))
            continue
        places = [int(abs(curves.thresholds - threshold).argmin()) for threshold in _SHOWN_THRESHOLDS]
        rows += [(at, curve.name, *(interval(curve.at(place)) for place in places)) for curve in curves.curves]
    return Table.of(head, rows)


def _restricted_means(prognosis: Prognosis) -> Table | str:
    rows: list[Sequence[str]] = []
    for name, grouping in prognosis.groupings.items():
        means = prognosis.restricted_means.get(name, NotEstimable("there are no groups"))
        rows.append((f"PD-L1ES above {number(grouping.cut_off)}, {grouping.source}", *_means(means), _check(grouping)))
    if not rows:
        return "No model has scored these patients."
    head = ("Groups", "Days up to", "Upper", "Lower", "Difference (95 % CI)", "P", "Proportional hazards")
    return Table.of(head, rows)


def _means(found: RestrictedMeanComparison | NotEstimable) -> tuple[str, ...]:
    if isinstance(found, NotEstimable):
        return ("", said(found, str), "", "", "")
    return (
        f"{found.until:.0f}",
        interval(found.upper.mean, 0),
        interval(found.lower.mean, 0),
        _signed(found.difference),
        p_value(found.p_value),
    )


def _check(grouping: Grouping) -> str:
    if not isinstance(grouping.groups, GroupComparison):
        return ""
    return said(
        grouping.groups.proportional_hazards,
        lambda test: (
            p_value(test.overall.p_value)
            + (": read the restricted means" if test.overall.p_value < _PROPORTIONAL else "")
        ),
    )


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.0f} ({number(estimate.lower, 0)} to {number(estimate.upper, 0)})"


def _imputed(found: PooledCox | NotEstimable) -> Table | str:
    if isinstance(found, NotEstimable):
        return said(found, str)
    rows = [
        (
            "PD-L1ES" if term.name == SIGNATURE else term.name.replace("_", " "),
            number(term.coefficient, 4),
            f"{interval(term.hazard_ratio)}, {p_value(term.p_value)}",
            f"{100 * term.missing_information:.0f} %",
        )
        for term in found.terms
    ]
    return Table.of(("Variable", "Coefficient", "Hazard ratio (95 % CI), P", "Variance by what is missing"), rows)


def _needed(size: DevelopmentSize, patients: int, at: float) -> str:
    enough = "these are enough" if patients >= size.n else f"these are {patients}"
    return (
        f"A Cox model of {size.parameters} parameters that explains what this one seems to (Cox and Snell's R2 "
        f"{size.cox_snell_r2:.3f} after chance is taken off) needs {size.n} patients, {size.events:.0f} of them with the "
        f"event, to lose at most 10 % of it on other patients and to be no more than 0.05 too optimistic in Nagelkerke's "
        f"R2; {enough}. Risk at {at:g} days, by an exponential model: {size.risk[0]:.0%}."
        if size.risk is not None
        else ""
    )
