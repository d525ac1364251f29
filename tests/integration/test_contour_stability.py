"""What a reader is promised of contour stability: the score's interval over contours that differ by 1 mm."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from pdl1es import chain, load_model, read_tumour
from pdl1es.chain import PlausibleTumour, predict_volume, vary_contour
from pdl1es.clinical import MISSING, ClinicalData
from pdl1es.command_line.display import show_result
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.memory import estimated_bytes
from pdl1es.grid.contours import contour_variants
from pdl1es.model.fusion import FusionModel
from pdl1es.model.metadata import CutOff
from pdl1es.settings import Settings
from pdl1es.stability import (
    BORDERLINE_LOG_ODDS,
    ContourStability,
    contour_warning,
    log_odds,
    stability_wanted,
)
from pdl1es.stopwatch import Stopwatch
from tests.integration.chain_runs import Score, Scored

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

CLINICAL = ClinicalData(MISSING, MISSING, MISSING, MISSING)
CUT_OFF = CutOff(value=0.66, method="X-tile", above="high risk", below="low risk")


@pytest.fixture(scope="module")
def model() -> FusionModel:
    return load_model()


@pytest.fixture(scope="module")
def phantom(phantom_study: PhantomStudy) -> PlausibleTumour:
    return read_tumour(phantom_study.folder)


@pytest.fixture(scope="module")
def scored(phantom_study: PhantomStudy, score: Score, settings: Settings) -> Scored:
    """Scored as the settings that ship say."""
    return score(phantom_study.folder, contour_stability=settings.contour_stability)


def test_the_interval_holds_the_score_and_stands_in_result_and_report(
    phantom_study: PhantomStudy, score: Score, scored: Scored
) -> None:
    plain = score(phantom_study.folder).result["assessment"]
    assert plain["contour_stability"] is None
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
    assert scored.result["seconds"]["contour_stability"] > 0


def test_the_command_line_prints_the_range_behind_the_score(scored: Scored) -> None:
    printed = io.StringIO()
    assert scored.outcome.result is not None
    show_result(scored.outcome.result, scored.folder, Console(file=printed, width=200))
    assessment = scored.result["assessment"]
    interval = assessment["contour_stability"]
    expected = (
        f"{assessment['score']:.3f}, with contours 1 mm off {interval['lowest']:.3f} to {interval['highest']:.3f}"
    )
    assert expected in printed.getvalue()


def test_the_score_has_its_whole_label_on_one_line_of_a_narrow_terminal(scored: Scored) -> None:
    printed = io.StringIO()
    assert scored.outcome.result is not None
    show_result(scored.outcome.result, scored.folder, Console(file=printed, width=80))
    assessment = scored.result["assessment"]
    (line,) = (line for line in printed.getvalue().splitlines() if assessment["score_name"] in line)
    assert f"{assessment['score']:.3f}" in line
    assert len(line) <= 80


def assert_every_score_is_that_contours_own(model: FusionModel, tumour: PlausibleTumour) -> None:
    prediction = predict_volume(model, tumour.volume, CLINICAL)
    together = vary_contour(model, tumour.volume, CLINICAL, prediction)
    assert together is not None
    alone = {
        variant.name: None if variant.volume is None else predict_volume(model, variant.volume, CLINICAL).score
        for variant in contour_variants(tumour.volume)
    }
    assert {variant.contour: variant.score for variant in together.variants} == alone


def test_every_score_is_the_one_that_its_contour_has_alone_to_the_last_bit(
    model: FusionModel, phantom: PlausibleTumour
) -> None:
    assert_every_score_is_that_contours_own(model, phantom)


def test_the_real_cases_scores_are_those_that_each_contour_has_alone(model: FusionModel, shared_data: Path) -> None:
    assert_every_score_is_that_contours_own(model, read_tumour(shared_data / "ct_4dlung113"))


def test_with_little_memory_or_one_core_the_scores_are_the_same(
    model: FusionModel, phantom: PlausibleTumour, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = phantom.volume
    prediction = predict_volume(model, volume, CLINICAL)
    usual = vary_contour(model, volume, CLINICAL, prediction)
    enough_for_one = int(1.5 * estimated_bytes(volume.hu, volume.mask))
    assert vary_contour(model, volume, CLINICAL, prediction, memory_bytes=enough_for_one) == usual
    monkeypatch.setattr(chain.os, "sched_getaffinity", lambda process: {0})
    assert vary_contour(model, volume, CLINICAL, prediction) == usual


def test_no_contour_is_begun_after_the_time_of_the_run(model: FusionModel, phantom: PlausibleTumour) -> None:
    prediction = predict_volume(model, phantom.volume, CLINICAL)
    with pytest.raises(Refusal) as refused:
        vary_contour(model, phantom.volume, CLINICAL, prediction, watch=Stopwatch(limit_seconds=0.0))
    assert refused.value.code is RefusalCode.LIMIT_EXCEEDED


@pytest.mark.parametrize(("lowest", "highest", "warned"), [(0.5, 0.65, False), (0.6, 0.7, True), (0.67, 0.7, False)])
def test_a_warning_tells_where_the_contour_decides_the_group(lowest: float, highest: float, warned: bool) -> None:
    warning = contour_warning(ContourStability((), lowest, highest), CUT_OFF, "the risk group")
    assert (warning is not None) == warned
    if warning is not None:
        assert warning.code == "CONTOUR_DECIDES"
        assert "0.600 to 0.700" in warning.message


@pytest.mark.parametrize("distance", [-1.001, -0.999, 0.0, 0.999, 1.001])
def test_borderline_asks_within_its_distance_of_a_cut_off_and_not_beyond(distance: float) -> None:
    odds = log_odds(CUT_OFF.value) + distance * BORDERLINE_LOG_ODDS
    score = 1 / (1 + 2.718281828459045**-odds)
    far = CutOff(value=1e-9, method="X-tile", above="high risk", below="low risk")
    assert stability_wanted("borderline", score, (far, CUT_OFF)) == (abs(distance) < 1)
    assert stability_wanted("on", score, (far, CUT_OFF))
    assert not stability_wanted("off", score, (far, CUT_OFF))


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_score_of_0_or_1_is_never_borderline(score: float) -> None:
    assert not stability_wanted("borderline", score, (CUT_OFF,))


def test_a_score_far_from_the_cut_offs_is_not_varied_where_the_settings_say_borderline(
    model: FusionModel, phantom: PlausibleTumour
) -> None:
    prediction = predict_volume(model, phantom.volume, CLINICAL)
    for sure in (0.01, 0.99):
        assert vary_contour(model, phantom.volume, CLINICAL, replace(prediction, score=sure), mode="borderline") is None
    near = replace(prediction, score=model.metadata.progression_cut_off.value)
    assert vary_contour(model, phantom.volume, CLINICAL, near, mode="borderline") is not None
