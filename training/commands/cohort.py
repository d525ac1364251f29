"""The commands ``pdl1es cohort ...``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
Output = Annotated[
    Path, typer.Argument(metavar="OUTPUT", help="Folder; made where missing.", file_okay=False, show_default=False)
]
Scheduler = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="A Dask scheduler whose workers see the same paths; default: processes of this machine.",
        show_default=False,
    ),
]
Workers = Annotated[
    Optional[int],  # noqa: UP045 - typer reads it
    typer.Option("--workers", min=1, help="Processes of this machine; default: one a core.", show_default=False),
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


@cohort_app.command()
def prepare(
    table: Table,
    output: Output,
    config: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--config",
            help="Settings of the chain, of which selection, protocol and limits count; default: app.yaml of the application.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
    cache: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--cache", help="Folder of the cache; default: cache in OUTPUT.", file_okay=False, show_default=False
        ),
    ] = None,
    keep_withheld: Annotated[
        bool,
        typer.Option("--keep-withheld", help="Keep CT whose group the chain would withhold (smooth kernels)."),
    ] = False,
    without_outcome: Annotated[
        bool,
        typer.Option(
            "--without-outcome", help="Keep patients without PD-L1 and follow-up, so that they can be scored."
        ),
    ] = False,
) -> None:
    """Take every patient through selection, resampling, patches and radiomics, as the chain does.

    A patient that fails is a row of failures.parquet, never the end of the run. What was computed is kept by content and
    configuration: stopped and started again, it goes on; a corrected table computes no image again.
    """
    from pdl1es.settings import SettingsError, load_settings, settings_file
    from training.cohort.case import PreparationSettings
    from training.cohort.prepare import prepare_cohort

    try:
        settings = load_settings(settings_file(config))
    except SettingsError as error:
        raise _usage(str(error)) from error
    checked = _checked(table, without_outcome=without_outcome)
    with _progress("Preparing") as progress:
        prepared = prepare_cohort(
            checked,
            output,
            PreparationSettings(selection=settings.selection, protocol=settings.protocol, limits=settings.limits),
            scheduler=scheduler,
            workers=workers,
            cache_folder=cache,
            keep_withheld=keep_withheld,
            sources=[table.name],
            truth=table.parent,
            progress=progress,
        )
    console = Console()
    for note in checked.warnings:
        console.print(f"[yellow]warning[/] {escape(str(note))}", highlight=False, soft_wrap=True)
    chart = prepared.manifest["flow_chart"]
    console.print(f"{chart['screened']} patients in the table", highlight=False)
    for reason, count in chart["exclusions"]:
        console.print(f"  {count} left out: {escape(reason)}", highlight=False)
    for name, count in chart["cohorts"]:
        console.print(f"  {count} {escape(name)}", highlight=False)
    console.print(f"prepared cohort: {output}", highlight=False, soft_wrap=True, markup=False)


@cohort_app.command()
def synthesise(
    output: Output,
    expression: Annotated[int, typer.Option("--expression", min=0, help="Patients with PD-L1 expression.")] = 939,
    prognosis: Annotated[int, typer.Option("--prognosis", min=0, help="Patients under immunotherapy.")] = 94,
    gate: Annotated[int, typer.Option("--gate", min=0, help="Further test cases, for quality gates alone.")] = 1000,
    dicom: Annotated[
        int,
        typer.Option("--dicom", min=0, metavar="N", help="Write the first N cases as whole DICOM studies with SEG."),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed and sizes, same files.")] = 0,
    shares: Annotated[
        Optional[tuple[float, float, float]],  # noqa: UP045 - typer reads it
        typer.Option(
            "--shares",
            metavar="BORDER INNER CLINICAL",
            help="Of the factors in the logit's variance; they add up to one. Default: a third each.",
            show_default=False,
        ),
    ] = None,
    logit_sd: Annotated[
        Optional[float],  # noqa: UP045 - typer reads it
        typer.Option(
            "--logit-sd",
            min=0.1,
            max=10.0,
            help="Standard deviation of the logit: it sets the Bayes AUC. Default: 1.40 (AUC 0.80).",
            show_default=False,
        ),
    ] = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> None:
    """Make a phantom cohort with known truth: cohort.csv, truth.json, truth.csv and images.

    Stopped and started again, it goes on. Defaults: the paper's 939 and 94 patients, and 1000 further test cases.
    """
    from training.cohort.synthesise import SynthesisError, SynthesisSettings, synthesise_cohort
    from training.cohort.truth import TruthSettings

    usual = TruthSettings()
    try:
        truth = TruthSettings(shares=shares or usual.shares, logit_sd=logit_sd or usual.logit_sd)
        settings = SynthesisSettings(expression, prognosis, gate, dicom, seed, truth)
    except ValueError as error:
        raise _usage(str(error)) from error
    try:
        with _progress("Synthesising") as progress:
            table = synthesise_cohort(output, settings, scheduler=scheduler, workers=workers, progress=progress)
    except SynthesisError as error:
        raise _usage(str(error)) from error
    Console().print(f"cohort: {table}", highlight=False, soft_wrap=True, markup=False)


@cohort_app.command(name="import")
def import_(
    collection: Annotated[
        str,
        typer.Argument(
            metavar="COLLECTION", help="lung1 (NSCLC-Radiomics), radiogenomics, or cbioportal.", show_default=False
        ),
    ],
    clinical: Annotated[
        Path,
        typer.Argument(
            metavar="CLINICAL",
            help="TCIA's clinical CSV, or cBioPortal's study folder.",
            exists=True,
            show_default=False,
        ),
    ],
    table: Annotated[
        Path, typer.Argument(metavar="COHORT.csv", help="The table to write.", dir_okay=False, show_default=False)
    ],
    images: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--images",
            help="Folder with one folder a patient, as the NBIA Data Retriever makes it.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the cohort's table of a public collection on disk; what the collection lacks stays empty, and is told."""
    from pdl1es.atomic import write_atomically
    from training.cohort.public_collections import CollectionError, import_collection
    from training.cohort.table import write_cohort

    try:
        if images is None:
            imported = import_collection(collection, clinical, None, table.parent)
        else:
            with _progress("Looking for images") as progress:
                imported = import_collection(collection, clinical, images, table.parent, progress)
    except CollectionError as error:
        raise _usage(str(error)) from error
    write_atomically(table, write_cohort(imported.rows))
    console = Console()
    for note in imported.notes:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)
    console.print(f"cohort: {table}", highlight=False, soft_wrap=True, markup=False)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; yield what tells it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _checked(table: Path, longest_interval: int = LONGEST_INTERVAL_DAYS, without_outcome: bool = False) -> CheckedTable:
    """Read a table, or say all that is wrong with it and end with exit code 2."""
    errors = Console(stderr=True)
    try:
        checked = read_cohort(table, longest_interval_days=longest_interval, without_outcome=without_outcome)
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
