"""The report: every number, nobody's value, the paper beside the cohort, and one file that needs no other."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_cohorts import draw_cohort, imputed

from training.evaluation.document import json_bytes, plain
from training.evaluation.estimability import NotEstimable, estimated
from training.evaluation.evaluate import EvaluationSettings, evaluate
from training.evaluation.figure_set import evaluation_figures, prognosis_figures, render, write_figures
from training.evaluation.gates import Gate
from training.evaluation.paper import NOT_RUN, paper_rows
from training.evaluation.predictions import Predictions
from training.evaluation.prognosis import Prognosis, PrognosisSettings, analyse, followed_cohort
from training.evaluation.report import DEMONSTRATION, ReportContent, report_document, report_page, write_report
from training.evaluation.wording import days, interval, p_value
from training.statistics.arrays import Estimate

Cohort = tuple[pd.DataFrame, Predictions]
QUICK = EvaluationSettings(resamples=20)


def _prognosis(cohort: Cohort) -> Prognosis:
    cases, predictions = cohort
    followed = followed_cohort(cases, predictions.probability["PD-L1ES"], imputed(cases))
    return analyse(followed, PrognosisSettings(permutations=20))


def _content(cohort: Cohort) -> ReportContent:
    return ReportContent(
        title="A <cohort> & its report",
        warning=DEMONSTRATION,
        provenance={"Model": "PD-L1ES 1.0"},
        evaluation=evaluate(*cohort, QUICK),
        prognosis=_prognosis(cohort),
        redivisions=({"Training": 0.8, "Validation": 0.7, "Test": 0.75},),
        gates=(Gate("something holds", "0.8", True), Gate("something is unknown", "not estimable", None)),
    )


@pytest.fixture(scope="module")
def content(paper_sized: Cohort) -> ReportContent:
    return _content(paper_sized)


def test_what_json_cannot_hold_becomes_null_and_what_is_missing_its_reason() -> None:
    @dataclass(frozen=True)
    class Result:
        value: float
        missing: NotEstimable
        numbers: np.ndarray

    document = plain(Result(math.nan, NotEstimable("one class only"), np.array([1.0, np.inf])))
    assert document == {"value": None, "missing": {"not_estimable": "one class only"}, "numbers": [1.0, None]}
    with pytest.raises(TypeError, match="cannot hold a set"):
        plain({1, 2})


def test_only_a_value_error_is_a_reason() -> None:
    assert estimated(math.sqrt, -1.0) == NotEstimable("math domain error")
    with pytest.raises(ZeroDivisionError):
        estimated(lambda: 1 / 0)


def test_the_document_is_strict_json_without_any_patient(content: ReportContent, paper_sized: Cohort) -> None:
    text = json_bytes(report_document(content)).decode()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert "case-" not in text
    assert document["evaluation"]["cohorts"]["Test"]["models"]["PD-L1ES"]["auc"]["n_positive"] > 0
    fusion = document["prognosis"]["fusion"]["fit"]
    assert "risk" not in fusion  # one value a patient
    assert "first_half" not in document["prognosis"]["held_out"]
    assert json_bytes(report_document(_content(paper_sized))) == json_bytes(report_document(content))


def test_every_row_of_the_papers_table_stands_beside_the_cohorts(content: ReportContent) -> None:
    rows = {row.what: row for row in paper_rows(content.evaluation, content.prognosis, content.redivisions)}
    assert rows["AUC, test"].paper == "0.76 (0.66 to 0.85)"
    assert re.fullmatch(r"0\.\d\d \(0\.\d\d to 0\.\d\d\)", rows["AUC, test"].cohort)
    again = "Random re-division {} , AUC training / validation / test"
    assert rows[again.format(1).replace(" ,", ",")].cohort == "0.80 / 0.70 / 0.75"
    assert rows[again.format(2).replace(" ,", ",")].cohort == NOT_RUN
    papers = " ".join(row.paper for row in rows.values())
    for value in (
        "0.66",
        "2.57",
        "0.064",
        "0.245",
        "0.374",
        "0.088",
        "0.028",
        "0.038",
        "2.09",
        "3.53",
        "1.78",
        "0.0396",
    ):
        assert value in papers
    assert not any(row.cohort == "" for row in rows.values())


def test_without_results_the_papers_rows_say_that_nothing_was_run() -> None:
    rows = paper_rows(None, None)
    assert {row.cohort for row in rows if row.what.startswith("AUC")} == {NOT_RUN}


def test_the_page_needs_no_other_file_and_escapes_what_it_shows(content: ReportContent) -> None:
    page = report_page(content)
    assert "A &lt;cohort&gt; &amp; its report" in page
    assert DEMONSTRATION in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert "not tested" in page
    assert "nan" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page).lower().replace("finance", "")


def test_all_figures_are_drawn_and_lie_in_the_page(content: ReportContent, tmp_path: Path) -> None:
    assert content.evaluation is not None
    assert content.prognosis is not None
    drawn = evaluation_figures(content.evaluation) | prognosis_figures(content.prognosis)
    assert {
        "figure-2-roc",
        "figure-2-decision",
        "figure-3-pdl1es",
        "figure-3-pdl1es-median",
        "figure-3-expression",
        "figure-4-clinical",
        "figure-4-fusion",
        "supplement-2-strata-pooled",
        "supplement-3-clinical-variables",
        "x-tile-pdl1es",
        "calibration",
    } <= set(drawn)
    one = render({"figure-2-roc": drawn["figure-2-roc"]})
    write_figures(tmp_path / "figures", one)
    assert (tmp_path / "figures" / "figure-2-roc.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "figures" / "figure-2-roc.png").read_bytes().startswith(b"\x89PNG")
    write_report(tmp_path, ReportContent("Title", None, {}, content.evaluation, None, figures=one))
    page = (tmp_path / "report.html").read_text()
    assert 'id="figure-2-roc"><img alt="Figure 2 A–C: ROC curves" src="data:image/svg+xml;base64,' in page
    assert DEMONSTRATION not in page


def test_a_tiny_cohort_has_a_report_all_the_same(tmp_path: Path) -> None:
    content = _content(draw_cohort({"train": 8, "validation": 2, "test": 1, "prognosis": 3}, seed=2))
    write_report(tmp_path, content)
    assert "not estimable: labels need at least 2 of each class" in (tmp_path / "report.html").read_text()
    json.loads((tmp_path / "report.json").read_text())


def test_numbers_are_worded_as_a_reader_expects() -> None:
    assert interval(Estimate(0.756, 0.66, 0.85)) == "0.76 (0.66 to 0.85)"
    assert interval(Estimate(math.nan, math.nan, math.nan)) == "not estimable"
    assert days(Estimate(363, 300, math.nan)) == "363 (300–)"
    assert days(Estimate(math.nan, 1, 2)) == "not reached"
    assert (p_value(0.0004), p_value(0.038)) == ("P < 0.001", "P = 0.038")
