"""What a reader is promised of contour stability: the score's interval over contours that differ by 1 mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdl1es.model.metadata import CutOff
from pdl1es.stability import ContourStability, contour_warning
from tests.integration.chain_runs import Score

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


def test_the_interval_holds_the_score_and_stands_in_result_and_report(
    phantom_study: PhantomStudy, score: Score
) -> None:
    plain = score(phantom_study.folder).result["assessment"]
    assert plain["contour_stability"] is None
    scored = score(phantom_study.folder, contour_stability=True)
    assessment = scored.result["assessment"]
    interval = assessment["contour_stability"]
    assert assessment["score"] == plain["score"]
    assert interval["lowest"] <= plain["score"] <= interval["highest"]
    scores = [variant["score"] for variant in interval["variants"]]
    assert len(scores) == 8
    assert len(set(scores)) == 8, "every contour gives a score of its own"
    told = scored.report.to_json()
    assert "Lowest score with the contour changed by 1 mm" in told
    assert "Highest score with the contour changed by 1 mm" in told


@pytest.mark.parametrize(("lowest", "highest", "warned"), [(0.5, 0.65, False), (0.6, 0.7, True), (0.67, 0.7, False)])
def test_a_warning_tells_where_the_contour_decides_the_group(lowest: float, highest: float, warned: bool) -> None:
    cut_off = CutOff(value=0.66, method="X-tile", above="high risk", below="low risk")
    warning = contour_warning(ContourStability((), lowest, highest), cut_off, "the risk group")
    assert (warning is not None) == warned
    if warning is not None:
        assert warning.code == "CONTOUR_DECIDES"
        assert "0.60 to 0.70" in warning.message
