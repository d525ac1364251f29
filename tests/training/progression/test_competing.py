"""Progression and death before it: from the table's column to the report."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenJohansenFitter

from tests.training.drawn_patients import draw_cohort, imputed
from training.cohort.prepared import PreparedCohort
from training.cohort.table import read_cohort
from training.progression.analyse import NO_SCORE, analyse
from training.progression.competing import DEATH, NO_CAUSES, PROGRESSION, CompetingRisks, competing_risks
from training.progression.followed import followed_cohort
from training.progression.results import Prognosis, PrognosisSettings
from training.progression.unscored import followed_table
from training.reporting.content import ReportContent
from training.reporting.page import html_page
from training.reporting.progression_figures import prognosis_figures
from training.reporting.report import write_report
from training.statistics.competing_risks import CompetingComparison
from training.statistics.estimability import NotEstimable
from training.statistics.fine_gray import SubdistributionModel, fine_gray

QUICK = PrognosisSettings(permutations=2, resamples=5, cut_off_resamples=5)


def _with_causes(n: int = 160) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw patients of whom every third event is a death, the others are progressions."""
    cases, predictions = draw_cohort({None: n}, seed=9)
    events = np.cumsum(cases["progressed"] == 1)
    cause = pd.Series(np.where(events % 3 == 0, "death", "progression")).where(cases["progressed"] == 1, None)
    return cases.assign(event_cause=cause), predictions.probability["PD-L1ES"]


@pytest.fixture(scope="module")
def prognosis() -> Prognosis:
    cases, score = _with_causes()
    return analyse(followed_cohort(cases, score, imputed(cases)), QUICK)


def _reason(cases: pd.DataFrame) -> str:
    with pytest.raises(ValueError, match="event") as raised:
        competing_risks(followed_cohort(cases, None, imputed(cases)), {}, NO_SCORE, {}, (180.0,))
    return str(raised.value)


def test_incidences_by_group_are_lifelines() -> None:
    """Aalen and Johansen's, on times without ties, where lifelines moves none of them."""
    cases, score = _with_causes()
    times = cases["pfs_days"] + np.arange(len(cases)) / 1000
    cohort = followed_cohort(cases.assign(pfs_days=times), score, imputed(cases))
    found = competing_risks(cohort, {"median": float(np.median(score))}, score, {}, (180.0,))
    groups = found.groupings["median"][PROGRESSION]
    assert isinstance(groups, CompetingComparison)
    upper = score > np.median(score)
    status = cases["event_cause"].map({"progression": 1, "death": 2}).fillna(0).astype(int)
    for side, rows in ((groups.upper, upper), (groups.lower, ~upper)):
        fitted = AalenJohansenFitter(calculate_variance=False).fit(times[rows], status[rows], event_of_interest=1)
        for at in (100, 180, 365):
            assert side.at(at).value == pytest.approx(float(fitted.predict(at)), abs=1e-12)


def test_progression_and_death_are_told_apart_for_every_grouping(prognosis: Prognosis) -> None:
    found = prognosis.competing
    assert isinstance(found, CompetingRisks)
    assert found.n_progressed + found.n_died == prognosis.n_events
    assert found.n_died == prognosis.n_events // 3
    assert set(found.groupings) == {*prognosis.groupings, "expression"}
    median = found.groupings["median"]
    progression, death = median[PROGRESSION], median[DEATH]
    assert isinstance(progression, CompetingComparison)
    assert isinstance(death, CompetingComparison)
    for one, two in ((progression.upper, death.upper), (progression.lower, death.lower)):
        assert (one.n_events, one.n_competing) == (two.n_competing, two.n_events)
        assert one.at(365).value + two.at(365).value <= 1
    assert isinstance(found.multivariable, SubdistributionModel)
    assert [term.name for term in found.multivariable.terms] == ["pdl1es", "age", "sex", "smoking", "family_history"]
    cases, score = _with_causes()
    status = cases["event_cause"].map({"progression": 1, "death": 2}).fillna(0)
    assert isinstance(found.score, SubdistributionModel)
    assert found.score.terms == fine_gray(cases["pfs_days"], status, {"pdl1es": score}).terms


