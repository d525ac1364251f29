"""The report: every number, nobody's value, the paper beside the cohort, and one file that needs no other."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdl1es.clinical import VARIABLES
from tests.training.drawn_patients import draw_cohort, imputed
from training.attention import AttentionSummary
from training.expression.evaluate import evaluate
from training.expression.results import EvaluationSettings
from training.known_truth.gates import Gate
from training.progression.analyse import analyse
from training.progression.followed import ModelRisk, followed_cohort
from training.progression.results import Prognosis, PrognosisSettings, RiskModelResult
from training.reporting.content import DEMONSTRATION, ReportContent
from training.reporting.document import plain_value, report_document, report_json
from training.reporting.expression_figures import evaluation_figures
from training.reporting.figures import render, write_figures
from training.reporting.page import html_page
from training.reporting.paper import paper_rows
from training.reporting.paper_values import PaperRow
from training.reporting.progression_figures import prognosis_figures
from training.reporting.report import write_report
from training.scoring.predictions import Predictions
from training.statistics.arrays import Estimate
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.prognosis import GroupComparison
from training.statistics.survival import LogRank
from training.statistics.wording import days, interval, p_value
from training.statistics.xtile import CutOffSearch

Cohort = tuple[pd.DataFrame, Predictions]
QUICK = EvaluationSettings(resamples=20, model_resamples=10, permutations=19)


def _prognosis(cohort: Cohort) -> Prognosis:
    cases, predictions = cohort
    followed = followed_cohort(cases, predictions.probability["PD-L1ES"], imputed(cases))
    return analyse(followed, PrognosisSettings(permutations=20, resamples=10, cut_off_resamples=10))


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


def _shown(content: ReportContent) -> str:
    """Return the page with its lines joined: where a line ends means nothing in HTML."""
    return re.sub("[ \n]+", " ", html_page(content))


@pytest.fixture(scope="module")
def content(paper_sized: Cohort) -> ReportContent:
    return _content(paper_sized)


def test_what_json_cannot_hold_becomes_null_and_what_is_missing_its_reason() -> None:
    @dataclass(frozen=True)
    class Result:
        value: float
        missing: NotEstimable
        numbers: np.ndarray

    document = plain_value(Result(math.nan, NotEstimable("one class only"), np.array([1.0, np.inf])))
    assert document == {"value": None, "missing": {"not_estimable": "one class only"}, "numbers": [1.0, None]}
    with pytest.raises(TypeError, match="cannot hold a set"):
        plain_value({1, 2})


def test_only_a_value_error_is_a_reason() -> None:
    assert estimated(math.sqrt, -1.0) == NotEstimable("math domain error")
    with pytest.raises(ZeroDivisionError):
        estimated(lambda: 1 / 0)


def test_the_document_is_strict_json_without_any_patient(content: ReportContent, paper_sized: Cohort) -> None:
    text = report_json(report_document(content)).decode()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert "case-" not in text
    assert document["evaluation"]["cohorts"]["Test"]["models"]["PD-L1ES"]["auc"]["n_positive"] > 0
    fusion = document["prognosis"]["fusion"]["fit"]
    assert "risk" not in fusion  # one value a patient
    assert "first_half" not in document["prognosis"]["held_out"]
    assert report_json(report_document(_content(paper_sized))) == report_json(report_document(content))


PAPERS_TABLE = (
    ("AUC, training", "0.78 (0.75 to 0.80)"),
    ("AUC, validation", "0.71 (0.59 to 0.81)"),
    ("AUC, test", "0.76 (0.66 to 0.85)"),
    ("DeLong against DLM, pooled", "P < 0.0001"),
    ("DeLong against RM, pooled", "P < 0.0001"),
    ("DeLong against CM, pooled", "P < 0.0001"),
    ("Random re-division 1, AUC training / validation / test", "0.79 / 0.73 / 0.76"),
    ("Random re-division 2, AUC training / validation / test", "0.77 / 0.74 / 0.75"),
    ("Decision curves, pooled", "PD-L1ES above DLM, RM and CM"),
    ("Strata, pooled: Slice thickness", "5 mm"),
    ("Strata, pooled: Tube current", "290 mA"),
    ("Strata, pooled: Manufacturer", "each manufacturer"),
    ("Cut-off by X-tile", "0.66"),
    ("Groups by X-tile: hazard ratio", "2.57 (1.22 to 5.44)"),
    ("Groups by X-tile: P", "P = 0.010"),
    ("Groups by X-tile: C-index of the groups", "0.66 (0.48 to 0.83)"),
    ("Groups by X-tile: median PFS", "183 (122–257) against 363 (363–) days"),
    ("Groups by the median", "median"),
    ("Groups by the paper's 0.66", "as by X-tile"),
    ("Groups by measured PD-L1 (IHC, >= 50 %)", "curves"),
    ("PD-L1ES with family history: P of family history", "P = 0.064"),
    ("PD-L1ES with smoking: P of smoking", "P = 0.245"),
    ("PD-L1ES with sex: P of sex", "P = 0.374"),
    ("PD-L1ES with age: P of age", "P = 0.088"),
    ("Groups by X-tile, pembrolizumab", "P = 0.028"),
    ("Groups by X-tile, pembrolizumab and chemotherapy", "P = 0.038; 271 against 248 days"),
    ("Age: cut-off", "63"),
    ("Age: log-rank", "P = 0.028"),
    ("Family history: log-rank", "P = 0.17"),
    ("Smoking: log-rank", "P = 0.22"),
    ("Sex: log-rank", "P = 0.95"),
    ("Clinical Cox model: cut-off", "0.05"),
    ("Clinical Cox model: hazard ratio", "2.09 (1.05 to 4.18)"),
    ("Clinical Cox model: P", "P = 0.032"),
    ("Clinical Cox model: median PFS", "172 against 257 days"),
    ("Clinical Cox model, pembrolizumab", "P = 0.068"),
    ("Clinical Cox model, pembrolizumab and chemotherapy", "P = 0.054"),
    ("Fusion Cox model: P of PD-L1ES", "P = 0.0396"),
    ("Fusion Cox model: P of the clinical model", "P = 0.010"),
    ("Fusion Cox model: cut-off", "1.78"),
    ("Fusion Cox model: hazard ratio", "3.53 (1.86 to 6.72)"),
    ("Fusion Cox model: P", "P < 0.001"),
    ("Fusion Cox model: median PFS", "122 against 363 days"),
    ("Fusion Cox model, pembrolizumab", "P = 0.016"),
    ("Fusion Cox model, pembrolizumab and chemotherapy", "P = 0.003"),
    ("Class activation map", "border"),
    ("Maps of wavelet-HL_glcm_SumEntropy and wavelet-LL_glrlm_GrayLevelNonUniformityNormalized", "ROI"),
    ("Table 1, Sex: training against validation", "P = 0.838"),
    ("Table 1, Sex: training against test", "P = 0.408"),
    ("Table 1, Smoking status: training against validation", "P = 0.938"),
    ("Table 1, Smoking status: training against test", "P = 0.409"),
    ("Table 1, Family history of cancer: training against validation", "P = 0.686"),
    ("Table 1, Family history of cancer: training against test", "P = 0.437"),
    ("Table 1, PD-L1 expression: training against validation", "P = 0.988"),
    ("Table 1, PD-L1 expression: training against test", "P = 0.995"),
    ("Table 1, Age, years: training against validation", "P = 0.462"),
    ("Table 1, Age, years: training against test", "P = 0.892"),
)
"""Every value of the evaluation table of the method page, and of the paper's Table 1."""


