"""What `pdl1es gateway show` and `studies` say of a study's runs, results and deliveries, in lines for a person.

Every time is UTC and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from gateway.send.delivery_tables import DeliveryDetail
from gateway.steer.overview import NOT_RUN_AGAIN, REMOVED, StudyOverview
from gateway.workflow.results import ResultNote
from gateway.workflow.runs import RunNote
from gateway.workflow.settings import RunRules, wait_before
from pdl1es.report.delivery import RESULT_FILE
from pdl1es.report.result_schema import ResultDocument

_HEADS: Final = ("hash", "last object came", "objects", "state", "result")
_BY: Final = {"retention": "by the retention rules", "person": "by a person", "": "before"}
_WIDTHS: Final = (16, 25, 7, 24, 0)


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    Parameters
    ----------
    count
        How many.
    one, many
        The noun for one and for several; with an ``s`` where it is left out.

    Returns
    -------
    str
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def studies_in_lines(studies: Sequence[StudyOverview]) -> Iterator[str]:
    """Give a table of studies, with heads.

    Parameters
    ----------
    studies
        Which.

    Yields
    ------
    str
    """
    yield _row(_HEADS)
    for one in studies:
        yield _row((one.hash, _time(one.last_received_at), str(one.objects), one.state, one.result))
    if any("withheld" in one.result for one in studies):
        yield "what is withheld is sent by `pdl1es gateway resend STUDY` when its reason is gone, and never by itself"


def study_in_lines(one: StudyOverview, rules: RunRules) -> Iterator[str]:
    """Give lines on a study's runs, results and deliveries.

    Parameters
    ----------
    one
        The study.
    rules
        Section ``runs``: how long a run waits for its next try.

    Yields
    ------
    str
    """
    for defect in one.defects:
        yield (
            f"{defect}; {counted(defect.attempts, 'failure')} since {_time(defect.since)}, the last {_time(defect.last_at)}; "
            "tried again by itself; the log has the places"
        )
    for run in one.runs:
        yield _run(run, rules)
    for note in one.results:
        yield _result(note)
        if note.superseded_by or note.purged:  # of the current one, more is said (`gateway.steer.resending`)
            for line in note.withheld:
                yield f"  was withheld from {line}"
    for detail in one.deliveries:
        yield from _delivery(detail)
    if one.objects and one.state in REMOVED:
        yield f"{one.state}; the study came again since. {NOT_RUN_AGAIN}"


def came_from(one: StudyOverview) -> str:
    """Return by which sources, and from which AE titles, a study came; empty where nothing of it is here."""
    return "; ".join(f"{source}, sent by {title}" if title else source for source, title in one.senders)


def _row(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:{width}s}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _time(when: datetime | None) -> str:
    return "" if when is None else when.isoformat(timespec="seconds")


def _run(run: RunNote, rules: RunRules) -> str:
    took = "" if run.seconds is None else f", {run.seconds:.2f} s"
    tries = counted(run.attempts, "try", "tries")
    times = f"asked for {_time(run.created_at)}, last change {_time(run.updated_at)}"
    said = f"run {run.input.digest[:12]}: {run.state}, round {run.round}, {tries}{took}; {times}"
    if run.state == "again":
        # Its next round is its current one already, and was put into the queue at the last change.
        next_at = run.updated_at + timedelta(seconds=wait_before(run.round, rules))
        said = f"{said}, next try {_time(next_at)}"
    if not run.reason:
        return said
    return f"{said}; {'former try: ' if run.state in ('queued', 'running') else ''}{run.reason}"


def _result(note: ResultNote) -> str:
    stored = note.result
    current = f"superseded by {note.superseded_by[:12]}" if note.superseded_by else "current"
    gone = f", files removed {_BY[note.removed_by]}" if note.purged else ""
    return f"result {stored.digest[:12]}: {_outcome(note)}, {current}{gone}; stored {_time(note.created_at)}"


def _outcome(note: ResultNote) -> str:
    stored = note.result
    if stored.refusal:
        return stored.refusal
    score = "scored" if stored.score is None else f"scored {stored.score:.4f}"
    return f"{score}, {f'group {stored.group}' if stored.group else f'group withheld{_why_no_group(note)}'}"


def _why_no_group(note: ResultNote) -> str:
    """Return the codes of the warnings that withhold the group, and the reason in words, from ``result.json``."""
    try:
        document = ResultDocument.model_validate_json((note.result.folder / RESULT_FILE).read_bytes())
    except (OSError, ValueError):  # removed, or damaged: sending it would tell
        return ""
    reason = "" if document.assessment is None else document.assessment.groups.withheld or ""
    codes = ", ".join(dict.fromkeys(one.code for one in document.warnings if one.effect == "withhold_group"))
    said = ": ".join(part for part in (codes, reason.removesuffix(".")) if part)
    return f" ({said})" if said else ""


def _delivery(detail: DeliveryDetail) -> Iterator[str]:
    sent = detail.delivery
    confirmed = f" ({detail.confirmed_by})" if detail.confirmed_by else ""
    yield (
        f"delivery {sent.digest[:12]} to {sent.destination}: {sent.state}{confirmed}, "
        f"{counted(sent.attempts, 'attempt')} in all; of {', '.join(detail.kinds)}"
    )
    yield f"  begun or asked for again {_time(detail.created_at)}"
    if detail.failures:
        yield f"  {counted(detail.failures, 'failure')} since then; the last: {sent.last_error}"
    elif sent.last_error:
        yield f"  {sent.last_error}"
    if detail.receipt is not None:
        yield f"  taken {_time(detail.receipt.sent_at)}"
    if sent.next_at is not None:
        yield f"  {'next try' if sent.state == 'waiting' else 'looked at again'} {_time(sent.next_at)}"
    if detail.finished_at is not None:
        yield f"  ended {_time(detail.finished_at)}"
