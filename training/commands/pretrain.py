"""The command ``pdl1es pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from pdl1es.console import progress_bar, standard_output
from training.commands.endings import told_errors
from training.commands.options import Accelerator, Compiled, Precision, Prepared


def pretrain(
    prepared: Prepared,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="Folder for the weights; called again on it, a stopped pretraining goes on.",
            file_okay=False,
            show_default=False,
        ),
    ],
    config: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--config",
            help="JSON with any fields of the pretraining's configuration; options below win.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--seed", min=0, help="Default 0. Give the seed of the training to come."),
    ] = None,
    patches: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--patches", min=1, help="Shown in all; default 90,000, about an hour of one core with bf16."),
    ] = None,
    layers: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--layers", help="`densenet121` (default), or `small` for a test of the mechanics."),
    ] = None,
    accelerator: Accelerator = "auto",
    precision: Precision = "auto",
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--threads", min=1, help="Of the processor; 1 is quicker where others use the same cores."),
    ] = None,
    compiled: Compiled = False,
) -> None:
    """Let the network learn from images alone, before it is shown a label: `train --pretrained` takes the weights.

    It learns to predict the radiomics of the tissue around the tumour, on the training patients and on those whose split
    is `pretrain`. Exit codes: 0 the weights are written; 2 usage, configuration or cohort.

    \f
    Parameters
    ----------
    prepared, out, config, seed, patches, layers, accelerator, precision, threads, compiled
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: configuration or cohort is wrong, or the folder holds another pretraining.
    """
    from training.cohort.prepared import PreparedCohort
    from training.cohort.scan import not_compared
    from training.pretrain.config import PretrainingConfig
    from training.pretrain.run import pretrain as pretrain_network
    from training.train.config import read_hardware, read_merged

    options = {"seed": seed, "patches": patches, "layers": layers}
    given = {name: value for name, value in options.items() if value is not None}
    with told_errors():
        asked = read_merged(PretrainingConfig, config, given, "the pretraining's configuration")
        hardware = read_hardware(accelerator=accelerator, precision=precision, threads=threads, compiled=compiled)
        cohort = PreparedCohort.load(prepared)
        with progress_bar("passes over the patients") as progress:
            document = pretrain_network(cohort, out, asked, hardware=hardware, progress=progress)
    _show(document, out, not_compared(cohort.scans))


def _show(document: dict[str, Any], out: Path, unchecked: str | None) -> None:
    """Print what the network came to see, and what of the cohort was not checked."""
    from training.pretrain.run import WEIGHTS_FILE

    seen = [value for value in document["seen"][:4] if value is not None]
    lines = [
        f"{document['patients']['all']} patients, {document['patients']['pretrain']} of them without label; "
        f"{document['patches']} patches in {document['seconds']:.0f} s ({document['patches_per_second']:.0f} a second)",
    ]
    if seen:
        values = ", ".join(f"{value:.2f}" for value in seen)
        lines.append(f"Components seen on {document['kept_apart']} patients kept apart: r = {values}, ...")
    if unchecked:
        lines.append(f"Note: {unchecked}")
    layers = document["config"]["layers"]
    other = "" if layers == "densenet121" else f" --layers {layers}"
    lines.append(f"Next: pdl1es train PREPARED RUN --recipe label-free --pretrained {out / WEIGHTS_FILE}{other}")
    standard_output().print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
