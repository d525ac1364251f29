"""The command line ``pdl1es``."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from pdl1es import __version__
from pdl1es.command_line.process import (
    collect_garbage_rarely,
    leave_out_what_is_not_used,
    limit_blas_threads,
    prepare_process,
    print_in_any_locale,
)
from pdl1es.console import output_may_be_lost, say, standard_error, standard_output, usage_error
from pdl1es.exit_code import ExitCode
from pdl1es.model.folder import DEFAULT_MODELS

if TYPE_CHECKING:
    from pdl1es.run import Execute
    from pdl1es.settings import Settings

app = typer.Typer(
    name="pdl1es",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="PD-L1ES: a score for PD-L1 expression of non-small cell lung cancer from chest CT.\n\n"
    "A study goes in (CT series, and the primary tumour as DICOM SEG or RT Structure Set); a DICOM structured report and result.json come out.\n\n"
    "Exit codes: 0 a report was written; 1 a defect; 2 usage or configuration error; 3 the study was refused "
    "(0 where `report_refusals` in app.yaml asks for a report of it).",
    epilog="Training (`cohort`, `train`, `evaluate`...) needs its own environment: `make env-training`, then "
    "`.venv-training/bin/pdl1es`.",
)

Config = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it
    typer.Option(
        "--config", help="Settings; default: app.yaml of the application.", dir_okay=False, show_default=False
    ),
]

Model = Annotated[
    Path,
    typer.Option(
        "--model",
        envvar="HOLOSCAN_MODEL_PATH",
        help="Folder of model.onnx, or the folder above it.",
        file_okay=False,
        show_default="the model that ships",
    ),
]

Clinical = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it
    typer.Option(
        "--clinical",
        help="Age, sex, smoking, family history: JSON of this patient, or CSV with a column patient_id or accession_number. Wins over clinical.json in the study and over the DICOM header.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]


def _settings(config: Path | None) -> Settings:
    from pdl1es.settings import load_settings, settings_file
    from pdl1es.settings_file import SettingsError

    try:
        return load_settings(settings_file(config))
    except SettingsError as error:
        raise usage_error(str(error)) from error


def _report_time() -> datetime:
    """Return the time that the reports carry, or end the command where ``SOURCE_DATE_EPOCH`` is none."""
    from pdl1es.report.clock import report_time

    try:
        return report_time(os.environ)
    except ValueError as error:
        raise usage_error(str(error)) from error


def _version(wanted: bool) -> None:
    if wanted:
        say(f"pdl1es {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """PD-L1ES."""


@app.command()
def run(
    context: typer.Context,
    study: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Folder with the study: CT series and DICOM SEG or RT Structure Set, nested in any way, files named in any way.",
            exists=True,
            file_okay=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="Folder for the report and result.json; made where missing.", file_okay=False
        ),
    ],
    config: Config = None,
    model: Model = DEFAULT_MODELS,
    clinical: Clinical = None,
    earlier: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer reads it
        typer.Option(
            "--earlier",
            help="An earlier report on the study that INPUT does not hold (DICOM), or an archive's answer about its reports "
            "(QIDO-RS, JSON); the new report replaces it. Can be given several times.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    contour_stability: Annotated[
        Optional[Literal["on", "borderline", "off"]],  # noqa: UP045 - typer reads it
        typer.Option(
            "--contour-stability",
            help="Score again with contours that differ by 1 mm, and report the score's interval: `on`, `borderline` (only near "
            "a cut-off) or `off`; default: as the settings say.",
        ),
    ] = None,
) -> None:
    """Score one study: write a DICOM SR and result.json.

    The SEG or RT Structure Set has to hold the primary tumour, coded as a neoplasm or GTV or labelled as the settings
    accept (GTV-1, tumour...). `pdl1es inspect INPUT` shows beforehand what is chosen, and why.

    \f
    Parameters
    ----------
    context, study, output, config, model, clinical, earlier, contour_stability
        As their help texts say.

    Raises
    ------
    typer.Exit
        Always, with an `ExitCode`: 0 where a report was written, 3 where the study was refused, 2 for wrong arguments,
        settings or clinical file, 1 for a defect.
    """
    from pdl1es.clinical import ClinicalFileError
    from pdl1es.command_line.supervision import Announcement, announce
    from pdl1es.report.earlier_reports import EarlierReportError
    from pdl1es.run import run_study

    settings = _settings(config)
    if contour_stability is not None:
        settings = settings.model_copy(update={"contour_stability": contour_stability})
    prepare_process(settings.log.level)
    when = _report_time()
    announce(Announcement(output, settings, when))
    try:
        outcome = run_study(
            study,
            output,
            settings=settings,
            model_folder=model,
            clinical_file=clinical,
            earlier_files=earlier or (),
            when=when,
            execute=_executor(context),
        )
    except ClinicalFileError as error:
        raise usage_error(f"--clinical: {error}") from error
    except EarlierReportError as error:
        raise usage_error(f"--earlier: {error}") from error
    with output_may_be_lost():
        if outcome.refusal is not None:
            from pdl1es.command_line.display import show_refusal, show_reports

            show_refusal(outcome.refusal, standard_error())
            if outcome.result is not None:
                show_reports(outcome.result, output, standard_output())
        elif outcome.result is not None:
            from pdl1es.command_line.display import show_result

            show_result(outcome.result, output, standard_output())
    raise typer.Exit(outcome.exit_code)


@app.command()
def inspect(
    study: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Folder with the study.", exists=True, file_okay=False)
    ],
    config: Config = None,
    clinical: Clinical = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for a program; no free text of the study is in it.")
    ] = False,
) -> None:
    """Show which series and which segment would be scored, and why; runs nothing and writes nothing.

    Exit codes: 0 `pdl1es run` would score the study, unless its pixels tell otherwise; 3 it would refuse it.

    \f
    Parameters
    ----------
    study, config, clinical, as_json
        As their help texts say.

    Raises
    ------
    typer.Exit
        Always, with an `ExitCode`: 0 where a tumour would be scored, 3 where the study would be refused, 2 for wrong settings
        or wrong ``--clinical``.
    """
    from pdl1es.clinical import ClinicalFileError
    from pdl1es.errors import Refusal
    from pdl1es.inspection import inspect_folder

    settings = _settings(config)
    prepare_process(settings.log.level)
    try:
        inspection = inspect_folder(study, settings, clinical)
    except ClinicalFileError as error:
        raise usage_error(f"--clinical: {error}") from error
    except Refusal as refusal:
        if as_json:
            from pdl1es.inspection_document import refused_document

            say(refused_document(refusal).text())
        else:
            from pdl1es.command_line.display import show_refusal

            show_refusal(refusal, standard_error())
        raise typer.Exit(ExitCode.REFUSED) from refusal
    with output_may_be_lost():
        if as_json:
            from pdl1es.inspection_document import inspection_document

            say(inspection_document(inspection).text())
        else:
            from pdl1es.command_line.inspection_view import show_inspection

            show_inspection(inspection, standard_output())
    raise typer.Exit(inspection.exit_code)


@app.command()
def phantom(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Folder for the study; made where missing.", file_okay=False)
    ],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same files.")] = 0,
    slice_thickness: Annotated[
        float, typer.Option("--slice-thickness", metavar="MM", min=0.5, max=10.0, help="Slice thickness and spacing.")
    ] = 3.0,
    kernel: Annotated[
        str, typer.Option("--kernel", help="Convolution kernel, as B60f (sharp) or B30f (smooth).")
    ] = "B60f",
    tumour_diameter: Annotated[
        float, typer.Option("--tumour-diameter", metavar="MM", min=4.0, max=80.0, help="Longest axis of the tumour.")
    ] = 30.0,
) -> None:
    """Make a phantom study: a chest CT series of 512 x 512 with a textured lung tumour, its DICOM SEG, and clinical.json.

    \f
    Parameters
    ----------
    output, seed, slice_thickness, kernel, tumour_diameter
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: no manufacturer of that kernel is known, or the study cannot be written.
    """
    from pdl1es.phantom.dicom import make_phantom_study
    from pdl1es.phantom.scanner import manufacturer_of

    try:
        manufacturer_of(kernel)
    except ValueError as error:
        raise usage_error(f"--kernel: {error}") from error
    prepare_process("INFO")
    try:
        with standard_error().status("Making a phantom study ..."):
            made = make_phantom_study(
                output, seed=seed, slice_thickness=slice_thickness, kernel=kernel, tumour_diameter=tumour_diameter
            )
    except OSError as error:
        raise usage_error(f"the study cannot be written: {error.strerror}") from error
    say(f"Phantom study: {made.folder} ({made.true_volume_mm3 / 1000:.1f} mL tumour)")


@app.command(name="self-test")
def self_test(
    context: typer.Context,
    model: Model = DEFAULT_MODELS,
    config: Config = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep what was measured as the expectation, for whoever makes a model.")
    ] = False,
) -> None:
    """Score a phantom study and compare with the score that ships with the model: is this installation whole?

    Exit codes: 0 the scores agree; 1 they differ; 2 the model brings no expected score; 3 the phantom was refused.

    \f
    Parameters
    ----------
    context, model, config, record
        As their help texts say.

    Raises
    ------
    typer.Exit
        Always, with one of the exit codes above.
    """
    from pdl1es.command_line.display import show_refusal, show_self_test
    from pdl1es.errors import Refusal
    from pdl1es.self_test import record_expectation, run_self_test

    settings = _settings(config)
    prepare_process(settings.log.level)
    try:
        outcome = run_self_test(settings, model, execute=_executor(context))
        if record and outcome.measured is not None:
            say(f"recorded: {record_expectation(outcome.measured, model)}")
            raise typer.Exit(ExitCode.REPORT_WRITTEN)
    except Refusal as refusal:
        show_refusal(refusal, standard_error())
        raise typer.Exit(ExitCode.REFUSED) from refusal
    with output_may_be_lost():
        show_self_test(outcome, standard_output())
    raise typer.Exit(outcome.exit_code)


def _executor(context: typer.Context) -> Execute:
    """Return the function that takes a study through the steps: the one given to `command_line`, else plain calls."""
    from pdl1es.run import run_in_python

    return context.obj or run_in_python


def command_names() -> frozenset[str]:
    """Return the names of the commands that need no training."""
    return frozenset(command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands)


def attach_training() -> None:
    """Add the training's commands where they can be imported, which is in a checkout with torch."""
    package = find_spec("training")
    # Another folder named training, as a user's own beside a notebook, has no folder commands.
    if package is None or package.origin is None or not Path(package.origin).with_name("commands").is_dir():
        return
    if find_spec("torch"):
        from training.commands.cli import app as training

        app.add_typer(training)


def attach_gateway() -> None:
    """Add the gateway's commands where its code is; without the packages of the extra ``gateway`` they say what to install."""
    package = find_spec("gateway")
    if package is None or package.origin is None or not Path(package.origin).with_name("steer").is_dir():
        return
    from gateway.steer.cli import app as gateway

    app.add_typer(gateway)


def command_line(arguments: list[str], *, name: str = "pdl1es", execute: Execute | None = None) -> None:
    """Run a command and end the process.

    Parameters
    ----------
    arguments
        Command and its arguments.
    name
        What the help calls the program.
    execute
        What takes a study through the steps; plain calls by default.
    """
    print_in_any_locale()

    def command() -> None:
        app(arguments, prog_name=name, obj=execute)

    if arguments[:1] != ["run"]:
        command()
        return
    from pdl1es.command_line.supervision import supervised

    supervised(command)


def main() -> None:
    """Run the command line ``pdl1es``, with the training's and the gateway's commands where they are installed."""
    limit_blas_threads()
    arguments = sys.argv[1:]
    if command_names().intersection(arguments[:1]):
        collect_garbage_rarely()
        leave_out_what_is_not_used()
    else:
        attach_training()
        attach_gateway()
    command_line(arguments)


if __name__ == "__main__":
    main()
