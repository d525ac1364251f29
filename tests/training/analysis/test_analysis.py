"""From an exported file and a prepared cohort to the report, through the commands that a user types."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index
from typer.testing import CliRunner

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.fusion import FusionModel
from pdl1es.model.metadata import CutOff
from tests.training.drawn_patients import draw_cohort
from tests.training.exported_models import export_random_model
from training.cohort.prepared import PreparedCohort, case_table, write_prepared_cohort
from training.cohort.truth import TruthSettings, draw_labels, draw_patients, draw_survival, true_model
from training.commands.cli import app
from training.known_truth.gates import true_hazard_gates
from training.preprocessing import CoxTerms, FittedPreprocessing
from training.reporting.cohort_figures import flow_chart_of
from training.reproduction_settings import ReproductionSettings, full_settings, small_settings
from training.scoring import cohort_scores
from training.scoring.cohort_scores import score_models
from training.scoring.predictions import BASELINES, PredictionsError
from training.scoring.scored_cohort import ScoredCohort, scored_cohort
from training.train.config import PAPER_STAGES, Hardware, Stage, TrainingConfig
from training.train.run import train

pytestmark = pytest.mark.usefixtures("undrawn_figures")
COLUMNS = ("case_id", "split", "label", "age", "sex", "smoking", "smoking_graded", "family_history", "pfs_days")
MORE = ("progressed", "treatment", "manufacturer", "slice_thickness_mm", "tube_current_ma", "volume_ml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fitted: FittedPreprocessing) -> Path:
    """An exported model of random weights, a prepared cohort, and the same patients 'scanned again'."""
    folder = tmp_path_factory.mktemp("evaluation")
    export_random_model(folder / "model", fitted)
    drawn, _ = draw_cohort({"train": 20, "validation": 10, "test": 10, "prognosis": 14})
    rows = [
        {name: (None if pd.isna(value) else value) for name, value in row.items()}
        for row in drawn[[*COLUMNS, *MORE]].to_dict("records")
    ]
    cases = case_table(rows)
    rng = np.random.default_rng(0)
    n = len(cases)
    patches = rng.normal(-300, 200, (n, 3, 112, 112)).astype(np.int16)
    masks = np.zeros(patches.shape, dtype=bool)
    masks[:, :, 30:80, 30:80] = True
    radiomics = rng.normal(size=(n, len(FEATURE_NAMES)))
    radiomics[:, list(fitted.selected)] = (
        fitted.radiomic_mean + fitted.radiomic_sd * radiomics[:, list(fitted.selected)]
    )
    chart = {"screened": n + 3, "exclusions": [["No tumour", 3]], "cohorts": []}
    write_prepared_cohort(folder / "prepared", cases, patches, masks, radiomics, manifest={"flow_chart": chart})
    again = radiomics + 0.01 * rng.normal(size=radiomics.shape)
    write_prepared_cohort(folder / "again", cases, patches, masks, again)
    return folder


def _run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def _evaluate(folder: Path, report: Path) -> tuple[int, str]:
    control = f"disturbed={folder / 'again'}"
    return _run("evaluate", folder / "prepared", report, "--model", folder / "model", "--control", control)


@pytest.fixture(scope="module")
def evaluated(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of an evaluation. Do not change it."""
    report = tmp_path_factory.mktemp("report")
    code, output = _evaluate(folder, report)
    assert code == 0, output
    return report


def test_any_exported_model_is_evaluated_on_any_prepared_cohort(folder: Path, evaluated: Path) -> None:
    document = json.loads((evaluated / "report.json").read_text())
    assert document["evaluation"]["cut_off"] == 0.5
    assert document["evaluation"]["cut_off_source"] == "the exported model's own"
    models = document["evaluation"]["cohorts"]["Test"]["models"]
    assert set(models) == {"PD-L1ES", "disturbed", "volume", *BASELINES}
    assert document["prognosis"] is None
    assert document["warning"] is None  # the cohort has no known truth
    assert (evaluated / "figures" / "supplement-1-flow-chart.svg").is_file()
    assert not (evaluated / "cut_offs.json").exists()
    text = (evaluated / "report.html").read_text()
    assert str(folder) not in text + json.dumps(document)


