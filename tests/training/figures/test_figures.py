"""Figures: what they show is what the results say, and their bytes are the same every time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from lifelines.datasets import load_lung
from matplotlib.figure import Figure
from matplotlib.text import Text

from training.figures import survival
from training.figures.decision import calibration_figure, decision_figure
from training.figures.discrimination import roc_figure, strata_figure
from training.figures.drawing import png_bytes, svg_bytes
from training.figures.flow_chart import FlowChart, flow_chart_figure
from training.figures.survival import cut_off_figure, group_panel, kaplan_meier_figure, notes_of
from training.statistics.calibration import calibration
from training.statistics.classification import youden_cut_off
from training.statistics.decision_curves import decision_curves
from training.statistics.discrimination import auc, roc_curve
from training.statistics.prognosis import compare_groups, fit_risk_model
from training.statistics.strata import stratify
from training.statistics.xtile import search_cut_off

RNG = np.random.default_rng(18)
LABELS = RNG.random(93) < 0.35
SCORES = 1 / (1 + np.exp(-RNG.normal(LABELS * 1.0 - 0.8)))
LUNG = load_lung()
CHART = FlowChart(
    2094, (("Poor CT", 824), ("Incomplete information", 331)), (("Training", 750), ("Validation", 93), ("Test", 96))
)


def _roc() -> Figure:
    models = {"PD-L1ES": (roc_curve(LABELS, SCORES), auc(LABELS, SCORES))}
    return roc_figure({"Validation": models}, youden_cut_off(LABELS, SCORES))


def _strata() -> Figure:
    makers = [*(["GE"] * 40), *(["Siemens"] * 50), "Philips", "Philips", None]
    return strata_figure([stratify("Manufacturer", LABELS, SCORES, makers)], auc(LABELS, SCORES))


def _kaplan_meier() -> Figure:
    groups = compare_groups(LUNG["time"], LUNG["status"], LUNG["sex"] == 1)
    return kaplan_meier_figure({"All": group_panel(groups)}, {"All": notes_of(groups)})


def _cut_off() -> Figure:
    return cut_off_figure(search_cut_off(LUNG["time"], LUNG["status"], LUNG["age"], n_permutations=20), "age, years")


DRAWN: dict[str, Callable[[], Figure]] = {
    "roc": _roc,
    "strata": _strata,
    "kaplan-meier": _kaplan_meier,
    "cut-off": _cut_off,
    "decision": lambda: decision_figure({"Test": decision_curves(LABELS, {"PD-L1ES": SCORES})}),
    "calibration": lambda: calibration_figure({"Test": calibration(LABELS, SCORES, 5)}),
    "flow chart": lambda: flow_chart_figure(CHART),
}


def _text(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(Text)).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_results_give_the_same_bytes(name: str) -> None:
    """Also when a figure is written twice, and whatever a user has set for matplotlib."""
    figure = DRAWN[name]()
    first = svg_bytes(figure, name)
    assert svg_bytes(figure, name) == first
    with mpl.rc_context({"font.size": 20.0, "svg.hashsalt": None}):
        assert svg_bytes(DRAWN[name](), name) == first
    assert b"<dc:date>" not in first
    assert name.encode() in first


def test_png_is_the_same_every_time_too() -> None:
    one, two = (png_bytes(_cut_off(), "cut-off") for _ in range(2))
    assert one == two
    assert one.startswith(b"\x89PNG")
    assert b"Matplotlib" not in one


def test_roc_figure_states_area_interval_and_patients() -> None:
    area = auc(LABELS, SCORES)
    text = _text(_roc())
    assert f"PD-L1ES {area.value:.2f} ({area.lower:.2f}–{area.upper:.2f})" in text
    assert "Validation (n = 93)" in text
    assert "cut-off (Youden)" in text


def test_risk_table_and_notes_are_rs(monkeypatch: pytest.MonkeyPatch) -> None:
    """R 4.2.2, survival 3.5-3: 89 and 35 men, 71 and 30 women at risk on days 180 and 365; medians 270 and 426."""
    monkeypatch.setattr(survival, "DAYS_BETWEEN_COUNTS", 180)
    text = _text(_kaplan_meier()).splitlines()
    assert {"138", "89", "90", "71"} <= set(text)
    assert any("median 270 days against 426 days" in t for t in text)
    assert any("log-rank P = 0.001" in t for t in text)
    assert any("low risk (n = 90, 53 events)" in t for t in text)


@pytest.mark.parametrize("last", [90.0, 719.0, 721.0, 1100.0, 2500.0, 40000.0])
def test_days_never_touch_however_long_the_follow_up(last: float) -> None:
    rng = np.random.default_rng(2)
    time = np.append(rng.uniform(1, last, 59), last)
    groups = compare_groups(time, np.ones(60), np.arange(60) % 2)
    figure = kaplan_meier_figure({"All": group_panel(groups)})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    boxes = [box for box in boxes if box.x1 <= axes.get_window_extent().x1 + 60]
    assert all(one.x1 + 4 < other.x0 for one, other in itertools.pairwise(boxes))
    assert all(float(label.get_text()) % 120 == 0 for label in axes.get_xticklabels())


def test_a_stratum_too_small_for_an_area_is_listed_all_the_same() -> None:
    text = _text(_strata())
    assert "Philips" in text
    assert "too few patients" in text
    assert "Manufacturer, unknown 1" in text


def test_a_cut_offs_figure_states_what_the_search_costs() -> None:
    assert "P 0.0312 uncorrected" in _text(_cut_off())
    fitted = fit_risk_model(LUNG["time"], LUNG["status"], {"age": LUNG["age"]}, n_permutations=5)
    assert "after fit and search" in _text(cut_off_figure(fitted.search, "the linear predictor"))


def test_separated_classes_are_drawn_without_a_slope() -> None:
    text = _text(calibration_figure({"Test": calibration([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 2)}))
    assert "slope none finite" in text


def test_a_group_that_never_reaches_one_half_has_no_median() -> None:
    groups = compare_groups([5, 6, 7, 8], [1, 1, 0, 0], [1, 1, 0, 0])
    assert notes_of(groups)[0] == "no finite hazard ratio"
    assert notes_of(groups)[-1].endswith("against not reached")


def test_flow_chart_counts_add_up_or_are_refused() -> None:
    text = _text(flow_chart_figure(CHART))
    for part in ("Screened (n = 2,094)", "Poor CT (n = 824)", "Included (n = 939)", "Test (n = 96)"):
        assert part in text
    with pytest.raises(ValueError, match="100 screened less the exclusions are 90, the cohorts hold 80"):
        FlowChart(100, (("Poor CT", 10),), (("Training", 80),))


def test_groups_in_which_everybody_or_nobody_is_positive_are_drawn() -> None:
    """Wilson's interval ends at a share of 1 but for rounding, and no bar may have a negative length."""
    for n in range(1, 60):
        found = calibration([0] * n + [1] * n, [0.2] * n + [0.7] * n, 2)
        assert len(calibration_figure({"Test": found}).axes) == 1
