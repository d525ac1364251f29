"""A scored tumour as a notebook shows it: score, groups, warnings and the picture of the ROI slice, as HTML."""

from __future__ import annotations

import base64
import io
from html import escape

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.roi_picture import roi_slice_picture
from pdl1es.report.statements import in_section, report_statements
from pdl1es.report.summary import further_warnings


def notebook_view(assessment: Assessment) -> str:
    """Return HTML without scripts or links.

    Parameters
    ----------
    assessment
        What is shown. No name, id or date of the patient is in it.

    Returns
    -------
    str
        Every text is escaped: the model's words, and messages that quote an attribute of the images.
    """
    statements = report_statements(assessment)
    first = [statement.text for statement in statements if statement.section in ("notice", "summary")]
    rows = [
        (statement.label, statement.words)
        for statement in (*in_section(statements, "result"), *in_section(statements, "tumour"))
    ]
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    warnings = "".join(
        f"<li><code>{escape(warning.code)}</code> {escape(warning.message)}</li>"
        for warning in further_warnings(assessment)
    )
    return (
        f"<div><p><strong>{escape(first[0])}</strong></p><p>{escape(' '.join(first[1:]))}</p><table>{table}</table>"
        + (f"<p>Warnings:</p><ul>{warnings}</ul>" if warnings else "")
        + f"<p>{escape(wording.NO_SUBSTITUTE)}</p>"
        + f'<img alt="ROI slice with the class activation map" src="data:image/png;base64,{_png(assessment)}"></div>'
    )


def _png(assessment: Assessment) -> str:
    file = io.BytesIO()
    roi_slice_picture(assessment).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