def test_progression_leaves_what_the_export_needs(folder: Path, tmp_path: Path) -> None:
    code, output = _run("prognosis", folder / "prepared", tmp_path, "--model", folder / "model", "--permutations", "5")
    assert code == 0, output
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["prognosis"]["n"] == 14
    assert document["prognosis"]["groupings"]["model"]["cut_off"] == 0.5
    cut_offs = json.loads((tmp_path / "cut_offs.json").read_text())
    assert cut_offs["progression"]["method"] == "X-tile on the immunotherapy cohort"
    assert cut_offs["expression"]["method"] == "Youden on validation"


def test_one_report_holds_expression_and_progression(folder: Path, tmp_path: Path) -> None:
    options: list[str | Path] = [
        "--model",
        folder / "model",
        "--control",
        f"disturbed={folder / 'again'}",
        "--permutations",
        "5",
    ]
    code, output = _run("report", folder / "prepared", tmp_path, *options)
    assert code == 0, output
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["title"] == "PD-L1ES: expression and progression"
    assert "disturbed" in document["evaluation"]["cohorts"]["Test"]["models"]
    assert document["prognosis"]["n"] == 14
    assert "supplement-1-flow-chart" in document["figures"]
    assert any(name.startswith("figure-2") for name in document["figures"])
    assert json.loads((tmp_path / "cut_offs.json").read_text())["expression"]["method"] == "Youden on validation"


def test_a_part_that_the_cohort_does_not_hold_is_named_and_the_other_reported(folder: Path, tmp_path: Path) -> None:
    prepared = PreparedCohort.load(folder / "prepared")
    for missing, part in (("label", "expression"), ("pfs_days", "progression")):
        cases = prepared.cases.assign(**{missing: np.nan})
        write_prepared_cohort(tmp_path / part, cases, prepared.patches, prepared.masks, prepared.radiomics)
        place = tmp_path / f"report-{part}"
        code, output = _run("report", tmp_path / part, place, "--model", folder / "model", "--permutations", "5")
        assert code == 0, output
        assert f"not in the report {part}: " in " ".join(output.split())
        document = json.loads((place / "report.json").read_text())
        held = {"expression": document["evaluation"], "progression": document["prognosis"]}
        assert held.pop(part) is None
        assert None not in held.values()
        assert document["provenance"][part.capitalize()].startswith("not evaluated: ")


def test_another_report_is_never_overwritten(folder: Path, evaluated: Path) -> None:
    before = (evaluated / "report.json").read_bytes()
    for command in (
        ("prognosis", folder / "prepared", evaluated, "--model", folder / "model"),
        ("retest", folder / "prepared", folder / "again", evaluated, "--model", folder / "model"),
        ("evaluate", folder / "again", evaluated, "--model", folder / "model"),
    ):
        code, output = _run(*command)
        assert code == 2
        assert "which would be lost: choose another folder" in " ".join(output.split())
    assert (evaluated / "report.json").read_bytes() == before