@pytest.fixture(scope="module")
def rows(content: ReportContent) -> dict[str, PaperRow]:
    found = paper_rows(content.evaluation, content.prognosis, content.redivisions)
    assert len({row.what for row in found}) == len(found)
    return {row.what: row for row in found}


@pytest.mark.parametrize(("what", "value"), PAPERS_TABLE)
def test_each_value_of_the_papers_table_has_a_row_with_the_cohorts_beside_it(
    rows: dict[str, PaperRow], what: str, value: str
) -> None:
    assert value in rows[what].paper
    assert rows[what].cohort


def test_the_method_page_holds_no_number_that_the_rows_lack(rows: dict[str, PaperRow], shared_data: Path) -> None:
    page = shared_data.parent / "paper" / "method.md"
    if not page.is_file():
        pytest.skip("the method page is not here: put it beside the shared data")
    table = page.read_text(encoding="utf-8").partition("## Evaluation")[2].partition("\n\n")[0]
    lines = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("| Table 1")]
    printed = set(re.findall(r"\d+\.\d+|\d{2,}", " ".join(lines)))
    said = " ".join(f"{row.what} {row.paper}" for row in rows.values())
    assert printed <= set(re.findall(r"\d+\.\d+|\d{2,}", said))


def test_the_cohorts_side_of_a_row_is_the_analyses_own_number(
    rows: dict[str, PaperRow], content: ReportContent
) -> None:
    assert content.evaluation is not None
    assert content.prognosis is not None
    assert re.fullmatch(r"0\.\d\d \(0\.\d\d to 0\.\d\d\)", rows["AUC, test"].cohort)
    assert rows["Random re-division 1, AUC training / validation / test"].cohort == "0.80 / 0.70 / 0.75"
    assert "not trained" in rows["Random re-division 2, AUC training / validation / test"].cohort
    grouping = content.prognosis.groupings["X-tile"]
    assert rows["Groups by X-tile: hazard ratio"].cohort == interval(grouping.groups.hazard_ratio)  # type: ignore[union-attr]
    alone = grouping.by_treatment.groups["pembrolizumab"]  # type: ignore[union-attr]
    assert isinstance(alone, GroupComparison)
    assert isinstance(alone.log_rank, LogRank)
    within = rows["Groups by X-tile, pembrolizumab"].cohort
    assert f"log-rank {p_value(alone.log_rank.test.p_value)}" in within
    assert f"{days(alone.upper.median)} against {days(alone.lower.median)} days" in within
    sex = content.evaluation.characteristics.variables[1].tests["Test"]  # type: ignore[union-attr]
    assert sex is not None
    assert rows["Table 1, Sex: training against test"].cohort == p_value(sex.p_value)


