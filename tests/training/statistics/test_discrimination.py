"""Discrimination: pROC 1.18 gives the same numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from training.statistics.discrimination import (
    auc,
    compare_paired,
    delong_covariance,
    hanley_mcneil_variance,
    newcombe_interval,
    roc_curve,
)

MARKERS = {"r1": "s100b", "r2": "ndka", "r3": "wfns"}


@pytest.fixture(scope="module")
def proc(reference: Path) -> str:
    return (reference / "pROC_reference.txt").read_text()


@pytest.mark.parametrize("curve", MARKERS)
def test_area_and_variance_are_those_of_proc_and_the_interval_is_its_on_the_scale_of_log_odds(
    subarachnoid: pd.DataFrame, proc: str, curve: str
) -> None:
    line = next(row for row in proc.splitlines() if row.startswith(f"{curve} auc"))
    area, variance, lower, _, upper = (float(x) for x in re.findall(r"\d\.\d+", line))
    ours = auc(subarachnoid["poor"], subarachnoid[MARKERS[curve]])
    assert [ours.value, ours.variance] == pytest.approx([area, variance], rel=1e-6)
    # pROC's is area +- half; by the delta method the log-odds have half / (area (1 - area))
    half = (upper - lower) / 2 / (area * (1 - area))
    expected = [1 / (1 + np.exp(-(np.log(area / (1 - area)) + side * half))) for side in (-1, 1)]
    assert [ours.lower, ours.upper] == pytest.approx(expected, rel=1e-6)
    assert (ours.n_positive, ours.n_negative) == (41, 72)


def test_paired_delong_test_is_that_of_proc(subarachnoid: pd.DataFrame, proc: str) -> None:
    printed = [[float(x) for x in row] for row in re.findall(r"^Z (\S+) p (\S+)", proc, flags=re.MULTILINE)]
    first = subarachnoid["s100b"]
    found = {m: compare_paired(subarachnoid["poor"], first, subarachnoid[m]) for m in ("wfns", "ndka")}
    assert [[c.statistic, c.p_value] for c in found.values()] == [pytest.approx(row, rel=1e-6) for row in printed]
    covariances = re.search(r"cov r1 r2 (\S+) r1 r3 (\S+)", proc)
    assert covariances is not None
    assert found["ndka"].covariance == pytest.approx(float(covariances[1]), rel=1e-6)
    assert found["wfns"].covariance == pytest.approx(float(covariances[2]), rel=1e-6)


def test_interval_of_the_paired_difference_is_that_of_proc(subarachnoid: pd.DataFrame, proc: str) -> None:
    lower, upper = (float(x) for x in re.findall(r"^ (-\S+)\s+(\S+)$", proc, flags=re.MULTILINE)[0])
    found = compare_paired(subarachnoid["poor"], subarachnoid["s100b"], subarachnoid["ndka"]).difference
    assert [found.lower, found.upper] == pytest.approx([lower, upper], rel=1e-6)


def test_area_with_ties_is_that_of_scikit_learn_and_of_mann_whitney() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(200) < 0.35
    scores = np.round(rng.normal(labels * 0.7), 1)
    expected = roc_auc_score(labels, scores)
    assert auc(labels, scores).value == pytest.approx(expected, rel=1e-12)
    u = mannwhitneyu(scores[labels], scores[~labels]).statistic
    assert expected == pytest.approx(u / (labels.sum() * (~labels).sum()), rel=1e-12)


def test_curve_has_scikit_learns_points_and_its_area() -> None:
    rng = np.random.default_rng(2)
    labels = rng.random(80) < 0.5
    scores = np.round(rng.normal(labels * 1.0), 1)
    curve = roc_curve(labels, scores)
    fpr, tpr, _ = sklearn_roc_curve(labels, scores, drop_intermediate=False)
    assert np.allclose(np.sort(1 - curve.specificity), fpr)
    assert np.allclose(np.sort(curve.sensitivity), tpr)
    area = np.trapezoid(curve.sensitivity[::-1], (1 - curve.specificity)[::-1])
    assert area == pytest.approx(auc(labels, scores).value)


def test_delong_interval_covers_the_true_area_in_about_95_of_100_cohorts() -> None:
    """Binormal scores one deviation apart have the area Phi(1 / root 2) = 0.760."""
    rng = np.random.default_rng(3)
    truth = 0.7602499389065233
    labels = np.repeat([1, 0], [34, 62])
    covered = [
        found.lower <= truth <= found.upper
        for found in (auc(labels, rng.normal(size=96) + labels) for _ in range(1000))
    ]
    assert 0.92 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(("n_positive", "n_negative", "truth"), [(4, 8, 0.9), (5, 20, 0.75), (10, 10, 0.97)])
def test_the_interval_of_a_few_patients_covers_the_true_area_too(
    n_positive: int, n_negative: int, truth: float
) -> None:
    """DeLong's on the area's own scale covers 75, 85 and 67 of 100."""
    rng = np.random.default_rng(8)
    apart = norm.ppf(truth) * 2**0.5
    labels = np.repeat([1, 0], [n_positive, n_negative])
    drawn = (auc(labels, rng.normal(size=labels.size) + apart * labels) for _ in range(600))
    assert 0.93 <= np.mean([found.lower <= truth <= found.upper for found in drawn]) <= 0.985


def test_an_area_without_variance_has_an_interval() -> None:
    for n in (3, 10, 200):
        perfect, useless = auc([0] * n + [1] * n, range(2 * n)), auc([0, 1] * n, [0.3] * 2 * n)
        assert (perfect.value, perfect.variance, perfect.upper) == (1, 0, 1)
        assert 0 < perfect.lower < 1
        assert useless.lower < 0.5 < useless.upper
        worst = auc([1] * n + [0] * n, range(2 * n))
        assert [worst.lower, worst.upper] == pytest.approx([0, 1 - perfect.lower], abs=1e-12)
    widths = [newcombe_interval(1.0, n, n)[0] for n in (3, 10, 200)]
    assert widths == sorted(widths)


def test_newcombes_interval_holds_the_areas_whose_variance_reaches_the_one_found() -> None:
    """The definition, at both limits: the distance is 1.96 of Hanley and McNeil's error with the sizes' mean in it."""
    for area, m, n in ((0.8, 6, 14), (0.55, 10, 10)):
        for limit in newcombe_interval(area, m, n):
            mean = (m + n) / 2
            variance = hanley_mcneil_variance(limit, mean, mean) * mean**2 / (m * n)
            assert abs(area - limit) == pytest.approx(norm.ppf(0.975) * variance**0.5, rel=1e-8)


def test_the_same_scores_do_not_differ() -> None:
    labels, scores = [0, 0, 1, 1, 1], [0.1, 0.4, 0.3, 0.6, 0.9]
    found = compare_paired(labels, scores, [10 * s for s in scores])
    assert (found.statistic, found.p_value, found.difference.value) == (0.0, 1.0, 0.0)


def test_a_difference_without_variance_has_no_p_value() -> None:
    found = compare_paired([0, 0, 1, 1], [1, 2, 3, 4], [5, 5, 5, 5])
    assert found.difference.value == 0.5
    assert np.isnan(found.p_value)


def test_constant_scores_have_an_area_of_one_half() -> None:
    assert auc([0, 1, 0, 1], [0.3] * 4).value == 0.5


def test_turning_the_score_round_turns_the_area_round() -> None:
    rng = np.random.default_rng(4)
    labels, scores = rng.random(60) < 0.4, rng.normal(size=60)
    one, two = auc(labels, scores), auc(labels, -scores)
    assert one.value + two.value == pytest.approx(1)
    assert one.variance == pytest.approx(two.variance)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1, 1], [0.1, 0.2, 0.3], "2 of each class"),
        ([0, 0, 1], [0.1, 0.2, 0.3], "2 of each class"),
        ([0, 1, 0, 1], [0.1, np.nan, 0.3, 0.4], "missing or infinite"),
        ([0, 1, 0, 1], [0.1, 0.2, 0.3], "3 values where the other columns have 4"),
        ([0, 1, 2, 1], [0.1, 0.2, 0.3, 0.4], "0 and 1 only, got 2"),
        ([0, 1, 0, 1], ["a", "b", "c", "d"], None),
        ([], [], "at least one value"),
    ],
)
def test_unfit_columns_are_refused(labels: list[int], scores: list[float], message: str | None) -> None:
    with pytest.raises(ValueError, match=message):
        auc(labels, scores)


def test_covariance_of_many_models_agrees_with_each_pair() -> None:
    rng = np.random.default_rng(5)
    labels = rng.random(50) < 0.5
    scores = rng.normal(size=(3, 50)) + labels
    areas, covariance = delong_covariance(labels, scores)
    pair = compare_paired(labels, scores[0], scores[2])
    assert areas[2] == pytest.approx(pair.second.value)
    assert covariance[0, 2] == pytest.approx(pair.covariance)


def test_hanley_and_mcneils_variance_is_near_delongs() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat([1, 0], [300, 600])
    found = auc(labels, rng.normal(size=900) + labels)
    assert hanley_mcneil_variance(found.value, 300, 600) == pytest.approx(found.variance, rel=0.15)