def test_the_same_report_may_be_written_again_and_takes_the_scores_that_the_first_call_left(
    folder: Path, evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report"
    shutil.copytree(evaluated, report)

    def again(*arguments: object) -> NoReturn:
        raise AssertionError("a patient was scored twice")

    monkeypatch.setattr(cohort_scores, "score_case", again)
    code, output = _evaluate(folder, report)
    assert code == 0, output
    assert (report / "report.json").read_bytes() == (evaluated / "report.json").read_bytes()


def test_the_exported_cox_models_are_tested_on_other_patients_at_their_own_cut_offs(
    folder: Path, fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    coefficients, means = np.array([0.03, 0.5, 0.1, 0.2]), np.array([60.0, 0.5, 0.6, 0.1])
    cox_terms = CoxTerms(coefficients, means, np.array([1.0, 0.7]), np.array([0.5, 0.0]))
    cut_off = CutOff(value=0.5, method="test", above="high risk", below="low risk")
    export_random_model(
        tmp_path / "model",
        fitted,
        cut_off=cut_off,
        cox=cox_terms,
        clinical_cut_off=cut_off.model_copy(update={"value": 0.05}),
        fusion_cut_off=cut_off.model_copy(update={"value": 0.1}),
    )
    code, output = _run(
        "prognosis", folder / "prepared", tmp_path / "report", "--model", tmp_path / "model", "--permutations", "5"
    )
    assert code == 0, output
    exported = json.loads((tmp_path / "report" / "report.json").read_text())["prognosis"]["exported"]
    assert set(exported) == {"clinical", "fusion"}
    # independently: the linear predictor by hand, on the values that the model imputed
    prepared = PreparedCohort.load(folder / "prepared")
    found = scored_cohort(prepared, score_models(prepared, {"PD-L1ES": tmp_path / "model"}))
    rows = (prepared.cases["split"] == "prognosis").to_numpy()
    risk = (found.imputed[rows] - means) @ coefficients
    assert found.risks["clinical"][rows] == pytest.approx(risk, abs=1e-5)
    times, events = (prepared.cases[name].to_numpy()[rows] for name in ("pfs_days", "progressed"))
    assert exported["clinical"]["concordance"]["c_index"]["value"] == pytest.approx(
        concordance_index(times, -risk, events), abs=1e-6
    )
    fusion = (found.signature[rows] - 0.5) * 1.0 + risk * 0.7
    assert found.risks["fusion"][rows] == pytest.approx(fusion, abs=1e-5)


def test_two_scans_are_compared_by_the_models_own_cut_offs(folder: Path, tmp_path: Path) -> None:
    code, output = _run("retest", folder / "prepared", folder / "again", tmp_path, "--model", folder / "model")
    assert code == 0, output
    retest = json.loads((tmp_path / "report.json").read_text())["retest"]
    assert retest["n"] == 54
    assert set(retest["groups"]) == {"expression", "progression"}
    assert retest["median_icc"] > 0.99


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give either --run or --model"),
        (["--model", "{model}", "--beside", "DLM"], "'DLM' is not NAME=FOLDER"),
        (["--run", "{model}"], "holds no finished training run"),
        (["--model", "{prepared}"], "model.onnx cannot be read"),
    ],
)
def test_what_a_user_can_put_right_is_one_sentence(folder: Path, tmp_path: Path, options: list[str], said: str) -> None:
    places = {"model": folder / "model", "prepared": folder / "prepared"}
    code, output = _run("evaluate", folder / "prepared", tmp_path, *(o.format(**places) for o in options))
    assert code == 2
    assert said in " ".join(output.split())
    assert "Traceback" not in output


def test_the_division_that_was_trained_on_counts_and_scores_are_the_models(folder: Path) -> None:
    prepared = PreparedCohort.load(folder / "prepared")
    model = FusionModel.load(folder / "model", threads=1)
    table = score_models(prepared, {"PD-L1ES": model})
    moved = table.assign(split=["test" if split == "train" else split for split in table["split"]])
    found = scored_cohort(prepared, moved)
    assert (found.cases["split"] == "test").sum() == 30
    by_case = table.set_index("case_id")["probability"]
    assert found.signature == pytest.approx(by_case[list(prepared.case_ids)].to_numpy())
    assert not np.isnan(found.imputed).any()
    assert list(flow_chart_of(prepared, found)) == ["supplement-1-flow-chart"]
    with pytest.raises(PredictionsError, match="has to be called 'PD-L1ES'"):
        score_models(prepared, {"DLM": model})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the clinical variables alone, one epoch, beside its cohort."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(5)
    drawn, _ = draw_cohort({None: 60, "prognosis": 10}, seed=2)
    rows = [
        {name: (None if pd.isna(value) else value) for name, value in row.items()}
        for row in drawn[[*COLUMNS, *MORE]].to_dict("records")
    ]
    n = len(rows)
    patches = rng.normal(-300, 200, (n, 3, 112, 112)).astype(np.int16)
    masks = np.zeros(patches.shape, dtype=bool)
    masks[:, :, 30:80, 30:80] = True
    radiomics = rng.normal(size=(n, len(FEATURE_NAMES)))
    for name, shift in (("prepared", 0), ("renumbered", 1)):
        # the same pseudonyms, other patients
        shifted = case_table([{**row, "case_id": rows[(k + shift) % n]["case_id"]} for k, row in enumerate(rows)])
        order = np.argsort([str(rows[(k + shift) % n]["case_id"]) for k in range(n)])
        write_prepared_cohort(folder / name, shifted, patches[order], masks[order], radiomics[order])
    config = TrainingConfig(
        stages=(Stage(learning_rate=1e-4, epochs=1),),
        layers="small",
        models=("CM",),
        redivisions=0,
        augmentation="off",
    )
    hardware = Hardware(accelerator="cpu", devices="1", precision="32-true", workers=0, threads=1)
    train(PreparedCohort.load(folder / "prepared"), folder / "run", config, hardware=hardware)
    return folder


