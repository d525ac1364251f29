"""The report of a table's patients, who have no score."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from training.cohort.prepare import TRUTH_FILES
from training.progress import Progress
from training.progression.analyse import analyse
from training.progression.followed import FollowedCohort
from training.progression.results import Prognosis, PrognosisSettings
from training.reporting.content import ReportContent
from training.reporting.figures import render, write_figures
from training.reporting.progression_figures import prognosis_figures
from training.reporting.report import write_report

TITLE: Final = "PD-L1ES: progression without a score"
NO_SCORE: Final = (
    "There is no score here: no image of these patients was scored. Progression is analysed by measured PD-L1 and by "
    "clinical variables alone."
)
PHANTOMS: Final = "The patients are synthetic phantoms: nothing here says anything about patients."


def write_table_analysis(
    folder: Path,
    table: Path,
    followed: FollowedCohort,
    provenance: dict[str, str],
    settings: PrognosisSettings,
    progress: Progress,
) -> Prognosis:
    """Analyse a table's patients; write ``report.html``, ``report.json`` and ``figures/``, and no cut-off for a model.

    Parameters
    ----------
    folder
        Of the report; made where it is missing.
    table
        The table's file; beside it lies ``truth.json`` where the patients are phantoms.
    followed
        Its patients with follow-up.
    provenance
        As of `table_provenance`.
    settings
        Of the analysis.
    progress
        Called as permutations and figures are done.

    Returns
    -------
    Prognosis
    """
    found = analyse(followed, settings, progress=progress)
    figures = render(prognosis_figures(found), lambda done, of: progress("figures", done, of))
    write_figures(folder / "figures", figures)
    synthetic = (table.parent / TRUTH_FILES[0]).is_file()
    write_report(
        folder,
        ReportContent(
            title=TITLE,
            warning=f"{PHANTOMS} {NO_SCORE}" if synthetic else NO_SCORE,
            provenance=provenance,
            evaluation=None,
            prognosis=found,
            figures=figures,
        ),
    )
    return found
