"""The command ``pdl1es sample-size``."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from pdl1es.console import labelled
from training.commands.endings import told_errors

_FEW = 100
"""Patients with and without the outcome below which the formulas of large samples promise too much (Collins et al., Stat
Med 2016; 35: 214)."""


def sample_size(
    prevalence: Annotated[float, typer.Option("--prevalence", help="Share of patients with high expression, 0 to 1.")],
    auc: Annotated[float, typer.Option("--auc", help="That is expected on other patients, 0.5 to 1.")],
    parameters: Annotated[
        int, typer.Option("--parameters", min=1, help="Candidates of a new model: all that are tried, not those kept.")
    ] = 1,
    spread: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--spread",
            help="Standard deviation of the score's log-odds; default: what the AUC implies if they are normal.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say how many patients a new model of expression needs, and how many its validation.

    By the criteria of Riley et al. (BMJ 2020; 368: m441. Stat Med 2021; 40: 4230), as pmsampsize and pmvalsampsize. Exit
    codes: 0 printed; 2 usage.

    \f
    Parameters
    ----------
    prevalence, auc, parameters, spread
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: a number is impossible.
    """
    from training.errors import UsageError
    from training.statistics.sample_size import cox_snell_r2_of, development_size
    from training.statistics.validation_sample_size import logits_of_area, normal_logits, validation_size

    with told_errors():
        try:
            development = development_size(prevalence, parameters, cox_snell_r2_of(auc, prevalence))
            logits = logits_of_area(auc, prevalence)
            if spread is not None:
                logits = normal_logits(float(logits.mean()), spread)
            validation = validation_size(prevalence, auc, logits)
        except ValueError as error:
            raise UsageError(str(error)) from error
    labelled("Cox and Snell's R2 of this AUC", f"{development.cox_snell_r2:.3f}")
    labelled("development", f"{development.n} patients, {development.events_per_parameter:.1f} events per parameter")
    labelled("  shrinkage of 10 %", f"{development.for_shrinkage}")
    labelled("  optimism of 0.05 in R2", f"{development.for_optimism}")
    labelled("  overall risk within 0.05", f"{development.for_risk}")
    labelled("validation", f"{validation.n} patients, {validation.events:.0f} events")
    labelled("  observed / expected, width 0.2", f"{validation.for_observed_to_expected}")
    labelled("  calibration slope, width 0.2", f"{validation.for_slope}")
    labelled("  AUC, width 0.1", f"{validation.for_auc}")
    for stage, n in (("development", development.n), ("validation", validation.n)):
        fewer = n * min(prevalence, 1 - prevalence)
        if fewer < _FEW:
            labelled(
                "note",
                f"the smaller class of {n} patients for {stage} has {fewer:.2g} on average: the formulas are for larger "
                f"numbers, take enough patients for {_FEW}",
            )