def test_a_run_is_not_evaluated_on_a_cohort_that_it_was_not_trained_on(run: Path, tmp_path: Path) -> None:
    for command in ("evaluate", "prognosis"):
        code, output = _run(command, run / "renumbered", tmp_path, "--run", run / "run")
        assert code == 2
        assert "was trained on another cohort than this one" in " ".join(output.split())
        assert "give the cohort that it was trained on" in " ".join(output.split())
    assert not list(tmp_path.iterdir())


def test_the_true_hazard_ratios_are_looked_for_among_the_immunotherapy_patients() -> None:
    settings = TruthSettings()
    model = true_model(settings)
    rng = np.random.default_rng(1)
    patients = draw_patients(rng, 400, "immunotherapy")
    logit = draw_labels(rng, model, patients)["bayes_logit"].to_numpy()
    survival = draw_survival(rng, model, logit, patients["age"].to_numpy())
    cases = pd.DataFrame({"split": "prognosis", **survival[["pfs_days", "progressed"]]})
    imputed = patients[["age", "sex", "smoking", "family_history"]].to_numpy(dtype=np.float64)
    truth = pd.DataFrame({"bayes_logit": logit})
    scored = ScoredCohort(cases, None, imputed, (), True, truth=truth)  # type: ignore[arg-type]  # no score is looked at
    gates = true_hazard_gates(scored, model.document())
    assert [gate.holds for gate in gates] == [True, True]
    assert "1.90" in gates[0].claim
    assert true_hazard_gates(ScoredCohort(cases, None, imputed, (), False), model.document()) == ()  # type: ignore[arg-type]


def test_the_full_reproduction_has_the_papers_sizes_and_the_small_one_100_patients() -> None:
    full, small = full_settings(), small_settings()
    assert (full.synthesis.expression, full.synthesis.prognosis, full.synthesis.gate) == (939, 94, 1000)
    assert [stage.learning_rate for stage in full.training.stages] == [stage.learning_rate for stage in PAPER_STAGES]
    assert full.training.epochs == 29
    assert full.training.correction == "none"
    assert full.training.redivisions == 2
    assert small.synthesis.expression + small.synthesis.prognosis + small.synthesis.gate == 100
    assert small.training.epochs == 2
    documents = [
        json.dumps(s.document(), default=str, sort_keys=True) for s in (full, full_settings(), full_settings(1))
    ]
    assert documents[0] == documents[1] != documents[2]
    assert isinstance(full, ReproductionSettings)
    other = full_settings(1, "label-free")
    assert (other.synthesis.pretrain, other.training.recipe, other.training.seed) == (400, "label-free", 1)
    assert other.pretraining is not None
    assert other.pretraining.patches == 45_000
    # the seed draws the division, and no test patient may be looked at
    assert other.pretraining.seed == other.synthesis.seed == 1
    assert replace(other.synthesis, pretrain=0, seed=0) == full.synthesis