def test_p_values_say_what_they_are_not_corrected_for(rows: dict[str, PaperRow], content: ReportContent) -> None:
    prognosis = content.prognosis
    assert prognosis is not None
    age = prognosis.clinical_variables["age"].search
    assert isinstance(age, CutOffSearch)
    assert f"{p_value(age.p_permutation)} corrected for the search" in rows["Age: log-rank"].cohort
    assert "uncorrected" in rows["Age: log-rank"].cohort
    assert "constantly, never, occasionally" in rows["Smoking: log-rank"].cohort
    assert "of ever against never, which the figure shows" in rows["Smoking: log-rank"].cohort
    assert "corrected for the search by 20 permutations" in rows["Cut-off by X-tile"].cohort
    assert isinstance(prognosis.fusion, RiskModelResult)
    fusion = f"{p_value(prognosis.fusion.fit.search.p_permutation)} corrected for fit and search by fitting anew"
    assert fusion in rows["Fusion Cox model: cut-off"].cohort
    page = _shown(content)
    assert "their indices, and the gains with their P values, flatter them" in page
    assert "Validation chose the best epoch" in page
    assert "of Validation and of Validation and test flatter" in page


def test_a_report_of_one_analysis_says_which_command_gives_the_other(content: ReportContent) -> None:
    expression = dataclasses.replace(content, prognosis=None)
    assert "`pdl1es prognosis` gives it" in _shown(expression)
    assert not any("Cox" in row.what for row in paper_rows(content.evaluation, None))
    progression = dataclasses.replace(content, evaluation=None)
    assert "`pdl1es evaluate` gives it" in _shown(progression)
    assert not any("AUC" in row.what for row in paper_rows(None, content.prognosis))
    assert "gives it" not in _shown(content)


def test_a_report_of_test_and_retest_alone_has_no_table_of_the_paper() -> None:
    empty = ReportContent("Title", None, {"Model": "PD-L1ES 1.0"}, None, None)
    page = _shown(empty)
    assert "The paper beside this cohort" not in page
    assert "gives it" not in page
    assert report_document(empty)["paper"] == ()


