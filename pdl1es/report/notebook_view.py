"""A scored tumour as a notebook shows it: score, groups, warnings and the picture of the ROI slice, as HTML."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Final

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.roi_picture import roi_slice_picture

GROUP_NAMES: Final = {
    "expression": "Expression group",
    "risk": "Risk group",
    "clinical_risk": "Risk group by clinical values alone",
    "fusion_risk": "Risk group by score and clinical values",
}


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
    model = assessment.model
    rows = [
        (wording.score_name(model), wording.score_text(assessment.prediction.score)),
        *((GROUP_NAMES[group.name], group.text) for group in wording.reported_groups(assessment)),
        ("Tumour", f"{assessment.tumour.volume_ml:.2f} mL, {assessment.tumour.longest_diameter_mm:.1f} mm"),
    ]
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    warnings = "".join(
        f"<li><code>{escape(warning.code)}</code> {escape(warning.message)}</li>" for warning in assessment.warnings
    )
    return (
        f"<div><p><strong>{escape(wording.notice(model))}</strong></p><table>{table}</table>"
        + (f"<p>Warnings:</p><ul>{warnings}</ul>" if warnings else "<p>No warnings.</p>")
        + f"<p>{escape(wording.NO_SUBSTITUTE)}</p>"
        + f'<img alt="ROI slice with the class activation map" src="data:image/png;base64,{_png(assessment)}"></div>'
    )


def _png(assessment: Assessment) -> str:
    file = io.BytesIO()
    roi_slice_picture(assessment).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