def test_the_report_shows_incidences_ratios_and_the_figure(prognosis: Prognosis, tmp_path: Path) -> None:
    content = ReportContent("Title", None, {}, None, prognosis)
    page = re.sub("[ \n]+", " ", html_page(content))
    assert "Progression and death apart" in page
    assert "Subdistribution hazard ratio" in page
    assert "Incidence by day 180" in page
    assert "Cause-specific hazard ratio" in page
    assert "competing-risks" in prognosis_figures(prognosis)
    write_report(tmp_path, content)
    found = json.loads((tmp_path / "report.json").read_text())["prognosis"]["competing"]
    groups = found["groupings"]["median"]["progression"]
    assert set(groups["subdistribution"]["terms"][0]["hazard_ratio"]) == {"value", "lower", "upper"}
    assert len(groups["upper"]["incidence"]) == len(groups["upper"]["times"])


def test_without_causes_the_report_says_so(prognosis: Prognosis) -> None:
    assert _reason(draw_cohort({None: 60}, seed=3)[0]) == NO_CAUSES
    found = replace(prognosis, competing=NotEstimable(NO_CAUSES))
    page = re.sub("[ \n]+", " ", html_page(ReportContent("Title", None, {}, None, found)))
    assert f"Not analysed: {NO_CAUSES}. Progression-free survival above counts death" in page
    assert "competing-risks" not in prognosis_figures(found)


def test_an_event_of_unknown_cause_ends_the_analysis_with_the_count() -> None:
    """Left out, such patients would make either incidence too small."""
    cases, _ = _with_causes(60)
    first = int(np.flatnonzero(cases["progressed"] == 1)[0])
    cases.loc[first, "event_cause"] = None
    events = int((cases["progressed"] == 1).sum())
    assert _reason(cases) == f"of 1 of {events} events the cause is not known"


@pytest.mark.parametrize(
    ("cause", "said"), [("progression", "nobody died without progression"), ("death", "nobody progressed")]
)
def test_one_cause_alone_does_not_compete(cause: str, said: str) -> None:
    cases, _ = _with_causes(60)
    cases["event_cause"] = cases["event_cause"].where(cases["event_cause"].isna(), cause)
    assert _reason(cases) == f"{said}, so that no event competes with another"


def test_the_tables_column_is_read_checked_and_told(tmp_path: Path) -> None:
    rows = ["A,100,1,Progression", "B,200,1,death", "C,300,0,", "D,40,1,"]
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join(["id,pfs_days,progressed,event_cause", *rows]))
    checked = read_cohort(path, without_images=True)
    assert not checked.faults
    assert [row.event_cause for row in checked.rows] == ["progression", "death", None, None]
    assert "event_cause: 2 given, 2 missing; death 1, progression 1" in [str(column) for column in checked.columns]
    assert any("of 1 of 3 events the cause is not given" in note.found for note in checked.warnings)
    assert followed_table(checked.rows).cause == ("progression", "death", None, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A,100,0,death", "event_cause is given, and progressed says that there was no event"),
        ("A,100,1,toxicity", "Input should be 'progression' or 'death'"),
    ],
)
def test_a_cause_without_an_event_or_of_another_kind_is_a_fault(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text(f"id,pfs_days,progressed,event_cause\n{row}\n")
    (fault,) = read_cohort(path, without_images=True).faults
    assert said in fault.found


def test_a_cohort_that_was_prepared_without_the_column_is_still_read(cohort: PreparedCohort, tmp_path: Path) -> None:
    assert cohort.folder is not None
    for file in cohort.folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    cohort.cases.drop(columns="event_cause").to_parquet(tmp_path / "cases.parquet")
    assert PreparedCohort.load(tmp_path).cases["event_cause"].isna().all()
