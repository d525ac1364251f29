"""The page's tables of what a synthetic cohort's known truth says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.known_truth.gates import Gate
from training.known_truth.shortfall import FACTOR_OF, Shortfall
from training.reporting.tables import Table
from training.statistics.estimability import NotEstimable
from training.statistics.wording import interval, number, said


@dataclass(frozen=True, slots=True)
class ShortfallTables:
    """Where the attainable area is lost: areas, correlations, and sentences on what is not estimable."""

    areas: Table
    correlations: Table
    missing: Sequence[str]


def gate_table(gates: Sequence[Gate]) -> Table:
    """Put claims into a table."""
    holds = {True: "holds", False: "does not hold", None: "not tested"}
    return Table.of(("Claim", "Found", ""), ((gate.claim, gate.found, holds[gate.holds]) for gate in gates))


def shortfall_tables(shortfalls: Mapping[str, Shortfall | NotEstimable]) -> ShortfallTables:
    """Put shortfalls by cohort into tables."""
    found = {name: one for name, one in shortfalls.items() if isinstance(one, Shortfall)}
    areas = [
        (
            name,
            str(one.n),
            interval(one.as_added),
            interval(one.best_added),
            *(interval(area) for area in one.knowing.values()),
            interval(one.bayes),
        )
        for name, one in found.items()
    ]
    correlations = [
        (name, part, *(number(value) for value in by_factor.values()))
        for name, one in found.items()
        for part, by_factor in one.correlation.items()
    ]
    factors = tuple(FACTOR_OF.values())
    head = ("Cohort", "n", "AUC as it is", "Best added", *(f"Knowing the {factor}" for factor in factors), "Bayes")
    return ShortfallTables(
        Table.of(head, areas),
        Table.of(("Cohort", "Part", *factors), correlations),
        [f"{name}: {said(one, str)}" for name, one in shortfalls.items() if name not in found],
    )
