"""Shared by all commands: printing, ending and showing progress.

rich is imported when something is printed, so that a command that prints nothing does not pay for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pdl1es.exit_code import ExitCode

if TYPE_CHECKING:
    from rich.console import Console


def standard_output() -> Console:
    """Return the console for what a command was asked for."""
    from rich.console import Console

    class StandardOutput(Console):
        def on_broken_pipe(self) -> None:
            """Raise the error where rich would end the process with exit code 1, because the reader of a pipe has gone."""
            raise BrokenPipeError

    return StandardOutput(highlight=False)


def standard_error() -> Console:
    """Return the console for errors and progress."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Print a line to standard output as it is: no markup, no highlighting, no wrapping."""
    typer.echo(text)


def labelled(label: str, text: str) -> None:
    """Print a line to standard output behind a yellow label.

    Parameters
    ----------
    label
        What it is: a warning, a note, a placeholder.
    text
        Printed as it is.
    """
    from rich.markup import escape

    standard_output().print(f"[yellow]{escape(label)}[/] {escape(text)}", soft_wrap=True)


@contextmanager
def output_may_be_lost() -> Iterator[None]:
    """Let a command that has done its work print; where standard output is closed, say so and continue. The exit code stands for the study's result, whether it could be printed or not."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, ValueError) as error:  # ValueError: standard output was closed
        if isinstance(error, UnicodeError):
            raise
        # Else Python would try again when it ends, and end with exit code 120.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it stays open until the process ends
        with suppress(OSError):
            typer.echo("standard output cannot be written to: what was to be shown is lost", err=True)


def ended(message: str, code: ExitCode) -> typer.Exit:
    """Print an error and return the exception that ends the command.

    Parameters
    ----------
    message
        What is wrong, and where; it is printed as it is, after "Error:".
    code
        How the command ends.

    Returns
    -------
    typer.Exit
        For the caller to raise.
    """
    from rich.markup import escape

    standard_error().print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)
    return typer.Exit(code)


def usage_error(message: str) -> typer.Exit:
    """Print an error of usage or settings, and return the exception that ends the command with exit code 2."""
    return ended(message, ExitCode.USAGE)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar for each step on standard error while the block runs.

    Yields
    ------
    callable
        Takes a step's name, how much of it is done, and of how much (None where that is not known).
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=standard_error()) as bars:
        known: dict[str, TaskID] = {}

        def told(step: str, done: int, total: int | None) -> None:
            if step not in known:
                known[step] = bars.add_task(step, total=total)
            bars.update(known[step], completed=done, total=total)

        yield told


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show one bar on standard error while the block runs, from its start on.

    Parameters
    ----------
    what
        What is done, as ``"Preparing"``.

    Yields
    ------
    callable
        Takes how much is done, and of how much.
    """
    with progress_bars() as told:
        told(what, 0, None)
        yield lambda done, total: told(what, done, total)
