"""What the command line shows: a result, a refusal, a self-test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pdl1es.model.prediction import score_text
from pdl1es.report.delivery import RESULT_FILE

if TYPE_CHECKING:
    from rich.console import Console

    from pdl1es.errors import Refusal
    from pdl1es.report.result_schema import AssessmentResult, ResultDocument
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
    if result.fhir is not None:
        console.print(f"FHIR: {folder / result.fhir}", highlight=False, soft_wrap=True, markup=False)


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
    table.add_column(no_wrap=True)  # a label that is broken up is no label
    table.add_column(overflow="fold")
    table.add_row(
        escape(assessment.score_name), f"[bold]{score_text(assessment.score)}[/]{_with_other_contours(assessment)}"
    )
    for question, cut in (("PD-L1 expression", groups.expression), ("risk group", groups.risk)):
        table.add_row(question, escape(cut.group or "withheld"))
    table.add_row("tumour", f"{assessment.tumour.volume_ml:.2f} mL, {assessment.tumour.source_voxels} voxels")
    console.print(table)
    for warning in result.warnings:
        console.print(f"[yellow]warning[/] {warning.code}: {escape(warning.message)}", highlight=False, soft_wrap=True)
    show_reports(result, folder, console)
    console.print(f"result: {folder / RESULT_FILE}", highlight=False, soft_wrap=True, markup=False)


def _with_other_contours(assessment: AssessmentResult) -> str:
    """Return the scores' range for contours that differ by 1 mm, to be read after the score; else nothing."""
    stability = assessment.contour_stability
    if stability is None:
        return ""
    scored = sum(variant.score is not None for variant in stability.variants)
    share = "" if scored == len(stability.variants) else f" ({scored} of {len(stability.variants)} could be scored)"
    return f", with contours 1 mm off {score_text(stability.lowest)} to {score_text(stability.highest)}{share}"


def show_self_test(outcome: SelfTest, console: Console) -> None:
    """Show the phantom's score, the expected one, and the conclusion.

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
