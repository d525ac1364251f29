"""The report of test and retest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from training.cohort.prepared import PreparedCohort
from training.controls.retest import Retest
from training.reporting.content import DEMONSTRATION, ReportContent
from training.reporting.report import write_report

TITLE: Final = "PD-L1ES: test and retest"


def write_retest(folder: Path, prepared: PreparedCohort, found: Retest, provenance: Mapping[str, str]) -> None:
    """Write ``report.html`` and ``report.json``.

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
