"""The report of test and retest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from pdl1es.atomic import write_atomically
from training.cohort.prepared import PreparedCohort
from training.controls.retest import Retest
from training.reporting.content import DEMONSTRATION, ReportContent
from training.reporting.report import write_report

SCORES_FILE: Final = "scores.csv"
TITLE: Final = "PD-L1ES: test and retest"


def write_retest(folder: Path, prepared: PreparedCohort, found: Retest, provenance: Mapping[str, str]) -> None:
    """Write ``report.html``, ``report.json``, and ``scores.csv`` with both scores of each patient by pseudonym.

    Parameters
    ----------
    folder
        Made where it is missing.
    prepared
        The cohort of either scan.
    found
        The comparison.
    provenance
        What was compared, as `provenance_of` gives it.
    """
    warning = DEMONSTRATION if prepared.synthetic else None
    write_report(folder, ReportContent(TITLE, warning, provenance, None, None, retest=found))
    table = pd.DataFrame({"case_id": found.case_ids, "first": found.scores[:, 0], "second": found.scores[:, 1]})
    write_atomically(folder / SCORES_FILE, table.to_csv(index=False, lineterminator="\n").encode("utf-8"))
