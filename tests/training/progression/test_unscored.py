"""Progression from a table alone: measured PD-L1 and clinical variables, and a report that says that there is no score."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from typer.testing import CliRunner

from tests.training.drawn_patients import draw_cohort
from training.cohort.prepared import case_table
from training.cohort.table import read_cohort
from training.commands.cli import app
from training.expression.characteristics import characteristics
from training.progression.analyse import analyse
from training.progression.results import PrognosisSettings, panels
from training.progression.unscored import followed_table
from training.reporting.table_report import NO_SCORE
from training.statistics.prognosis import compare_groups, compare_in_subgroups
from training.statistics.survival import LogRank
from training.statistics.table_one import Categorical

pytestmark = pytest.mark.usefixtures("undrawn_figures")
CLINICAL = ("age", "sex", "smoking", "family_history")


def _run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def _drawn(path: Path, n: int = 60) -> Path:
    cases, _ = draw_cohort({None: n}, seed=4)
    table = cases[["age", "sex", "smoking", "family_history", "label", "pfs_days", "progressed"]].copy()
    table.insert(0, "id", cases["case_id"])
    words = {
        "sex": ("female", "male"),
        "smoking": ("never", "occasionally", "constantly"),
        "family_history": ("no", "yes"),
    }
    for name, values in words.items():
        table[name] = table[name].map(dict(enumerate(values)))
    table.loc[5, ["pfs_days", "progressed"]] = np.nan
    table[["label", "progressed"]] = table[["label", "progressed"]].astype("Int64")
    table.to_csv(path, index=False)
    return path


def test_gaps_are_filled_from_the_tables_own_patients_and_nobody_needs_an_image(tmp_path: Path) -> None:
    table = pd.read_csv(_drawn(tmp_path / "cohort.csv"))
    found = followed_table(read_cohort(tmp_path / "cohort.csv", without_images=True).rows)
    assert found.score is None
    assert found.time.size == 59
    assert np.isfinite(found.clinical).all()
    given = table.loc[table["pfs_days"].notna(), "age"].to_numpy()
    assert np.array_equal(found.clinical[found.known[:, 0], 0], given[~np.isnan(given)])
    ages = found.clinical[~found.known[:, 0], 0]
    assert ages.size
    assert ((ages >= np.nanmin(given)) & (ages <= np.nanmax(given))).all()


def test_a_table_is_analysed_and_the_report_says_that_there_is_no_score(tmp_path: Path) -> None:
    _drawn(tmp_path / "cohort.csv")
    command = ("prognosis", tmp_path / "cohort.csv", tmp_path / "report", "--permutations", "10")
    code, output = _run(*command)
    assert code == 0, output
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["warning"] == NO_SCORE
    page = (tmp_path / "report" / "report.html").read_text()
    assert NO_SCORE in page
    assert "no model has scored these patients" not in re.sub(r"<p.*?</p>", "", page, flags=re.DOTALL)
    assert re.search(r"\d+ values of the paper have no counterpart here: no model has scored these patients", page)
    assert re.search(r"rows are left out: 1 of groups, \d+ of Cox models, 4 of concordance\.", page)
    assert document["evaluation"] is None
    assert document["prognosis"]["n"] == 59
    assert "no model" in document["prognosis"]["search"]["not_estimable"]
    assert [term["name"] for term in document["prognosis"]["clinical"]["fit"]["model"]["terms"]] == list(CLINICAL)
    assert not (tmp_path / "report" / "cut_offs.json").exists()
    code, output = _run(*command, "--model", tmp_path / "report")
    assert code == 2
    assert "cohort.csv is a table, which no model can score" in output
    (tmp_path / "report" / "report.json").write_text("{}")
    code, output = _run(*command)
    assert code == 2
    assert "is no report of this program and would be lost" in output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,pfs_days,progressed\nA,ten,1\n", "the table has 1 faults, the first: row 2, column pfs_days: 'ten'"),
        ("id,label\nA,1\n", "no patient has follow-up: give pfs_days and progressed"),
        ("id,split,pfs_days,progressed\nA,prognosis,,\nB,,90,1\n", "no patient has follow-up"),
    ],
)
def test_a_table_that_holds_no_progression_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "cohort.csv").write_text(text)
    code, output = _run("prognosis", tmp_path / "cohort.csv", tmp_path / "report")
    assert code == 2
    assert said in output
    assert not (tmp_path / "report").exists()


def test_a_smoker_of_unknown_grade_is_never_called_occasional(tmp_path: Path) -> None:
    """As in cBioPortal's tables, which know 'former' and 'current' alone."""
    table = pd.read_csv(_drawn(tmp_path / "drawn.csv"))
    table["smoking"] = table["smoking"].replace({"occasionally": "smoker", "constantly": "smoker"})
    table.to_csv(tmp_path / "cohort.csv", index=False)
    rows = read_cohort(tmp_path / "cohort.csv", without_images=True).rows
    found = analyse(followed_table(rows), PrognosisSettings(permutations=2, resamples=2, cut_off_resamples=2))
    levels = found.clinical_variables["smoking"].levels
    assert isinstance(levels, LogRank)
    assert levels.groups == ("never", "smoker of unknown grade")
    smokers = table[table["pfs_days"].notna() & (table["smoking"] == "smoker")]
    assert levels.n[1] == len(smokers)
    described = characteristics(
        case_table([{"case_id": row.id, "label": row.high_expression, **row.clinical_codes()} for row in rows])
    )
    smoking = next(v for v in described.variables if v.name == "Smoking status")
    assert isinstance(smoking, Categorical)
    assert [level for level in smoking.levels if level != "Unknown"] == ["never", "smoker of unknown grade"]


