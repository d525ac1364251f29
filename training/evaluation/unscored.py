"""Progression in a cohort's table alone: by measured PD-L1 and clinical variables, where no image was ever scored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.imputation import build_profiles
from training.cohort.prepare import TRUTH_FILES
from training.cohort.prepared import case_table
from training.cohort.table import CheckedTable, CohortRow
from training.evaluation.figure_set import prognosis_figures, render, write_figures
from training.evaluation.prognosis import FollowedCohort, Prognosis, PrognosisSettings, analyse, followed_cohort
from training.evaluation.report import ReportContent, write_report
from training.evaluation.report_folder import COHORT_DIGEST, MODEL
from training.evaluation.scored import Progress
from training.fit import coded_clinical, impute_all, smoker_grade

TITLE: Final = "PD-L1ES: progression without a score"
NO_SCORE: Final = (
    "There is no score here: no image of these patients was scored. Progression is analysed by measured PD-L1 and by "
    "clinical variables alone."
)
PHANTOMS: Final = "The patients are synthetic phantoms: nothing here says anything about patients."


def followed_table(rows: Sequence[CohortRow]) -> FollowedCohort:
    """Take the patients with follow-up from a cohort's table.

    Parameters
    ----------
    rows
        Patients; no image is looked at.

    Returns
    -------
    FollowedCohort
        Without a score. Missing clinical values are imputed from these patients by the paper's rule; a variable that
        nobody has stays NaN.

    Raises
    ------
    ValueError
        No patient has follow-up.
    """
    cases = case_table([_case(row) for row in rows])
    clinical = cases[["age", "sex", "smoking", "family_history"]].to_numpy(dtype=np.float64)
    coded = coded_clinical(clinical, cases["smoking_graded"].to_numpy(dtype=np.bool_), smoker_grade(clinical))
    return followed_cohort(cases, None, _imputed(coded))


def table_provenance(table: Path, checked: CheckedTable, versions: dict[str, str]) -> dict[str, str]:
    """Return what was analysed: no path, no patient."""
    return {
        MODEL: "none",
        "Cohort": f"{checked.screened} patients in the table",
        COHORT_DIGEST: hashlib.sha256(table.read_bytes()).hexdigest(),
        **versions,
    }


def write_table_analysis(
    folder: Path,
    table: Path,
    followed: FollowedCohort,
    provenance: dict[str, str],
    settings: PrognosisSettings,
    progress: Progress,
) -> Prognosis:
    """Analyse a table's patients; write ``report.html``, ``report.json`` and ``figures/``, and no cut-off for a model."""
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


def _case(row: CohortRow) -> dict[str, Any]:
    return {
        "case_id": row.id,
        # no model was trained on anybody here
        "split": "prognosis" if row.split == "prognosis" else None,
        "label": row.high_expression,
        **row.clinical_codes(),
        "pfs_days": row.pfs_days,
        "progressed": row.progressed,
        "treatment": row.treatment,
    }


def _imputed(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill gaps, shape (N, 4), by k-nearest neighbours among the patients; what nobody has is far from nobody."""
    nobody = np.isnan(coded).all(axis=0)
    held = np.where(nobody, 0.0, coded)
    # no model file comes of it in which a rare profile could be found
    filled = impute_all(held, build_profiles(held, min_count=1))
    return np.where(nobody, np.nan, filled)
