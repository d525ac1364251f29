"""The command ``pdl1es retest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdl1es.console import progress_bars
from training.commands.analyses import say_where
from training.commands.endings import told_errors
from training.commands.options import ReportFolder


def retest(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST", help="Prepared cohort.", exists=True, file_okay=False, show_default=False)
    ],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="SECOND",
            help="The same patients, same pseudonyms, scanned again.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    output: ReportFolder,
    model: Annotated[
        Path, typer.Option("--model", help="Folder of any exported model.onnx.", exists=True, file_okay=False)
    ],
) -> None:
    """Compare two scans of the same patients: ICC of every feature, repeatability of the score, groups that flip.

    \f
    Parameters
    ----------
    first, second, output, model
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the cohorts have no patient in common, or the folder holds another report.
    """
    from pdl1es.model.fusion import FusionModel
    from training.cohort.prepared import PreparedCohort
    from training.controls.retest import retest_cohorts
    from training.reporting.folder import require_own_folder
    from training.reporting.provenance import provenance_of
    from training.reporting.retest_report import TITLE, write_retest

    with told_errors():
        loaded = FusionModel.load(model, threads=1)
        one, two = PreparedCohort.load(first), PreparedCohort.load(second)
        provenance = provenance_of(one, f"{loaded.metadata.name} {loaded.metadata.version}", loaded.sha256)
        require_own_folder(output, TITLE, provenance)
        with progress_bars() as told:
            found = retest_cohorts(one, two, loaded, progress=told)
        write_retest(output, one, found, provenance)
    say_where(output)
