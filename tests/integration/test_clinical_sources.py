"""Where the report's clinical values come from, through the whole chain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.chain_runs import Score, Scored

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


def variables(scored: Scored) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in scored.result["assessment"]["clinical"]}


def test_a_table_keyed_by_accession_number_wins_over_the_study_and_the_header(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path
) -> None:
    accession = phantom_study.ct.datasets[0].AccessionNumber
    table = tmp_path / "clinical.csv"
    table.write_text(
        f"accession_number,age,sex,smoking\nother,20,m,never\n{accession},77,,constantly\n", encoding="utf-8"
    )
    found = variables(score(phantom_study.folder, clinical=table))
    assert (found["age"]["value"], found["age"]["source"]) == (77, "clinical file")
    assert (found["smoking"]["value"], found["smoking"]["source"]) == (2, "clinical file")
    in_study = json.loads(phantom_study.clinical_path.read_text(encoding="utf-8"))
    assert found["sex"]["source"] == "clinical.json of the study"
    assert found["sex"]["value"] == {"female": 0, "male": 1}[in_study["sex"]]


def test_a_table_without_the_patient_is_told_and_the_next_source_counts(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path
) -> None:
    table = tmp_path / "clinical.csv"
    table.write_text("patient_id,age\nsomebody else,20\n", encoding="utf-8")
    scored = score(phantom_study.folder, clinical=table)
    assert "CLINICAL_ROW_ABSENT" in [warning["code"] for warning in scored.result["warnings"]]
    assert variables(scored)["age"]["source"] == "clinical.json of the study"


def test_a_header_alone_leaves_the_family_history_imputed_and_a_smokers_grade_to_the_model(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    shutil.copytree(phantom_study.folder, study)
    (study / "clinical.json").write_text('{"smoking": "smoker"}', encoding="utf-8")
    scored = score(study)
    found = variables(scored)
    assert found["age"]["source"] == "DICOM PatientAge (0010,1010)"
    assert found["family_history"]["imputed"]
    assert found["smoking"]["imputed"]
    assert found["smoking"]["value"] is None
    assert 1 < found["smoking"]["used"] < 2, "between occasionally and constantly"
    assert "CLINICAL_VALUES_IMPUTED" in [warning["code"] for warning in scored.result["warnings"]]


def test_values_that_a_reader_gave_move_the_score_by_their_own_terms_alone(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path
) -> None:
    terms = []
    for age in (40, 70):
        file = tmp_path / f"{age}.json"
        file.write_text(json.dumps({"age": age}), encoding="utf-8")
        terms.append(score(phantom_study.folder, clinical=file).result["assessment"]["contributions"])
    young, old = terms
    assert young["deep"] == old["deep"]
    assert young["radiomic"] == old["radiomic"]
    changed = [a["name"] for a, b in zip(young["clinical"], old["clinical"], strict=True) if a != b]
    assert changed == ["age"]
