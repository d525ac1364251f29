"""Checklists say what the run knows, refuse what contradicts it, and give the scores by the published rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.training.finished_runs import Run
from training.checklists.answer import ChecklistAnswer
from training.checklists.filled import AnswersError, FilledChecklist, fill_checklists, read_answers
from training.checklists.instruments import KEYS, checklist
from training.checklists.known_answers import known_answers
from training.checklists.run_facts import NoRunError, RunFacts, read_run_facts
from training.checklists.tables import open_answers
from training.commands.cli import app
from training.train.config import FeatureFilters, TrainingConfig

REPOSITORY = Path(__file__).parents[3]
FACTS = RunFacts(
    training_data="patients",
    patients={"train": 600, "validation": 75, "test": 75},
    high={"train": 210, "validation": 26, "test": 26},
    config={"seed": 4, "alpha": 0.05, "correction": "none", "stages": [], "batch_size": 32, "patience": 8, "augmentation": "off"},
    tested_features=1229,
    selected_features=17,
    trained=("PD-L1ES", "DLM", "RM", "CM"),
)  # fmt: skip


def answered(key: str, met: Mapping[str, str]) -> FilledChecklist:
    listed = checklist(key)
    answers = {item.number: ChecklistAnswer(met.get(item.number, "no"), "here") for item in listed.items}  # type: ignore[arg-type]
    return FilledChecklist(listed, answers, frozenset())


def test_the_weights_of_metrics_are_those_of_its_categories() -> None:
    """30 items whose weights add up to 1; the study design weighs most, open science least (Kocak et al. 2024, abstract)."""
    items = checklist("metrics").items
    assert [item.number for item in items] == [str(number) for number in range(1, 31)]
    assert sum(item.most or 0 for item in items) == pytest.approx(1, abs=1e-9)
    by_group: dict[str, float] = {}
    for item in items:
        by_group[item.group] = by_group.get(item.group, 0) + (item.most or 0)
    order = [
        "study design", "imaging data", "image processing and feature extraction", "metrics and comparison", "testing",
        "feature processing", "preparation for modeling", "segmentation", "open science",
    ]  # fmt: skip
    weights = [round(by_group[name], 4) for name in order]
    assert weights == sorted(weights, reverse=True)


def test_metrics_counts_only_what_applies() -> None:
    """By hand: items 1 and 27 met, 9 and 17 not applicable: (0.0368 + 0.0749) / (1 - 0.0225 - 0.02)."""
    score = answered("metrics", {"1": "yes", "27": "yes", "5": "partly", "9": "n/a", "17": "n/a"}).score()
    assert score is not None
    assert score.percent == pytest.approx(100 * (0.0368 + 0.0749) / 0.9575)
    everything = answered("metrics", {str(number): "yes" for number in range(1, 31)}).score()
    assert everything is not None
    assert everything.percent == pytest.approx(100)


def test_ten_patients_of_the_smaller_class_are_wanted_for_each_coefficient() -> None:
    """210 for 17 + 4 coefficients are exactly ten; for one more they are too few."""
    assert known_answers(FACTS)["metrics"]["16"].met == "yes"
    assert known_answers(replace(FACTS, selected_features=18))["metrics"]["16"].met == "no"
    assert known_answers(replace(FACTS, high={**FACTS.high, "train": 450}))["metrics"]["16"].met == "no"


def test_a_run_without_the_clinical_model_was_not_compared_with_it() -> None:
    without = known_answers(replace(FACTS, trained=("PD-L1ES", "DLM", "RM")))
    assert without["metrics"]["24"].met == "no"
    assert without["rqs"]["14"].points == 0
    assert known_answers(FACTS)["rqs"]["14"].points == 2


def test_filters_of_the_selection_count_where_a_run_had_them() -> None:
    """As `TrainingConfig` writes them; a run without filters does not name them."""
    filters = FeatureFilters(stability="0" * 64, smallest_icc=0.75, largest_correlation=0.9)
    config = TrainingConfig(filters=filters).model_dump(mode="json")
    known = known_answers(replace(FACTS, config={**FACTS.config, "filters": config["filters"]}))["metrics"]
    assert (known["14"].met, known["15"].met) == ("yes", "yes")
    assert "reaches 0.75" in known["14"].where
    assert "at most 0.9" in known["15"].where
    without = known_answers(replace(FACTS, config=TrainingConfig().model_dump(mode="json")))["metrics"]
    assert (without["14"].met, without["15"].met) == ("no", "no")


def test_every_answer_that_contradicts_the_run_is_named() -> None:
    stale = {"metrics": {"14": ChecklistAnswer("yes", "ICC")}, "rqs": {"15": ChecklistAnswer("no", "none", 0.0)}}
    with pytest.raises(
        AnswersError, match=r"METRICS 14 says yes.*RQS 2\.0 15 says 0 points, but the run says 1 points"
    ):
        fill_checklists(FACTS, stale)


def test_an_answer_to_what_the_run_knows_adds_its_place() -> None:
    filled = fill_checklists(FACTS, {"clear": {"30": ChecklistAnswer("partly", "weights were tried")}})
    assert filled["clear"].answers["30"].where == (
        "210 of 600 training patients (35.0%) have high expression; not corrected in training; weights were tried"
    )


def test_faults_of_a_file_of_answers_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text(
        "metrics:\n  31: {met: no, where: x}\n  1: {met: maybe, where: x}\n  2: {met: no, where: ''}\n  3: {points: 1, where: x}\n"
        "rqs:\n  20: {points: 4, where: x}\nprobast: {}\n"
    )
    with pytest.raises(AnswersError) as told:
        read_answers(path)
    for part in ("metrics 31: there is no such item", "metrics 1: `met` must be", "metrics 2: `where`", "metrics 3: this checklist gives no points",
                 "rqs 20: points must be a whole number from 0 to 3", "'probast' is no checklist"):  # fmt: skip
        assert part in str(told.value)


def test_a_bare_yes_of_yaml_is_a_yes(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text("metrics:\n  1: {met: yes, where: CLEAR}\n  2: {met: no, where: none}\n")
    assert {no: answer.met for no, answer in read_answers(path)["metrics"].items()} == {"1": "yes", "2": "no"}


def test_the_form_asks_for_everything_that_the_run_does_not_know() -> None:
    filled = fill_checklists(FACTS, {})
    form = yaml.safe_load(open_answers(filled))
    for key in KEYS:
        assert set(form[key]) == {item.number for item in checklist(key).items} - set(known_answers(FACTS)[key])


def test_the_shipped_models_answers_are_complete_and_not_stale() -> None:
    facts = read_run_facts(REPOSITORY / "models" / "pdl1es")
    filled = fill_checklists(facts, read_answers(REPOSITORY / "docs" / "checklist-answers.yaml"))
    assert {key: one.open_items for key, one in filled.items()} == dict.fromkeys(KEYS, ())


def test_a_finished_run_fills_its_checklists(run: Run, tmp_path: Path) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text('metrics:\n  "1": {met: "yes", where: "our supplement"}\n')
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["checklists", str(run.folder), str(out), "--answers", str(answers)])
    assert result.exit_code == 0, result.output
    document = json.loads((out / "checklists.json").read_text())
    counts = run.summary["counts"]
    partition = document["clear"]["items"]["15"]["where"]
    assert partition.startswith(" / ".join(str(counts[split]["patients"]) for split in ("train", "validation", "test")))
    assert document["metrics"]["items"]["1"] == {
        "met": "yes",
        "points": None,
        "where": "our supplement",
        "by_machine": False,
    }
    assert "13 items are not answered and count as not met" in " ".join(result.output.split())
    assert "| 15 | split | yes* |" in (out / "checklists.md").read_text()


def test_a_folder_without_a_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoRunError, match="give the folder of `pdl1es train` after it has ended"):
        read_run_facts(tmp_path)
    result = CliRunner().invoke(app, ["checklists", str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
