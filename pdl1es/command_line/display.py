"""What the command line shows: a result, a refusal, or what would be selected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from pdl1es.report.delivery import RESULT_FILE

if TYPE_CHECKING:
    from rich.console import Console

    from pdl1es.dicom.selection.survey import Survey
    from pdl1es.dicom.study import Study
    from pdl1es.errors import Refusal
    from pdl1es.report.result_schema import ResultDocument
    from pdl1es.self_test import SelfTest


def show_refusal(refusal: Refusal, console: Console) -> None:
    """Show why a study was turned away, and what to do about it.

    Parameters
    ----------
    refusal
        Why.
    console
        Where to.
    """
    console.print(f"[bold red]Refused[/] [bold]{refusal.code.name}[/]: {escape(refusal.found)}", highlight=False)
    if refusal.tag:
        value = refusal.value if refusal.value is not None else "absent"
        console.print(f"  attribute  {escape(refusal.tag)} = {escape(value)}", highlight=False)
    if refusal.uid:
        console.print(f"  object     {refusal.uid}", highlight=False, soft_wrap=True)
    console.print(f"  remedy     {escape(refusal.remedy)}", highlight=False)


def show_reports(result: ResultDocument, folder: Path, console: Console) -> None:
    """Show where the reports lie.

    Parameters
    ----------
    result
        Names them.
    folder
        The output folder.
    console
        Where to.
    """
    for report in result.reports:
        console.print(f"{report.kind.upper()}: {folder / report.file}", highlight=False, soft_wrap=True, markup=False)


def show_result(result: ResultDocument, folder: Path, console: Console) -> None:
    """Show score, groups, warnings and where the report lies.

    Parameters
    ----------
    result
        Of a scored study.
    folder
        The output folder.
    console
        Where to.
    """
    assessment = result.assessment
    if assessment is None:
        return
    groups = assessment.groups
    console.print(f"[bold]{escape(assessment.notice)}[/]", highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row(escape(assessment.score_name), f"[bold]{assessment.score:.3f}[/]")
    for question, cut in (("PD-L1 expression", groups.expression), ("risk group", groups.risk)):
        table.add_row(question, escape(cut.group or groups.withheld or "withheld"))
    table.add_row("tumour", f"{assessment.tumour.volume_ml:.2f} mL, {assessment.tumour.source_voxels} voxels")
    console.print(table)
    for warning in result.warnings:
        console.print(f"[yellow]warning[/] {warning.code}: {escape(warning.message)}", highlight=False, soft_wrap=True)
    show_reports(result, folder, console)
    console.print(f"result: {folder / RESULT_FILE}", highlight=False, soft_wrap=True, markup=False)


def show_self_test(outcome: SelfTest, console: Console) -> None:
    """Show what the phantom gave, what it should give, and what follows.

    Parameters
    ----------
    outcome
        Of the self-test.
    console
        Where to.
    """
    if outcome.measured is None:
        if outcome.refusal is not None:
            show_refusal(outcome.refusal, console)
        console.print("[bold red]FAILED[/]: the phantom study could not be scored", highlight=False)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("score of the phantom", f"{outcome.measured.score:.9f}")
    if outcome.expected is not None:
        table.add_row("expected", f"{outcome.expected.score:.9f}")
        table.add_row("difference", f"{outcome.difference:.1e} (at most {outcome.expected.tolerance:.0e})")
        table.add_row("voxels", f"{outcome.measured.source_voxels}, expected {outcome.expected.source_voxels}")
    table.add_row("model", f"sha256 {outcome.measured.model_sha256}")
    table.add_row("run by", outcome.provider)
    console.print(table)
    if outcome.expected is None:
        console.print("[yellow]NOT COMPARED[/]: this model brings no expected score of its own", highlight=False)
    elif outcome.exit_code == 0:
        console.print("[bold green]PASSED[/]", highlight=False)
    else:
        console.print("[bold red]FAILED[/]: this installation does not score as its maker's does", highlight=False)


def show_survey(study: Study, survey: Survey, console: Console) -> None:
    """Show every series and segment of a study, which would be scored, and why.

    Parameters
    ----------
    study
        What the folder holds.
    survey
        What the rules make of it.
    console
        Where to.
    """
    series = Table(title="Series", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("", "no.", "kind", "images", "kernel", "spacing", "tumour", "why", "series UID"):
        series.add_column(column, overflow="fold")
    for candidate in survey.candidates:
        series.add_row(
            "[bold green]->[/]" if candidate.chosen else "",
            "" if candidate.series_number is None else str(candidate.series_number),
            escape(candidate.modality),
            str(candidate.images),
            "" if candidate.modality != "CT" else escape(f"{candidate.kernel or 'none'} ({candidate.sharpness})"),
            "" if candidate.slice_spacing_mm is None else f"{candidate.slice_spacing_mm:.2f} mm",
            "" if candidate.tumour_coverage is None else f"{candidate.tumour_coverage:.0%}",
            escape("; ".join(candidate.reasons)),
            "..." + candidate.series_instance_uid[-12:],
        )
    console.print(series)
    segments = Table(title="Segments", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("", "no.", "label", "type", "site", "why", "UID"):
        segments.add_column(column, overflow="fold")
    for segment in survey.segments:
        segments.add_row(
            "[bold green]->[/]" if segment.chosen else "",
            f"{segment.kind} {segment.number}",
            escape(segment.label),
            escape(segment.property_type or ""),
            escape(segment.anatomic_region or ""),
            escape(segment.reason),
            "..." + segment.sop_instance_uid[-12:],
        )
    console.print(segments)
    for unreadable in study.unreadable:
        console.print(f"[yellow]left out[/] {escape(unreadable.path)}: {escape(unreadable.reason)}", highlight=False)
    if study.ignored_files:
        console.print(f"{study.ignored_files} files that are not DICOM were ignored", highlight=False)
    if survey.selection is not None:
        for warning in survey.selection.warnings:
            console.print(f"[yellow]warning[/] {warning.code}: {escape(warning.message)}", highlight=False)
        console.print("[bold green]This study would be scored[/], unless its pixels tell otherwise.", highlight=False)
    if survey.refusal is not None:
        show_refusal(survey.refusal, console)
