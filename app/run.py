"""One run through the operators of MONAI Deploy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pdl1es.run
from app.application import PDL1ESApplication
from pdl1es.chain import RunRequest
from pdl1es.model.fusion import FusionModel
from pdl1es.outcome import Outcome
from pdl1es.stopwatch import Stopwatch


def run_operators(request: RunRequest, model: FusionModel, output_folder: Path, watch: Stopwatch) -> Outcome:
    """Run the chain as operators.

    Parameters
    ----------
    request, model, output_folder, watch
        As for `pdl1es.run.run_in_python`.

    Returns
    -------
    Outcome
        The same as of plain calls.

    Raises
    ------
    pdl1es.clinical.ClinicalFileError
        What was given does not follow its schema.
    pdl1es.report.earlier_reports.EarlierReportError
        An earlier report that was named is of another study.
    """
    application = PDL1ESApplication(request, model, output_folder, watch)
    application.run()
    return application.outcome


run_study = partial(pdl1es.run.run_study, execute=run_operators)
"""Run `pdl1es.run.run_study` with operators instead of plain calls."""
