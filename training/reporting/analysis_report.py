"""The report of a scored cohort's analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from training.analysis.cohort_analysis import AnalysedCohort
from training.attention import AttentionSummary
from training.cohort.prepared import PreparedCohort
from training.controls.retest import Retest
from training.expression.results import Evaluation
from training.known_truth.gates import Gate
from training.progress import Progress
from training.progression.results import Prognosis
from training.release.cut_offs import CUT_OFFS_FILE, write_cut_offs
from training.reporting.content import DEMONSTRATION, ReportContent
from training.reporting.expression_figures import evaluation_figures
from training.reporting.figures import Drawn, render, write_figures
from training.reporting.progression_figures import prognosis_figures
from training.reporting.report import write_report
from training.statistics.estimability import NotEstimable

FIGURES: Final = "figures"


def figures_of(analysed: AnalysedCohort, *, expression: bool = True, progression: bool = True) -> dict[str, Drawn]:
    """Draw every figure of the analyses that ran.

    Parameters
    ----------
    analysed
        Both analyses.
    expression, progression
        Whether the figures of either are wanted.

    Returns
    -------
    dict[str, Drawn]
        By the figures' names.
    """
    drawn: dict[str, Drawn] = {}
    if expression and isinstance(analysed.evaluation, Evaluation):
        drawn |= evaluation_figures(analysed.evaluation)
    if progression and isinstance(analysed.prognosis, Prognosis):
        drawn |= prognosis_figures(analysed.prognosis)
    return drawn


def write_analysis(
    folder: Path,
    title: str,
    prepared: PreparedCohort,
    analysed: AnalysedCohort,
    drawn: Mapping[str, Drawn],
    provenance: Mapping[str, str],
    *,
    expression: bool = True,
    progression: bool = True,
    redivisions: Sequence[Mapping[str, float]] = (),
    gates: Sequence[Gate] = (),
    retest: Retest | None = None,
    attention: AttentionSummary | NotEstimable | None = None,
    progress: Progress | None = None,
) -> None:
    """Write ``report.html``, ``report.json``, ``figures/`` and, where progression was analysed, ``cut_offs.json``.

    Parameters
    ----------
    folder
        Of the report; made where it is missing.
    title
        Of the page.
    prepared
        The cohort.
    analysed
        Both analyses.
    drawn
        Figures by file name.
    provenance
        As of `provenance_of`.
    expression, progression
        Whether either was wanted. The report gives the reason where a wanted analysis was not possible.
    redivisions
        Area by cohort of each random re-division.
    gates
        Claims on a known truth.
    retest, attention
        What else was analysed.
    progress
        Called with the number of figures written and in all.
    """
    rendered = render(drawn, None if progress is None else lambda done, of: progress("figures", done, of))
    write_figures(folder / FIGURES, rendered)
    evaluation = analysed.evaluation if expression and isinstance(analysed.evaluation, Evaluation) else None
    prognosis = analysed.prognosis if progression and isinstance(analysed.prognosis, Prognosis) else None
    notes = dict(provenance)
    for wanted, name, found in (
        (expression, "Expression", analysed.evaluation),
        (progression, "Progression", analysed.prognosis),
    ):
        if wanted and isinstance(found, NotEstimable):
            notes[name] = f"not evaluated: {found.reason}"
    write_report(
        folder,
        ReportContent(
            title=title,
            warning=DEMONSTRATION if prepared.synthetic else None,
            provenance=notes,
            evaluation=evaluation,
            prognosis=prognosis,
            retest=retest,
            redivisions=redivisions,
            gates=gates,
            shortfalls=analysed.shortfalls if expression else {},
            attention=attention,
            figures=rendered,
        ),
    )
    if progression:
        write_cut_offs(folder / CUT_OFFS_FILE, analysed.cut_offs)
