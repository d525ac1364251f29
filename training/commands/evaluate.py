"""The command ``pdl1es evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from training.commands.analyses import Inputs, expression_settings, report_of
from training.commands.options import (
    Baselines,
    Beside,
    Control,
    Images,
    Model,
    Nested,
    Prepared,
    ReportFolder,
    Run,
    ScannerBatch,
    ScannersBy,
    Stability,
    TubeCurrentCut,
)


def evaluate(
    prepared: Prepared,
    output: ReportFolder,
    run: Run = None,
    model: Model = None,
    beside: Beside = None,
    control: Control = None,
    table: Images = None,
    tube_current_cut: TubeCurrentCut = None,
    baselines: Baselines = True,
    nested: Nested = 0,
    scanners_by: ScannersBy = ScannerBatch.manufacturer,
    stability: Stability = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of resamples and folds.")] = 0,
) -> None:
    """Evaluate how well the score tells high PD-L1 expression: report.html, report.json and figures.

    Give either a training run or any exported model. A stopped evaluation continues with the scores that it wrote.
    Exit codes: 0 the report is written; 2 usage.

    \f
    Parameters
    ----------
    prepared, output, run, model, beside, control, table, tube_current_cut, baselines, nested, scanners_by, stability, seed
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the options do not go together, or the folder holds another report.
    """
    report_of(
        "PD-L1ES: expression",
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
    )