def test_figure_5_is_named_only_where_the_report_has_it(content: ReportContent) -> None:
    looked = AttentionSummary(12, 1, "denseblock3", {"border": 0.4}, {"border": 0.3})

    def rows_of(figures: tuple[str, ...], attention: AttentionSummary | None) -> dict[str, str]:
        found = paper_rows(content.evaluation, None, (), figures, attention)
        return {row.what: row.cohort for row in found}

    without = rows_of((), looked)["Class activation map"]
    assert without.startswith("not drawn: `pdl1es evaluate --run RUN --table COHORT.csv`")
    assert "40 % of the attention within 6 pixels of the contour, which is 30 % of the patch" in without
    drawn = rows_of(("figure-5",), None)
    assert drawn["Class activation map"] == "Figure 5 of this report"
    assert "Figure 5 of this report" not in _shown(content)


def test_every_cox_model_in_the_page_has_its_patients_events_and_hazards_check(content: ReportContent) -> None:
    page = _shown(content)
    prognosis = content.prognosis
    assert prognosis is not None
    table = page.partition("<h3>Cox models, hazard ratio per unit</h3>")[2].partition("</table>")[0]
    lines = [re.findall(r"<td>(.*?)</td>", line) for line in table.split("<tr>")[2:]]
    models = {line[0] for line in lines}
    assert {"alone", "all together", "clinical Cox model", "fusion Cox model"} <= models
    assert {f"PD-L1ES by group, with {name.replace('_', ' ')}" for name in VARIABLES} <= models
    assert {f"PD-L1ES as a number, with {name.replace('_', ' ')}" for name in VARIABLES} <= models
    for line in lines:
        assert line[2:4] == [str(prognosis.n), str(prognosis.n_events)]
        assert re.fullmatch(r"P (=|&lt;) 0\.\d{3}", line[6])
    groups = page.partition("<h3>Groups</h3>")[2].partition("</table>")[0]
    assert "Proportional hazards" in groups
    assert "Measured PD-L1, high against low" in groups
    fusion = groups.partition("Fusion model above its cut-off")[2]
    assert "\N{EM SPACE}pembrolizumab and chemotherapy" in fusion


def test_exported_cox_models_stand_in_rows_page_and_figures(paper_sized: Cohort) -> None:
    cases, predictions = paper_sized
    clinical = imputed(cases)
    risks = {"clinical": ModelRisk(0.03 * (clinical[:, 0] - 59), 0.05, "high risk", "low risk")}
    followed = followed_cohort(cases, predictions.probability["PD-L1ES"], clinical, risks)
    content = ReportContent(
        "Title", None, {}, None, analyse(followed, PrognosisSettings(permutations=5, resamples=5, cut_off_resamples=5))
    )
    found = {row.what: row.cohort for row in paper_rows(None, content.prognosis)}
    assert re.match(r"\d\.\d\d \(.* of 1\); n = 94", found["Exported clinical Cox model: calibration slope"])
    assert "HR" in found["Exported clinical Cox model, its cut-off 0.05: groups"]
    page = _shown(content)
    assert "Calibration slope" in page
    assert "clinical: high risk (above 0.05) against low risk" in page
    document = json.loads(report_json(report_document(content)))
    assert document["prognosis"]["exported"]["clinical"]["calibration"]["model"]["n"] == 94
    assert content.prognosis is not None
    assert "figure-4-clinical-exported" in prognosis_figures(content.prognosis)


def test_a_report_without_any_score_says_so_row_by_row() -> None:
    cases, _ = draw_cohort({None: 80}, seed=3)
    found = analyse(
        followed_cohort(cases, None, imputed(cases)),
        PrognosisSettings(permutations=5, resamples=5, cut_off_resamples=5),
    )
    content = ReportContent("Title", None, {}, None, found)
    rows = {row.what: row.cohort for row in paper_rows(None, found)}
    for what in ("Cut-off by X-tile", "Groups by X-tile: hazard ratio", "Groups by the median", "Fusion Cox model: P"):
        assert rows[what] == "not estimable: there is no score: no model has scored these patients"
    assert "HR" in rows["Groups by measured PD-L1 (IHC, >= 50 %)"]
    assert re.match(r"\d", rows["Clinical Cox model: hazard ratio"])
    assert "Clinical Cox model" in _shown(content) or "clinical Cox model" in _shown(content)
    assert set(prognosis_figures(found)) == {
        "figure-3-expression",
        "figure-4-clinical",
        "x-tile-clinical",
        "supplement-3-clinical-variables",
    }


def test_the_page_needs_no_other_file_and_escapes_what_it_shows(content: ReportContent) -> None:
    page = _shown(content)
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
