"""The report's files."""

from __future__ import annotations

from pathlib import Path

from pdl1es.atomic import write_atomically
from training.reporting.content import ReportContent
from training.reporting.document import report_document, report_json
from training.reporting.page import html_page


def write_report(folder: Path, content: ReportContent) -> None:
    """Write ``report.json`` and ``report.html``, each whole or not at all; the same results give the same bytes.

    Parameters
    ----------
    folder
        Made where it is missing.
    content
        Of the report.
    """
    write_atomically(folder / "report.json", report_json(report_document(content)))
    write_atomically(folder / "report.html", html_page(content).encode("utf-8"))
