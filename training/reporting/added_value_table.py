"""What a score adds to the clinical variables, as a table."""

from __future__ import annotations

from training.reporting.tables import Table
from training.statistics.added_value import AddedValue
from training.statistics.estimability import NotEstimable
from training.statistics.resampling import OptimismBootstrap
from training.statistics.wording import interval, number, p_value, said


def added_value_table(found: AddedValue | NotEstimable, measure: str, name: str) -> Table | str:
    """Put what a score adds into a table, or say why there is none.

    Parameters
    ----------
    found
        Clinical variables alone, and with the score.
    measure
        Of discrimination: ``auc`` or ``c_index``.
    name
        Its name on the page.

    Returns
    -------
    Table or str
    """
    if isinstance(found, NotEstimable):
        return said(found, str)
    return Table.of(("", "Found"), added_value_rows(found, measure, name))


def added_value_rows(found: AddedValue, measure: str, name: str) -> list[tuple[str, str]]:
    """Return the table's rows.

    Parameters
    ----------
    found, measure, name
        As of `added_value_table`.

    Returns
    -------
    list of tuple of str
    """

    def corrected(model: OptimismBootstrap) -> str:
        area, slope = model.measures[measure], model.measures["slope"]
        failed = f"; {model.n_failed} of {model.n_resamples} resamples left out" if model.n_failed else ""
        return (
            f"{interval(area.corrected)}; apparent {number(area.apparent)}, optimism {number(area.optimism, 3)}; "
            f"slope {number(slope.corrected.value)}{failed}"
        )

    test = found.likelihood_ratio
    return [
        ("patients; with the event", f"{found.n}; {found.n_events}"),
        ("PD-L1ES added, likelihood ratio", f"{test.statistic:.2f}, {p_value(test.p_value)}"),
        (
            "PD-L1ES alone shuffled",
            f"{p_value(found.permutation_p)} ({found.n_permutations} shuffles)",
        ),
        (
            "share of the information that the clinical variables have",
            f"{100 * found.share_of_information:.0f} %" if found.share_of_information >= 0 else number(float("nan")),
        ),
        (f"{name} of the clinical variables, corrected for optimism", said(found.clinical, corrected)),
        (f"{name} with PD-L1ES, corrected for optimism", said(found.both, corrected)),
    ]
