"""Test and retest: pairs by pseudonym, ICC feature by feature, groups that flip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.prepared import PreparedCohort
from training.controls.retest import Occasion, compare_occasions
from training.reporting.document import report_json
from training.reporting.retest_report import write_retest
from training.scoring.predictions import PredictionsError
from training.statistics.agreement import GroupRepeatability, Repeatability, icc

N = len(FEATURE_NAMES)


def _pair(noise: float, n: int = 30) -> tuple[Occasion, Occasion]:
    rng = np.random.default_rng(0)
    names = tuple(f"case-{k:02d}" for k in range(n))
    score, features = rng.random(n), rng.normal(size=(n, N))
    features[:, 5] = 1.0  # never varies
    again = features + noise * rng.normal(size=features.shape)
    again[:, 5] = 1.0
    first = Occasion(names, score, features)
    order = rng.permutation(n)
    second = Occasion(
        tuple(names[k] for k in order), np.clip(score + noise * rng.normal(size=n) / 10, 0, 1)[order], again[order]
    )
    return first, second


def test_pairs_are_found_by_pseudonym_whatever_the_order() -> None:
    found = compare_occasions(*_pair(0.0), {"expression": 0.5})
    assert found.n == 30
    assert found.unpaired == 0
    assert isinstance(found.score, Repeatability)
    assert found.score.icc.value == pytest.approx(1.0)
    flips = found.groups["expression"]
    assert isinstance(flips, GroupRepeatability)
    assert flips.flipped.numerator == 0


def test_every_feature_has_the_icc_of_its_two_columns() -> None:
    first, second = _pair(0.5)
    found = compare_occasions(first, second, {"expression": 0.5}, selected=FEATURE_NAMES[10:20])
    place = [second.case_ids.index(case) for case in first.case_ids]
    expected = icc(np.column_stack([first.radiomics[:, 7], second.radiomics[place, 7]]))
    name = FEATURE_NAMES[7]
    assert found.feature_icc[name] == pytest.approx(expected.value)
    assert (found.feature_lower[name], found.feature_upper[name]) == pytest.approx((expected.lower, expected.upper))
    assert np.isnan(found.feature_icc[FEATURE_NAMES[5]])
    assert sum(found.features_by_icc.values()) == N
    assert found.features_by_icc["none (nothing varies, or missing)"] == 1
    chosen = [found.feature_icc[feature] for feature in FEATURE_NAMES[10:20]]
    assert found.median_icc_selected == pytest.approx(np.median(chosen))
    assert 0.6 < found.median_icc < 0.95


def test_patients_of_one_occasion_alone_are_counted_and_a_missing_score_leaves_its_pair() -> None:
    first, second = _pair(0.2)
    score = first.score.copy()
    score[0] = np.nan
    fewer = Occasion(first.case_ids[:20], score[:20], first.radiomics[:20])
    found = compare_occasions(fewer, second, {"expression": 0.5})
    assert (found.n, found.unpaired) == (20, 10)
    assert isinstance(found.score, Repeatability)
    assert found.score.n == 19
    assert b"case-" not in report_json(found)


def test_the_scores_of_both_scans_are_kept_by_pseudonym_and_no_report_holds_them(
    tmp_path: Path, cohort: PreparedCohort
) -> None:
    first, second = _pair(0.2)
    found = compare_occasions(first, second, {"expression": 0.5})
    write_retest(tmp_path, cohort, found, {"Model": "m"})
    kept = pd.read_csv(tmp_path / "scores.csv", float_precision="round_trip").set_index("case_id")
    for occasion, column in ((first, "first"), (second, "second")):
        assert kept[column].loc[list(occasion.case_ids)].tolist() == occasion.score.tolist()
    for name in ("report.json", "report.html"):
        assert "case-0" not in (tmp_path / name).read_text()


def test_nobody_scanned_twice_is_an_error_that_says_so() -> None:
    first, second = _pair(0.2)
    stranger = Occasion(("other",), second.score[:1], second.radiomics[:1])
    with pytest.raises(PredictionsError, match="no patient occurs on both occasions"):
        compare_occasions(first, stranger, {})
