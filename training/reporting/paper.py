"""The paper's values beside the cohort's (Tian et al., Theranostics 2021; 11(5): 2098-2107)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from training.attention import AttentionSummary
from training.expression.results import Evaluation
from training.progression.results import Prognosis
from training.reporting.content import ReportContent
from training.reporting.paper_expression import (
    decision_and_strata_rows,
    discrimination_rows,
    table_one_rows,
    visualisation_rows,
)
from training.reporting.paper_progression import (
    exported_rows,
    joint_rows,
    risk_model_rows,
    signature_rows,
    variable_rows,
)
from training.reporting.paper_values import FIGURE_5, PAPER_CLINICAL, PAPER_FUSION, PaperRow
from training.statistics.estimability import NotEstimable


def paper_rows(
    evaluation: Evaluation | None,
    prognosis: Prognosis | None,
    redivisions: Sequence[Mapping[str, float]] = (),
    figures: Collection[str] = (),
    attention: AttentionSummary | NotEstimable | None = None,
) -> tuple[PaperRow, ...]:
    """Return the values that the paper prints beside what the cohort gives, for the analyses that were run.

    Parameters
    ----------
    evaluation, prognosis
        None where they were not run: `not_in_this_report` then says which command runs them.
    redivisions
        Area by cohort of each random re-division of validation and test, retrained.
    figures
        File names of the figures that the report shows.
    attention
        Where the network looks.

    Returns
    -------
    tuple of PaperRow
    """
    rows: list[PaperRow] = []
    if evaluation is not None:
        rows += discrimination_rows(evaluation, redivisions)
        rows += decision_and_strata_rows(evaluation)
    if prognosis is not None:
        rows += signature_rows(prognosis)
        rows += variable_rows(prognosis)
        rows += risk_model_rows("Clinical", "0.05", PAPER_CLINICAL, prognosis.clinical)
        rows += joint_rows(prognosis)
        rows += risk_model_rows("Fusion", "1.78", PAPER_FUSION, prognosis.fusion)
        rows += exported_rows(prognosis)
    if evaluation is not None:
        rows += visualisation_rows(FIGURE_5 in figures, attention)
        rows += table_one_rows(evaluation)
    return tuple(rows)


def rows_of(content: ReportContent) -> tuple[PaperRow, ...]:
    """Return `paper_rows` of a report's content."""
    return paper_rows(
        content.evaluation, content.prognosis, content.redivisions, tuple(content.figures), content.attention
    )


def not_in_this_report(evaluation: Evaluation | None, prognosis: Prognosis | None) -> tuple[str, ...]:
    """Return the paper's analyses that are missing, each with its command; empty where none is missing.

    Parameters
    ----------
    evaluation, prognosis
        None where they were not run.

    Returns
    -------
    tuple of str
        Sentences.
    """
    if evaluation is None and prognosis is None:
        return ()
    missing = []
    if evaluation is None:
        missing.append(
            "Expression (the paper's Figure 2, Figure 5, Table 1 and strata) is not in this report: `pdl1es evaluate` "
            "gives it."
        )
    if prognosis is None:
        missing.append(
            "Progression (the paper's Figures 3 and 4 and the curves of each clinical variable) is not in this report: "
            "`pdl1es prognosis` gives it."
        )
    return tuple(missing)
