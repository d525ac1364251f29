"""The commands ``pdl1es cohort ...``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from pdl1es.console import labelled, progress_bar, say, standard_error
from training.cohort.rules import LONGEST_INTERVAL_DAYS
from training.commands.endings import told_errors
from training.commands.options import CohortFolder, Scheduler, Table, Workers

if TYPE_CHECKING:
    from training.cohort.table import CheckedTable

_NAMED_FAILURES = 20
"""Patients whom `prepare` names; the file of failures has all of them."""

cohort_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Check, prepare, synthesise and import cohorts.",
)


Encoding = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option(
        "--encoding",
        help="Of a CSV: utf-8, utf-16, gb18030 or windows-1252; default: found, and told.",
        show_default=False,
    ),
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
    encoding: Encoding = None,
) -> None:
    """Check a cohort's table: every fault at once, with row, column and remedy; reads no image and writes nothing.

    Exit codes: 0 the table can be prepared; 2 it has faults.

    \f
    Parameters
    ----------
    table, longest_interval, encoding
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the table has faults.
    """
    with told_errors():
        checked = _checked(table, longest_interval, encoding=encoding)
    for told in checked.notes:
        labelled("note", told)
    for column in checked.columns:
        say(f"  {column}")
    for note in checked.warnings:
        labelled("warning", str(note))
    say(f"{checked.screened} patients in the table")
    for reason, count in checked.exclusions:
        say(f"  {count} left out: {reason}")
    say(f"{len(checked.rows)} can be prepared")


@cohort_app.command()
def prepare(
    table: Table,
    output: CohortFolder,
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
    encoding: Encoding = None,
) -> None:
    """Take every patient through selection, resampling, patches and radiomics, as the chain does.

    A patient that fails becomes a row of failures.parquet and does not end the run. Results are kept by content and
    configuration: a stopped run continues where it ended, and a corrected table computes no image again.

    \f
    Parameters
    ----------
    table, output, config, scheduler, workers, cache, keep_withheld, without_outcome, encoding
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the table has faults, or the settings are wrong; with 1 where a step failed.
    """
    from training.cohort.prepare import prepare_cohort
    from training.cohort.prepared import CASES_FILE, FAILURES_CSV
    from training.cohort.scan import not_compared
    from training.cohort.sources import preparation_settings

    with told_errors():
        settings = preparation_settings(config)
        checked = _checked(table, without_outcome=without_outcome, encoding=encoding)
        with progress_bar("Preparing") as told:
            prepared = prepare_cohort(
                checked,
                output,
                settings,
                scheduler=scheduler,
                workers=workers,
                cache_folder=cache,
                keep_withheld=keep_withheld,
                sources=[table.name],
                truth=table.parent,
                progress=told,
            )
    for read in checked.notes:
        labelled("note", read)
    for note in checked.warnings:
        labelled("warning", str(note))
    chart = prepared.manifest["flow_chart"]
    say(f"{chart['screened']} patients in the table")
    for reason, count in chart["exclusions"]:
        say(f"  {count} left out: {reason}")
    for name, count in chart["cohorts"]:
        say(f"  {count} {name}")
    for first, second, distance, same in prepared.manifest["alike"]:
        found = "have the same images" if same else f"look alike (they differ by {distance:.1f} HU)"
        labelled("warning", f"{first} and {second} {found}: one patient is one row")
    for first, second in prepared.manifest["same_scan"]:
        labelled("warning", f"{first} and {second} have the same CT, another contour: one patient is one row")
    if unchecked := not_compared(prepared.scans):
        labelled("note", unchecked)
    warned = Counter(code for codes in prepared.cases["warnings"] for code in codes)
    for code, count in sorted(warned.items()):
        labelled("warning", f"{count} with {code} (column warnings of {CASES_FILE})")
    failed = list(prepared.failures.itertuples(index=False))
    for failure in failed[:_NAMED_FAILURES]:
        labelled("failed", f"{failure.case_id}: {failure.code}: {failure.message or failure.step}")
    if failed:
        others = len(failed) - _NAMED_FAILURES
        say(
            f"{len(failed)} could not be prepared{f' ({others} more than are named)' if others > 0 else ''}: {output / FAILURES_CSV}"
        )
    say(f"prepared cohort: {output}")


@cohort_app.command()
def synthesise(
    output: CohortFolder,
    expression: Annotated[int, typer.Option("--expression", min=0, help="Patients with PD-L1 expression.")] = 939,
    prognosis: Annotated[int, typer.Option("--prognosis", min=0, help="Patients under immunotherapy.")] = 94,
    gate: Annotated[int, typer.Option("--gate", min=0, help="Further test cases, for quality gates alone.")] = 1000,
    pretrain: Annotated[
        int, typer.Option("--pretrain", min=0, help="Patients without a label, for `pdl1es pretrain`.")
    ] = 0,
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

    A stopped run continues when it is started again. Defaults: the paper's 939 and 94 patients, and 1000 further test
    cases.

    \f
    Parameters
    ----------
    output, expression, prognosis, gate, pretrain, dicom, seed, shares, logit_sd, scheduler, workers
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the sizes or shares are wrong, or the folder holds another cohort.
    """
    from training.cohort.synthesise import SynthesisSettings, synthesise_cohort
    from training.cohort.truth import TruthSettings
    from training.errors import UsageError

    usual = TruthSettings()
    with told_errors():
        try:
            truth = TruthSettings(shares=shares or usual.shares, logit_sd=logit_sd or usual.logit_sd)
            settings = SynthesisSettings(expression, prognosis, gate, dicom, seed, truth, pretrain)
        except ValueError as error:
            raise UsageError(str(error)) from error
        with progress_bar("Synthesising") as told:
            table = synthesise_cohort(output, settings, scheduler=scheduler, workers=workers, progress=told)
    say(f"cohort: {table}")


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
            help="Folder with one folder per patient, as the NBIA Data Retriever makes it.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    mapping: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--mapping",
            help='JSON with a cBioPortal study\'s own columns, as {"pdl1_tps": "TPS"}.',
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the cohort's table of a public collection on disk; cells that the collection lacks stay empty, and notes
    name them.

    \f
    Parameters
    ----------
    collection, clinical, table, images, mapping
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the collection is unknown, or its files are not as it publishes them.
    """
    from pdl1es.atomic import write_atomically
    from training.cohort.public_collections import import_collection
    from training.cohort.table import write_cohort

    with told_errors():
        columns = None if mapping is None else _mapping(mapping)
        if images is None:
            imported = import_collection(collection, clinical, None, table.parent, mapping=columns)
        else:
            with progress_bar("Looking for images") as told:
                imported = import_collection(collection, clinical, images, table.parent, told, columns)
    write_atomically(table, write_cohort(imported.rows))
    for note in imported.notes:
        labelled("note", note)
    say(f"cohort: {table}")


def _mapping(path: Path) -> dict[str, str]:
    """Read a mapping of columns."""
    import json

    from training.errors import UsageError

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the mapping is no JSON file that can be read ({type(error).__name__})") from None
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise UsageError("the mapping must be one JSON object of names of columns")
    return document


def _checked(
    table: Path,
    longest_interval: int = LONGEST_INTERVAL_DAYS,
    without_outcome: bool = False,
    encoding: str | None = None,
) -> CheckedTable:
    """Read a table; where it has faults, print all of them and raise `UsageError`."""
    from rich.markup import escape

    from training.cohort.table import read_cohort
    from training.errors import UsageError

    checked = read_cohort(
        table, longest_interval_days=longest_interval, without_outcome=without_outcome, encoding=encoding
    )
    if checked.faults:
        errors = standard_error()
        for told in checked.notes:
            errors.print(f"[yellow]note[/] {escape(told)}", soft_wrap=True)
        for note in checked.faults:
            errors.print(f"[bold red]fault[/] {escape(str(note))}", soft_wrap=True)
        raise UsageError(f"the table has {len(checked.faults)} faults in {checked.screened} rows")
    return checked
