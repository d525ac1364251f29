"""What ``pdl1es inspect`` shows: every series and segment, which would be scored and why, in lines of a terminal's width."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.markup import escape

from pdl1es.command_line.display import show_refusal

if TYPE_CHECKING:
    from rich.console import Console

    from pdl1es.dicom.selection.segment import SegmentCandidate
    from pdl1es.dicom.selection.series import SeriesCandidate
    from pdl1es.dicom.study import Study
    from pdl1es.inspection import Inspection

_INDENT: Final = "     "
_WIDEST: Final = 100


def show_inspection(inspection: Inspection, console: Console) -> None:
    """Show every series and segment of a study, which would be scored, why, and what the report would withhold.

    Parameters
    ----------
    inspection
        Of the study.
    console
        Where to.
    """
    _show_files(inspection.study, console)
    console.print("\n[bold]Series[/]")
    for series in inspection.series:
        _show_series(series, console)
    console.print("\n[bold]Segments[/]")
    for segment in inspection.segments:
        _show_segment(segment, console)
    if not inspection.segments:
        _say(console, "none", _INDENT)
    if inspection.clinical is not None:
        _show_clinical(inspection.clinical.data.sources(), console)
    console.print()
    for warning in inspection.warnings:
        _say(console, f"{warning.code}: {warning.message}", "", label="warning", style="yellow")
    if inspection.refusal is not None:
        show_refusal(inspection.refusal, console)
        return
    if inspection.withheld_by:
        codes = ", ".join(inspection.withheld_by)
        _say(
            console,
            f"the score would be reported without its groups, because of {codes}.",
            "",
            label="withheld",
            style="yellow",
        )
    console.print("[bold green]This study would be scored[/], unless its pixels tell otherwise.")


def _show_files(study: Study, console: Console) -> None:
    facts = [_count(len(study.instances), "DICOM object")]
    if study.unreadable:
        facts.append(f"{_count(len(study.unreadable), 'file')} left out")
    if study.ignored_files:
        facts.append(f"{_count(study.ignored_files, 'other file')} ignored")
    _say(console, ", ".join(facts), "", label="Study", style="bold")
    reasons = Counter(file.reason for file in study.unreadable)
    for reason in sorted(reasons):
        _say(console, f"{reasons[reason]} x {reason}:", "", label="left out", style="yellow")
        for file in study.unreadable:
            if file.reason == reason:
                console.print(_INDENT + escape(file.path), soft_wrap=True, highlight=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _show_series(series: SeriesCandidate, console: Console) -> None:
    facts = [series.modality, _count(series.images, "image")]
    if series.slice_spacing_mm is not None:
        facts += [
            f"kernel {series.kernel or 'not named'} ({series.sharpness})",
            f"every {series.slice_spacing_mm:.2f} mm",
        ]
    if series.tumour_coverage is not None:
        facts.append(f"shows {series.tumour_coverage:.0%} of the tumour's planes")
    number = "no number" if series.series_number is None else f"no. {series.series_number}"
    _show_candidate(
        console, series.chosen, [f"{number}: {', '.join(facts)}", *series.reasons], series.series_instance_uid
    )


def _show_segment(segment: SegmentCandidate, console: Console) -> None:
    lines = [f"{segment.kind} {segment.number}: {segment.label or 'without a label'}"]
    lines += [f"type {segment.property_type}"] if segment.property_type else []
    lines += [f"site {segment.anatomic_region}"] if segment.anatomic_region else []
    _show_candidate(console, segment.chosen, [*lines, segment.reason], segment.sop_instance_uid)


def _show_candidate(console: Console, chosen: bool, lines: list[str], uid: str) -> None:
    first, *others = lines
    if chosen:
        _say(console, first, "", label="  ->", style="bold green")
    else:
        _say(console, first, _INDENT)
    for line in others:
        _say(console, line, _INDENT)
    console.print(f"{_INDENT}{uid}", soft_wrap=True, highlight=False, markup=False)


def _show_clinical(sources: dict[str, str], console: Console) -> None:
    console.print("\n[bold]Clinical data[/]")
    for name, source in sources.items():
        told = "missing: the model imputes it" if source == "missing" else source
        _say(console, f"{name.replace('_', ' ')}: {told}", _INDENT)


def _say(console: Console, text: str, indent: str, *, label: str = "", style: str = "") -> None:
    """Print text in lines that fit the console; no word, and no UID, is broken.

    Parameters
    ----------
    console
        Where to.
    text
        Printed as it is.
    indent
        Before every line.
    label, style
        Stands before the first line, and its style; the other lines are indented as the text.
    """
    first = f"{label} " if label else indent
    following = _INDENT if label else indent
    lines = textwrap.wrap(
        text,
        width=min(console.width, _WIDEST),
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
    for number, line in enumerate(lines):
        shown = f"[{style}]{escape(label)}[/]{escape(line[len(label) :])}" if label and number == 0 else escape(line)
        console.print(shown, soft_wrap=True, highlight=False)
