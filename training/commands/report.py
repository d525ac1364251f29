"""The command ``pdl1es report``."""

from __future__ import annotations

from typing import Annotated

import typer

from training.commands.analyses import Inputs, expression_settings, progression_settings, report_of
from training.commands.options import (
    Baselines,
    Beside,
    Control,
    Images,
    Model,
    Nested,
    Permutations,
    Prepared,
    ReportFolder,
    Run,
    ScannerBatch,
    ScannersBy,
    SmallestShare,
    Stability,
    TubeCurrentCut,
)


def report(
    prepared: Prepared,
    output: ReportFolder,
    run: Run = None,
    model: Model = None,
    beside: Beside = None,
    control: Control = None,
    table: Images = None,
    tube_current_cut: TubeCurrentCut = None,
    permutations: Permutations = 2000,
    smallest_share: SmallestShare = 0.1,
    baselines: Baselines = True,
    nested: Nested = 0,
    scanners_by: ScannersBy = ScannerBatch.manufacturer,
    stability: Stability = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of whatever is drawn.")] = 0,
) -> None:
    """Run `evaluate` and `prognosis` together: a report of expression and progression, and cut_offs.json for `export`.

    The report names an analysis that the cohort does not allow, with the reason. Exit codes: 0 the report is written; 2
    usage.

    \f
    Parameters
    ----------
    prepared, output, run, model, beside, control, table, tube_current_cut, permutations, smallest_share, baselines,
    nested, scanners_by, stability, seed
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the options do not go together, or the folder holds another report.
    """
    report_of(
        "PD-L1ES: expression and progression",
        Inputs(
            prepared,
            output,
            run,
            model,
            beside or (),
            control or (),
            table,
            baselines,
            nested,
            scanners_by.value,
            stability,
        ),
        expression=expression_settings(tube_current_cut, seed),
        progression=progression_settings(permutations, smallest_share, seed),
    )
