"""The command ``pdl1es prognosis``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdl1es.console import progress_bars
from training.commands.analyses import Inputs, progression_settings, report_of, say_where
from training.commands.endings import told_errors
from training.commands.options import Model, Permutations, ReportFolder, Run, SmallestShare

if TYPE_CHECKING:
    from training.progression.results import PrognosisSettings


def prognosis(
    prepared: Annotated[
        Path,
        typer.Argument(
            metavar="PREPARED",
            help="Folder that `cohort prepare` wrote; or a COHORT.csv whose patients have no images.",
            exists=True,
            show_default=False,
        ),
    ],
    output: ReportFolder,
    run: Run = None,
    model: Model = None,
    permutations: Permutations = 2000,
    smallest_share: SmallestShare = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of permutations and halves.")] = 0,
) -> None:
    """Analyse progression-free survival by the score: report, figures, and cut_offs.json for `export`.

    Give either a training run or any exported model. A COHORT.csv may be given in place of the folder: its patients
    have no score, so they are analysed by measured PD-L1 and clinical variables, and no cut_offs.json is written. Exit
    codes: 0 the report is written; 2 usage.

    \f
    Parameters
    ----------
    prepared, output, run, model, permutations, smallest_share, seed
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the options do not go together, or the folder holds another report.
    """
    settings = progression_settings(permutations, smallest_share, seed)
    if prepared.is_file():
        _report_of_table(prepared, output, run, model, settings)
    else:
        report_of("PD-L1ES: progression", Inputs(prepared, output, run, model), progression=settings)


def _report_of_table(
    table: Path, output: Path, run: Path | None, model: Path | None, settings: PrognosisSettings
) -> None:
    """Write the report of patients without images."""
    from training.cohort.table import read_cohort
    from training.errors import UsageError
    from training.progression.unscored import followed_table
    from training.reporting.folder import require_own_folder
    from training.reporting.provenance import table_provenance
    from training.reporting.table_report import TITLE, write_table_analysis
    from training.statistics.estimability import NotEstimable, estimated

    with told_errors():
        if run is not None or model is not None:
            raise UsageError(
                f"{table.name} is a table, which no model can score: leave out --run and --model, or give the folder that "
                "`pdl1es cohort prepare` makes of it"
            )
        checked = read_cohort(table, without_outcome=True, without_images=True)
        if checked.faults:
            raise UsageError(
                f"the table has {len(checked.faults)} faults, the first: {checked.faults[0]} `pdl1es cohort check` tells all"
            )
        followed = estimated(followed_table, checked.rows)
        if isinstance(followed, NotEstimable):
            raise UsageError(followed.reason)
        provenance = table_provenance(table, checked)
        require_own_folder(output, TITLE, provenance)
        with progress_bars() as told:
            write_table_analysis(output, table, followed, provenance, settings, told)
    say_where(output)
