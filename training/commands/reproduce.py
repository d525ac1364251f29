"""The command ``pdl1es reproduce``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from pdl1es.console import say
from training.commands.analyses import say_where
from training.commands.endings import told_errors
from training.commands.options import Accelerator, Compiled, Precision, SideBySide


def reproduce(
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="Folder of everything; called again on it, it goes on.",
            file_okay=False,
            show_default=False,
        ),
    ],
    small: Annotated[
        bool, typer.Option("--small", help="100 patients and two epochs: a check of the mechanics, not of any number.")
    ] = False,
    recipe: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it
        typer.Option(
            "--recipe",
            help="`paper` (default), or `label-free`: 400 phantoms more, without a label, and a pretraining on them.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the cohort and the training.")] = 0,
    workers: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it
        typer.Option("--workers", min=1, help="Processes for images; default: one per core.", show_default=False),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config",
            help="JSON with any fields of the training's configuration; default: as docs/method.md says of the model that ships. --seed and --recipe win.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    accelerator: Accelerator = "auto",
    precision: Precision = "auto",
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--threads", min=1, help="Of the processor, for the training.", show_default=False),
    ] = None,
    compiled: Compiled = False,
    side_by_side: SideBySide = 1,
) -> None:
    """Synthesise, prepare, (pre)train, evaluate, export and report, from nothing; prints each step's time and disk space.

    Exit codes: 0 everything is whole; 1 a step failed: a process of `--side-by-side`, the exported file's check; 2
    usage.

    \f
    Parameters
    ----------
    output, small, recipe, seed, workers, config, accelerator, precision, threads, compiled, side_by_side
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the configuration is wrong, or the folder holds other work; with 1: a step failed.
    """
    from training.reproduce import Reproduction
    from training.reproduction_settings import full_settings, small_settings
    from training.train.config import read_configuration, read_hardware
    from training.train.progress import ConsoleObserver

    with told_errors(), ConsoleObserver() as observer:
        given = {"seed": seed} if recipe is None else {"seed": seed, "recipe": recipe}
        asked = read_configuration(config, given)
        settings = (small_settings if small else full_settings)(seed, asked.recipe)
        if config is not None:
            settings = replace(settings, training=asked)
        hardware = read_hardware(
            accelerator=accelerator, precision=precision, threads=threads, compiled=compiled, side_by_side=side_by_side
        )
        last: dict[str, int] = {}

        def told(step: str, done: int, of: int) -> None:
            # one line per tenth of the step, because the epochs' bar is on the screen as well
            tenth = 10 * done // max(of, 1)
            if last.get(step) != tenth:
                last[step] = tenth
                say(f"  {step}: {done} of {of}")

        Reproduction(
            output, settings, workers=workers, hardware=hardware, observer=observer, progress=told, say=say
        ).run()
    say_where(output / "report")
