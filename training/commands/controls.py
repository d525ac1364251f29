"""The command ``pdl1es controls``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pdl1es.console import progress_bar, say
from training.commands.endings import told_errors
from training.commands.options import Prepared, ReportFolder, Workers


def controls(
    table: Annotated[
        Path, typer.Argument(metavar="COHORT.csv", help="The cohort's table.", exists=True, dir_okay=False)
    ],
    prepared: Prepared,
    output: ReportFolder,
    kind: Annotated[str, typer.Option("--kind", help="`shuffled voxels` or `mask in healthy lung`.")],
    split: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it
        typer.Option("--split", help="Of whom; may be repeated; default: everybody."),
    ] = None,
    workers: Workers = None,
) -> None:
    """Prepare the same patients with disturbed inputs, as a further prepared cohort for `evaluate --control`.

    \f
    Parameters
    ----------
    table, prepared, output, kind, split, workers
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the kind is unknown, or the cohort cannot be read.
    """
    import numpy as np

    from training.cohort.prepared import PreparedCohort
    from training.cohort.sources import case_sources, preparation_settings
    from training.controls.disturbed import CONTROLS, prepare_control
    from training.errors import UsageError

    with told_errors():
        wanted = next((control for control in CONTROLS if control == kind), None)
        if wanted is None:
            raise UsageError(f"the kinds are {' and '.join(CONTROLS)}, got {kind!r}")
        cohort = PreparedCohort.load(prepared)
        if split:
            cohort = cohort.subset(np.isin(cohort.cases["split"].to_numpy(dtype=object), split))
        with progress_bar(kind) as told:
            made = prepare_control(
                cohort, case_sources(table), preparation_settings(), wanted, output, workers=workers, progress=told
            )
    say(f"{len(made)} patients, {len(made.failures)} could not be disturbed so: {output}")
