"""The command ``pdl1es cohort perturb``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pdl1es.console import labelled, progress_bar, say
from training.commands.endings import told_errors
from training.commands.options import CohortFolder, Prepared, Table, Workers


def perturb(
    table: Table,
    prepared: Prepared,
    output: CohortFolder,
    patients: Annotated[int, typer.Option("--patients", min=10, help="Training patients that are drawn.")] = 60,
    per_patient: Annotated[int, typer.Option("--per-patient", min=2, help="Perturbations of each.")] = 8,
    kinds: Annotated[
        str, typer.Option("--kinds", help="N noise, R rotation, T translation, V volume, C contour, together.")
    ] = "NRTVC",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the training to come: it draws the division.")] = 0,
    config: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option("--config", help="Settings of the chain, as for `cohort prepare`.", dir_okay=False),
    ] = None,
    workers: Workers = None,
) -> None:
    """Compute the features of some training patients under image perturbations, for `train --stability`.

    Costs one computation of the features for each patient and perturbation. A stopped run continues.

    \f
    Parameters
    ----------
    table, prepared, output, patients, per_patient, kinds, seed, config, workers
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the cohort cannot be read or divided, or no patient can be perturbed.
    """
    from training.cohort.prepared import PreparedCohort
    from training.cohort.sources import case_sources, preparation_settings
    from training.controls.contour_change import contour_change, contour_in_words
    from training.controls.repeated_features import REPEATS_FILE, draw_to_repeat, perturb_features
    from training.train.division import TRAIN, divide

    with told_errors():
        cohort = PreparedCohort.load(prepared).without_pretraining()
        training = divide(cohort.cases, seed) == TRAIN
        drawn = draw_to_repeat(cohort.cases, training, patients, seed)
        say(f"{len(drawn)} of {int(training.sum())} training patients, {per_patient} perturbations ({kinds}) each")
        with progress_bar("Perturbing") as told:
            measured = perturb_features(
                cohort.subset(drawn),
                case_sources(table),
                preparation_settings(config),
                output,
                kinds=kinds,
                per_patient=per_patient,
                workers=workers,
                progress=told,
            )
    labelled("contours", contour_in_words(contour_change(measured, cohort), kinds))
    for reason, count in measured.left_out.items():
        labelled("left out", f"{count}: {reason}")
    say(f"{len(measured.case_ids)} patients: {output / REPEATS_FILE}")
