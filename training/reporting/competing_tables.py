"""The page's section on competing risks: progression, and death before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.progression.analyse import NO_SCORE
from training.progression.competing import CompetingRisks
from training.progression.results import Prognosis
from training.reporting.tables import Table, without_rows
from training.statistics.competing_risks import CompetingComparison, CumulativeIncidence
from training.statistics.cox_model import CoxTerm
from training.statistics.estimability import NotEstimable
from training.statistics.fine_gray import SubdistributionModel
from training.statistics.prognosis import SIGNATURE
from training.statistics.wording import interval, number, p_value, said

EXPRESSION: Final = "expression"
_HOW: Final = (
    "Incidences are Aalen and Johansen's: one less a Kaplan-Meier curve of progression would count patients who died as if they "
    "could still progress. The cause-specific hazard ratio (Cox, the other event censored) compares rates among those still free of "
    "both; the ratio of the subdistribution (Fine and Gray) says which group's incidence is higher. A group can have both a higher "
    "rate of progression and a lower incidence of it, where its patients die first. A cut-off that was searched on these patients "
    "flatters both ratios."
)


@dataclass(frozen=True, slots=True)
class CompetingTables:
    """The section.

    Attributes
    ----------
    notes
        Sentences, or the reason why there is no table.
    groups, models
        A row per grouping and event, and per variable of each model; None where there is no result.
    """

    notes: str
    groups: Table | None = None
    models: Table | None = None


def competing_tables(prognosis: Prognosis) -> CompetingTables:
    """Put competing risks into tables."""
    found = prognosis.competing
    if isinstance(found, NotEstimable):
        return CompetingTables(
            f"Not analysed: {found.reason}. Progression-free survival above counts death without progression as progression."
        )
    counts = f"Of {found.n} patients {found.n_progressed} progressed first and {found.n_died} died without progression."
    return CompetingTables(f"{counts} {_HOW}", _groups(prognosis, found), without_rows(_models(found), NO_SCORE))


def _groups(prognosis: Prognosis, found: CompetingRisks) -> Table:
    head = (
        "Groups",
        "Event",
        "Events, upper / lower",
        *(f"Incidence by day {at:g}, upper / lower (95 % CI)" for at in found.horizons),
        "Cause-specific hazard ratio (95 % CI)",
        "Subdistribution hazard ratio (95 % CI)",
    )
    rows: list[Sequence[str]] = []
    for name, events in found.groupings.items():
        for k, (event, groups) in enumerate(events.items()):
            rows.append((_title(prognosis, name) if k == 0 else "", event, *_cells(groups, found.horizons)))
    return Table.of(head, rows)


def _title(prognosis: Prognosis, name: str) -> str:
    if name == EXPRESSION:
        return "Measured PD-L1, high against low"
    grouping = prognosis.groupings[name]
    return f"PD-L1ES above {number(grouping.cut_off)}, {grouping.source}"


def _cells(groups: CompetingComparison | NotEstimable, horizons: tuple[float, ...]) -> tuple[str, ...]:
    if isinstance(groups, NotEstimable):
        return (said(groups, str), *[""] * (len(horizons) + 2))
    return (
        f"{groups.upper.n_events} / {groups.lower.n_events}",
        *(f"{_incidence(groups.upper, at)} / {_incidence(groups.lower, at)}" for at in horizons),
        said(groups.cause_specific, lambda model: _ratio(model.terms[0])),
        said(groups.subdistribution, lambda model: _ratio(model.terms[0])),
    )


def _incidence(curve: CumulativeIncidence, at: float) -> str:
    return interval(curve.at(at)) if at <= curve.followed_until else "not followed so long"


def _models(found: CompetingRisks) -> Table:
    rows: list[Sequence[str]] = []
    for title, model in (("alone", found.score), ("with the clinical variables", found.multivariable)):
        rows += _model_rows(title, model)
    head = ("Fine and Gray's model of progression", "Variable", "Coefficient", "Subdistribution hazard ratio (95 % CI)")
    return Table.of(head, rows)


def _model_rows(title: str, model: SubdistributionModel | NotEstimable) -> list[Sequence[str]]:
    if isinstance(model, NotEstimable):
        return [(title, "", "", said(model, str))]
    return [
        (
            title if k == 0 else "",
            "PD-L1ES" if term.name == SIGNATURE else term.name.replace("_", " "),
            number(term.coefficient, 4),
            _ratio(term),
        )
        for k, term in enumerate(model.terms)
    ]


def _ratio(term: CoxTerm) -> str:
    return f"{interval(term.hazard_ratio)}, {p_value(term.p_value)}"