def test_one_treatment_of_everybody_is_drawn_once() -> None:
    time, event, upper = [5, 6, 7, 8, 9, 10], [1, 1, 0, 1, 1, 0], [1, 0, 1, 0, 1, 0]
    whole = compare_groups(time, event, upper)
    same = compare_in_subgroups(time, event, upper, ["pembrolizumab"] * 6)
    assert list(panels(whole, same)) == ["All"]
    part = compare_in_subgroups(time, event, upper, ["pembrolizumab"] * 4 + [None] * 2)
    assert list(panels(whole, part)) == ["All", "pembrolizumab"]


def test_the_msk_patients_survive_as_lifelines_says(shared_data: Path, tmp_path: Path) -> None:
    """Import and analysis against pandas and lifelines on cBioPortal's own file."""
    study = shared_data / "clinical" / "nsclc_mskcc_2018"
    assert _run("cohort", "import", "cbioportal", study, tmp_path / "msk.csv")[0] == 0
    code, output = _run("prognosis", tmp_path / "msk.csv", tmp_path / "report", "--permutations", "2")
    assert code == 0, output
    found: dict[str, Any] = json.loads((tmp_path / "report" / "report.json").read_text())["prognosis"]
    raw = pd.read_csv(study / "data_clinical_patient.txt", sep="\t")
    days = (raw["PFS_MONTHS"] * 365.25 / 12).round()
    event = raw["PFS_STATUS"].str.startswith("1")
    assert (found["n"], found["n_events"]) == (len(raw), event.sum()) == (75, 50)
    groups = found["expression"]["groups"]
    tps = pd.to_numeric(raw["PDL1_EXP"], errors="coerce")
    for side, rows in (("upper", tps >= 50), ("lower", tps < 50)):
        curve = KaplanMeierFitter().fit(days[rows], event[rows])
        assert (groups[side]["n"], groups[side]["n_events"]) == (rows.sum(), event[rows].sum())
        assert groups[side]["median"]["value"] == curve.median_survival_time_
    assert (groups["upper"]["n"], groups["lower"]["n"]) == (10, 60)
    test = logrank_test(days[tps >= 50], days[tps < 50], event[tps >= 50], event[tps < 50])
    assert groups["log_rank"]["test"]["p_value"] == pytest.approx(test.p_value, rel=1e-6)
    columns = pd.DataFrame(
        {
            "age": raw["AGE_YRS"].astype(float),
            "sex": (raw["SEX"] == "Male").astype(float),
            "smoking": (raw["SMOKING_STATUS"] != "Never").astype(float),
        }
    )
    model = CoxPHFitter().fit(columns.assign(days=days, event=event), "days", "event")
    terms = {term["name"]: term["coefficient"] for term in found["clinical"]["fit"]["model"]["terms"]}
    assert terms == pytest.approx(model.params_.to_dict(), rel=1e-4)
