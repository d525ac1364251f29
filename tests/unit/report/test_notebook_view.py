"""A result in a notebook: what is shown, and that no text of a file becomes HTML."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from pdl1es.report.notebook_view import notebook_view
from pdl1es.report.roi_picture import roi_pictures
from pdl1es.score_warning import ScoreWarning
from tests.report_cases import SMOOTH, metadata, report_case


def test_score_groups_and_warnings_are_shown_under_the_notice() -> None:
    assessment = report_case().assessment
    shown = notebook_view(assessment)
    assert shown.index("DEMONSTRATION MODEL") < shown.index(f"{assessment.prediction.score:.3f}")
    for text in (assessment.expression_group, assessment.risk_group):
        assert text is not None
        assert f"<td>{text}</td>" in shown
    assert "THICK_SLICES" in shown
    assert "no substitute for immunohistochemistry" in shown


def test_a_withheld_group_says_why() -> None:
    shown = notebook_view(report_case(warnings=(SMOOTH,)).assessment)
    assert shown.count("The CT was reconstructed with the smooth kernel B30f") == 1


def test_the_picture_is_the_roi_slice_of_the_class_activation_map() -> None:
    assessment = report_case().assessment
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', notebook_view(assessment))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(picture, roi_pictures(assessment)[0])


@pytest.mark.parametrize("place", ["group", "warning"])
def test_no_text_becomes_html(place: str) -> None:
    hostile = '<script>alert("1")</script>&<img src=x onerror=alert(1)>'
    model = metadata()
    if place == "group":
        cut_off = model.expression_cut_off.model_copy(update={"above": hostile, "below": hostile})
        assessment = report_case(model=model.model_copy(update={"expression_cut_off": cut_off})).assessment
    else:
        assessment = report_case(warnings=(ScoreWarning("KERNEL_UNKNOWN", hostile),)).assessment
    shown = notebook_view(assessment)
    assert "<script" not in shown
    assert shown.count("<img ") == 1
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&lt;img" in shown
