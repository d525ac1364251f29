"""A whole run: nothing leaks, nothing is done twice, and what is exported is what was trained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from pdl1es.clinical import VARIABLES
from pdl1es.model.fusion import FusionModel
from tests.training.finished_runs import CPU, QUICK, Run
from training.cohort.prepared import PreparedCohort
from training.commands.cli import app
from training.fit import select_features
from training.preprocessing import FittedPreprocessing
from training.release.export_run import release
from training.scoring.predictions import predictions_of
from training.train.config import ModelName, Stage, TrainingConfig, read_configuration
from training.train.data import WholePatients
from training.train.division import TEST, TRAIN, VALIDATION, Division, divide
from training.train.fitting import fit_on_training
from training.train.module import patient_logits
from training.train.run import initial_network, network_inputs, train
from training.train.run_folder import NETWORKS, PREDICTIONS_FILE, SUMMARY_FILE, TrainingError, load_network, read_run
from training.train.stages import train_network

# --- What a run leaves ---


def test_every_model_scores_every_case(run: Run) -> None:
    table = pd.read_parquet(run.folder / PREDICTIONS_FILE)
    assert set(table["model"]) == {"PD-L1ES", "DLM", "RM", "CM"}
    assert len(table) == 4 * 120
    one = table[table["model"] == "PD-L1ES"]
    assert one["split"].value_counts().to_dict() == {TRAIN: 87, VALIDATION: 10, TEST: 13, "prognosis": 10}
    assert one["refusal"].isna().all()
    assert one["probability"].to_numpy() == pytest.approx(expit(one["logit"].to_numpy()), abs=1e-12)
    assert all(len(scores) == 3 for scores in one["slice_scores"])
    assert predictions_of(table).models == ("PD-L1ES", "DLM", "RM", "CM")


def test_the_exported_file_scores_as_the_network_that_was_trained(run: Run) -> None:
    """Missing clinical values and smokers of unknown grade included."""
    table = pd.read_parquet(run.folder / PREDICTIONS_FILE)
    record, fitted, _ = read_run(run.folder)
    known = np.flatnonzero(~np.isnan(run.cohort.labels))
    for name in ("PD-L1ES", "CM"):
        network = load_network(run.folder / NETWORKS / name, fitted, name, record.config)
        inputs = network_inputs(network, run.cohort.subset(known), fitted.smoker_grade)
        with torch.inference_mode():
            logits = patient_logits(network, WholePatients(inputs).__getitems__(range(len(known))))
        served = table[table["model"] == name]["logit"].to_numpy()[known]
        assert served == pytest.approx(logits.double().numpy(), abs=1e-5)
    smoking = table.loc[(table["model"] == "CM") & table["case_id"].isin(["case-0004", "case-0111"]), "imputed_smoking"]
    assert smoking.tolist() == [fitted.smoker_grade] * 2


def test_a_redivision_is_trained_again_and_scored_with_its_own_split(run: Run) -> None:
    again = pd.read_parquet(run.folder / "redivisions" / "1" / PREDICTIONS_FILE)
    first = pd.read_parquet(run.folder / PREDICTIONS_FILE).query("model == 'PD-L1ES'").reset_index(drop=True)
    assert set(again["model"]) == {"PD-L1ES"}
    assert ((again["split"] == TRAIN) == (first["split"] == TRAIN)).all()
    assert (again["split"] != first["split"]).any()
    assert (again["logit"] != first["logit"]).all()


def test_the_summary_says_how_long_each_network_trained_and_how_fast(run: Run) -> None:
    document = json.loads((run.folder / SUMMARY_FILE).read_text())
    assert document["counts"]["train"] == {"patients": 87, "high": 35}
    for network in document["networks"].values():
        assert network["epochs"] == sum(stage["epochs"] for stage in network["stages"]) == 3
        assert network["patches_per_second"] > 0
        assert 0 <= network["waiting_for_data"] < 1
        assert set(network["auc"]) == {"train", "validation", "test", "prognosis"}
    assert document["fitted"]["constant_features"] == 87
    assert [item["variable"] for item in document["fitted"]["imputation_difference_from_exact"]] == list(VARIABLES)


def test_a_finished_run_is_left_alone(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.suffix in (".pt", ".onnx")}
    again = train(run.cohort, run.folder, QUICK, hardware=CPU)
    assert again["networks"] == run.summary["networks"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_configuration_or_cohort_in_the_same_folder_is_refused(run: Run) -> None:
    with pytest.raises(TrainingError, match="another configuration \\(patience 8 -> 9\\)"):
        train(run.cohort, run.folder, QUICK.model_copy(update={"patience": 9}), hardware=CPU)
    with pytest.raises(TrainingError, match="another cohort"):
        train(replace(run.cohort, radiomics=run.cohort.radiomics + 1), run.folder, QUICK, hardware=CPU)


def test_a_killed_run_goes_on_to_the_same_weights(cohort: PreparedCohort, tmp_path: Path) -> None:
    """Killed for good (SIGKILL) somewhere between two epochs, as by a power cut."""
    config = TrainingConfig(
        stages=(Stage(learning_rate=1e-3, epochs=20), Stage(learning_rate=1e-4, epochs=2)),
        models=("RM",),
        redivisions=0,
        patience=20,
    )
    (tmp_path / "config.json").write_text(config.model_dump_json())
    command = [sys.executable, "-m", "training.commands.cli", "train", str(cohort.folder), str(tmp_path / "killed")]
    options = ["--config", str(tmp_path / "config.json"), "--accelerator", "cpu"]
    stage = tmp_path / "killed" / NETWORKS / "RM" / "stage-1"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL, env=environment)
    while process.poll() is None and not (stage / "last.ckpt").is_file():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (stage / "stage.json").is_file()
    weights = []
    for name in ("killed", "whole"):
        train(cohort, tmp_path / name, config, hardware=CPU)
        weights.append((tmp_path / name / NETWORKS / "RM" / "weights.pt").read_bytes())
    assert weights[0] == weights[1]


def test_an_unfinished_run_cannot_be_exported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run.folder / "run.json").read_bytes())
    with pytest.raises(TrainingError, match=r"fitted\.npz is missing"):
        release(tmp_path, tmp_path / "model")


# --- Nothing leaks ---


def with_other_values(cohort: PreparedCohort, which: np.ndarray) -> PreparedCohort:
    """Replace everything of some patients, their labels by the opposite."""
    rng = np.random.default_rng(9)
    cases, radiomics, patches = cohort.cases.copy(), cohort.radiomics.copy(), cohort.patches.copy()
    radiomics[which] = rng.normal(1e4, 1e4, radiomics[which].shape)
    patches[which] = rng.integers(-1000, 3000, patches[which].shape)
    for name in VARIABLES:
        cases.loc[which, name] = rng.integers(0, 2, int(which.sum())).astype(float)
    cases.loc[which, "label"] = 1.0 - cases.loc[which, "label"]
    return replace(cohort, cases=cases, radiomics=radiomics, patches=patches)


def same_fit(one: FittedPreprocessing, other: FittedPreprocessing) -> bool:
    arrays = ("clinical_mean", "clinical_sd", "radiomic_mean", "radiomic_sd")
    profiles = ("values", "counts", "training_mean")
    return (
        one.selected == other.selected
        and one.smoker_grade == other.smoker_grade
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
        and all(np.array_equal(getattr(one.profiles, name), getattr(other.profiles, name)) for name in profiles)
    )


def test_other_validation_and_test_patients_change_nothing_that_is_fitted(cohort: PreparedCohort) -> None:
    division = divide(cohort.cases, QUICK.seed)
    fitted = fit_on_training(cohort, division, QUICK)
    for which in (division == VALIDATION, division == TEST, division != TRAIN):
        assert same_fit(fit_on_training(with_other_values(cohort, which), division, QUICK), fitted)
    changed = with_other_values(cohort, division == TRAIN)
    assert not same_fit(fit_on_training(changed, division, QUICK), fitted)


def test_other_test_patients_change_no_weight(cohort: PreparedCohort, tmp_path: Path) -> None:
    """Validation chooses the epoch; test does nothing at all. The table names the splits: else labels decide them."""
    division = divide(cohort.cases, QUICK.seed)
    divided = replace(cohort, cases=cohort.cases.assign(split=division))
    weights = []
    for number, given in enumerate((divided, with_other_values(divided, division == TEST))):
        config = QUICK.model_copy(update={"models": ("RM",), "redivisions": 0})
        train(given, tmp_path / str(number), config, hardware=CPU)
        weights.append((tmp_path / str(number) / NETWORKS / "RM" / "weights.pt").read_bytes())
    assert weights[0] == weights[1]


def area_on_test(
    cohort: PreparedCohort, name: ModelName, seed: int, folder: Path, fit: Callable[..., FittedPreprocessing]
) -> float:
    """AUC on 60 test patients of a network trained on 45 and validated on 15."""
    division: Division = np.array(
        [(TRAIN, TRAIN, TRAIN, VALIDATION, TEST, TEST, TEST, TEST)[i % 8] for i in range(120)]
    )
    config = QUICK.model_copy(update={"seed": seed})
    fitted = fit(cohort, division, config)
    network = initial_network(fitted, name, config)
    inputs = {
        part: network_inputs(network, cohort.subset(division == part), fitted.smoker_grade)
        for part in (TRAIN, VALIDATION, TEST)
    }
    train_network(network, inputs[TRAIN], inputs[VALIDATION], config, folder, hardware=CPU)
    with torch.inference_mode():
        logits = patient_logits(network, WholePatients(inputs[TEST]).__getitems__(range(len(inputs[TEST]))))
    return float(roc_auc_score(inputs[TEST].labels, logits))


def permuted(cohort: PreparedCohort, seed: int) -> PreparedCohort:
    labels = np.random.default_rng(seed).permutation(cohort.labels)
    return replace(cohort, cases=cohort.cases.assign(label=labels))


def interval(areas: list[float]) -> tuple[float, float]:
    half = student.ppf(0.975, len(areas) - 1) * np.std(areas, ddof=1) / np.sqrt(len(areas))
    return float(np.mean(areas) - half), float(np.mean(areas) + half)


@pytest.mark.parametrize(("name", "seeds"), [("RM", 12), ("CM", 12), ("DLM", 5), ("PD-L1ES", 5)])
def test_permuted_labels_give_areas_around_a_half(
    name: ModelName, seeds: int, cohort: PreparedCohort, tmp_path: Path
) -> None:
    areas = [
        area_on_test(permuted(cohort, seed), name, seed, tmp_path / str(seed), fit_on_training) for seed in range(seeds)
    ]
    low, high = interval(areas)
    assert low < 0.5 < high, areas


def test_the_permutation_finds_a_leak_where_there_is_one(cohort: PreparedCohort, tmp_path: Path) -> None:
    """Features selected on everybody, test patients included: labels that mean nothing are then predicted."""

    def leaking(given: PreparedCohort, division: Division, config: TrainingConfig) -> FittedPreprocessing:
        fitted = fit_on_training(given, division, config)
        chosen = select_features(given.radiomics, given.labels).selected
        values = given.radiomics[:, chosen]
        return replace(fitted, selected=chosen, radiomic_mean=values.mean(0), radiomic_sd=values.std(0))

    areas = [area_on_test(permuted(cohort, seed), "RM", seed, tmp_path / str(seed), leaking) for seed in range(6)]
    assert interval(areas)[0] > 0.6


def test_labels_as_they_are_can_be_learnt(cohort: PreparedCohort, tmp_path: Path) -> None:
    assert area_on_test(cohort, "RM", 0, tmp_path, fit_on_training) > 0.8


# --- Several devices ---


def test_two_processes_train_one_run(cohort: PreparedCohort, tmp_path: Path) -> None:
    """Lightning starts the command again for the second; their gradients meet on this machine (gloo)."""
    config = {"models": ["CM", "PD-L1ES"], "layers": "small", "stages": [{"learning_rate": 0.003, "epochs": 1}]}
    (tmp_path / "config.json").write_text(json.dumps({**config, "redivisions": 0, "batch_size": 30}))
    train(cohort, tmp_path / "1", read_configuration(tmp_path / "config.json"), hardware=CPU)
    command = [sys.executable, "-m", "training.commands.cli", "train", str(cohort.folder), str(tmp_path / "2")]
    options = ["--accelerator", "cpu", "--workers", "0", "--threads", "1", "--devices", "2", "--strategy", "ddp"]
    done = subprocess.run(
        [*command, "--config", str(tmp_path / "config.json"), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    files = [sorted(str(path.relative_to(tmp_path / d)) for path in (tmp_path / d).rglob("*")) for d in "12"]
    assert files[0] == files[1]
    _, _, summary = read_run(tmp_path / "2")
    one = read_run(tmp_path / "1")[2]
    for name, network in summary["networks"].items():
        assert network["epochs"] == 1
        # each has as many patches as the other, so that an odd one out is seen twice
        patches = one["networks"][name]["history"][0]["patches"]
        assert network["history"][0]["patches"] == patches + patches % 2
        assert network["auc"].keys() == one["networks"][name]["auc"].keys()
    assert len(pd.read_parquet(tmp_path / "2" / PREDICTIONS_FILE)) == 2 * len(cohort)
    assert release(tmp_path / "2", tmp_path / "model", cases=2).difference <= 1e-5


# --- Command line ---


def test_train_and_export_from_the_command_line(cohort: PreparedCohort, tmp_path: Path) -> None:
    config = {
        "models": ["PD-L1ES"],
        "layers": "small",
        "augmentation": "off",
        "stages": [{"learning_rate": 0.003, "epochs": 9}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    options = ["--config", str(tmp_path / "config.json"), "--epochs", "1", "--redivisions", "0", "--accelerator", "cpu"]
    runner = CliRunner()
    result = runner.invoke(app, ["train", str(cohort.folder), str(tmp_path / "run"), *options])
    assert result.exit_code == 0, result.output
    assert "1 of 1" in result.output
    assert "% of it waiting for data" in result.stderr
    exported = runner.invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "model"), "--model-version", "2.1"])
    assert exported.exit_code == 0, exported.output
    assert FusionModel.load(tmp_path / "model").metadata.version == "2.1"
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "MODEL_CARD.md",
        "metadata.json",
        "model.onnx",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--augmentation", "wild"], "augmentation"), (["--precision", "8"], "precision"), (["--layers", "50"], "layers")],
)
def test_a_wrong_option_ends_with_exit_code_2_and_is_named(
    options: list[str], said: str, cohort: PreparedCohort, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["train", str(cohort.folder), str(tmp_path / "run"), *options])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "run").exists()
