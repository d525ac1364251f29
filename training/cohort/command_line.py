"""The commands ``pdl1es cohort ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from training.cohort.table import LONGEST_INTERVAL_DAYS, CheckedTable, CohortTableError, read_cohort

cohort_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Check, prepare, synthesise and import cohorts.",
)

Table = Annotated[
    Path,
    typer.Argument(metavar="COHORT.csv", help="One patient a row.", exists=True, dir_okay=False, show_default=False),
]


@cohort_app.callback()
def cohort() -> None:
    """Check, prepare, synthesise and import cohorts."""


@cohort_app.command()
def check(
    table: Table,
    longest_interval: Annotated[
        int,
        typer.Option("--longest-interval", metavar="DAYS", min=0, help="Between CT and PD-L1 test; longer ones warn."),
    ] = LONGEST_INTERVAL_DAYS,
) -> None:
    """Check a cohort's table: every fault at once, with row, column and remedy; reads no image and writes nothing.

    Exit codes: 0 the table can be prepared; 2 it has faults.
    """
    checked = _checked(table, longest_interval)
    console = Console()
    for note in checked.warnings:
        console.print(f"[yellow]warning[/] {escape(str(note))}", highlight=False, soft_wrap=True)
    console.print(f"{checked.screened} patients in the table", highlight=False)
    for reason, count in checked.exclusions:
        console.print(f"  {count} left out: {reason}", highlight=False)
    console.print(f"{len(checked.rows)} can be prepared", highlight=False)


def _checked(table: Path, longest_interval: int = LONGEST_INTERVAL_DAYS) -> CheckedTable:
    """Read a table, or say all that is wrong with it and end with exit code 2."""
    errors = Console(stderr=True)
    try:
        checked = read_cohort(table, longest_interval_days=longest_interval)
    except CohortTableError as error:
        raise _usage(str(error)) from error
    if checked.faults:
        for note in checked.faults:
            errors.print(f"[bold red]fault[/] {escape(str(note))}", highlight=False, soft_wrap=True)
        raise _usage(f"the table has {len(checked.faults)} faults in {checked.screened} rows")
    return checked


def _usage(message: str) -> typer.Exit:
    Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(message)}", highlight=False)
    return typer.Exit(2)
