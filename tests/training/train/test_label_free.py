"""The recipe ``label-free``: the network stays as it was pretrained, and what it is judged by never saw the patient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from pdl1es.model.fusion import FusionModel
from tests.training.drawn_cohorts import drawn_cohort
from tests.training.train.conftest import CPU
from training.analysis.cohort_analysis import analyse_cohort
from training.analysis.finished_run import nested_recipe, run_predictions
from training.cohort.prepared import PreparedCohort
from training.commands.cli import app
from training.expression.results import Evaluation
from training.release.export_run import release
from training.scoring.cohort_scores import score_cohort
from training.scoring.scored_cohort import scored_cohort
from training.train.config import TrainingConfig
from training.train.division import DivisionError, divide, fitted_on
from training.train.fitting import fit_on_training
from training.train.label_free import deep_features, folds_of
from training.train.run import initial_network, train
from training.train.run_folder import TrainingError, load_network, read_run

CONFIG = TrainingConfig(recipe="label-free", seed=2, layers="small", redivisions=1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    """Patients whose label shows in every part."""
    return drawn_cohort(tmp_path_factory.mktemp("cohort"), 150, seed=1, signal=0.5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, cohort: PreparedCohort) -> Path:
    """A file of weights, as a pretraining leaves them."""
    fitted = fit_on_training(cohort, divide(cohort.cases, 0), TrainingConfig(layers="small"))
    network = initial_network(fitted, "PD-L1ES", TrainingConfig(layers="small", seed=9))
    file = tmp_path_factory.mktemp("weights") / "pretrained.pt"
    torch.save({f"densenet.{name}": value for name, value in network.densenet.state_dict().items()}, file)
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cohort: PreparedCohort, weights: Path) -> Iterator[Path]:
    """A finished run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    train(cohort, folder, CONFIG, hardware=CPU, pretrained=weights)
    yield folder
    torch.set_num_threads(threads)


def test_no_weight_of_the_network_is_changed(run: Path, weights: Path) -> None:
    record, fitted, _ = read_run(run)
    network = load_network(run / "networks" / "PD-L1ES", fitted, "PD-L1ES", record.config)
    given = torch.load(weights, weights_only=True)
    for name, value in network.densenet.state_dict().items():
        assert torch.equal(value, given[f"densenet.{name}"]), name


def test_training_and_validation_patients_are_fitted_on_and_no_other(cohort: PreparedCohort, run: Path) -> None:
    division = divide(cohort.cases, CONFIG.seed)
    assert set(division[fitted_on(division, CONFIG)]) == {"train", "validation"}
    table = pd.read_parquet(run / "predictions.parquet")
    signature = table[table["model"] == "PD-L1ES"].set_index("case_id").loc[list(cohort.case_ids)]
    assert (signature["out_of_fold"].notna().to_numpy() == np.isin(division.astype(str), ("train", "validation"))).all()


def test_other_labels_and_values_of_the_test_patients_change_no_score_of_the_others(
    cohort: PreparedCohort, run: Path, weights: Path, tmp_path: Path
) -> None:
    division = divide(cohort.cases, CONFIG.seed)
    cases = cohort.cases.assign(split=division)
    test = division == "test"
    cases.loc[test, "label"] = 1 - cases.loc[test, "label"]
    radiomics = cohort.radiomics.copy()
    radiomics[test] *= 3
    other = PreparedCohort(cases, cohort.patches, cohort.masks, radiomics, cohort.failures, {})
    config = CONFIG.model_copy(update={"models": ("PD-L1ES",), "redivisions": 0})
    train(other, tmp_path, config, hardware=CPU, pretrained=weights)
    before, after = (pd.read_parquet(folder / "predictions.parquet") for folder in (run, tmp_path))
    before = before[before["model"] == "PD-L1ES"].reset_index(drop=True)
    same = ~test
    for column in ("probability", "out_of_fold"):
        np.testing.assert_array_equal(before[column][same], after[column][same])


def test_an_out_of_fold_score_is_scikit_learns_without_the_patient(cohort: PreparedCohort, run: Path) -> None:
    """The clinical model alone, where nothing but a z-score precedes the layer of patients with all four variables."""
    division = divide(cohort.cases, CONFIG.seed)
    chosen = fitted_on(division, CONFIG)
    patients = cohort.subset(chosen)
    _, _, summary = read_run(run)
    strength = summary["networks"]["CM"]["strengths"]["clinical"]
    seed = int(np.random.SeedSequence([CONFIG.seed, 12, 0]).generate_state(1)[0])
    places = folds_of(patients.labels, CONFIG.folds, seed)
    table = pd.read_parquet(run / "predictions.parquet")
    found = table[table["model"] == "CM"].set_index("case_id").loc[list(patients.case_ids)]
    inside = places != 0
    part = patients.subset(inside)
    division_of_fold = np.where(inside, "train", "test").astype(object)
    fitted = fit_on_training(patients, division_of_fold, TrainingConfig(alpha=0.1))
    network = initial_network(fitted, "CM", TrainingConfig(layers="small"))
    z = network.preprocess(torch.from_numpy(patients.radiomics), torch.from_numpy(patients.clinical))[1].numpy()
    theirs = LogisticRegression(C=1 / (strength * len(part)), tol=1e-12, max_iter=10_000).fit(z[inside], part.labels)
    graded = ~inside & patients.smoking_graded
    np.testing.assert_allclose(
        logit(found["out_of_fold"][graded]), theirs.decision_function(z[graded]), atol=1e-5, rtol=0
    )


def test_the_exported_file_scores_as_the_layer_that_was_fitted(cohort: PreparedCohort, run: Path) -> None:
    record, fitted, _ = read_run(run)
    network = load_network(run / "networks" / "PD-L1ES", fitted, "PD-L1ES", record.config)
    bias, deep, radiomic, clinical = (part.numpy() for part in network.logit_weights())
    z = network.preprocess(torch.from_numpy(cohort.radiomics), torch.from_numpy(cohort.clinical))
    by_hand = bias + deep_features(network, cohort.patches) @ deep + z[0].numpy() @ radiomic + z[1].numpy() @ clinical
    graded = cohort.smoking_graded
    scores = score_cohort(FusionModel.load(run / "networks" / "PD-L1ES", threads=1), cohort)
    np.testing.assert_allclose(scores["logit"][graded], by_hand[graded], atol=1e-4)


def test_it_is_judged_by_scores_that_never_saw_the_patient(cohort: PreparedCohort, run: Path) -> None:
    table = run_predictions(run)
    scored = scored_cohort(cohort, table)
    own = table[table["model"] == "PD-L1ES"].set_index("case_id").loc[list(cohort.case_ids)]
    held = own["out_of_fold"].notna().to_numpy()
    np.testing.assert_array_equal(scored.signature[held], own["out_of_fold"][held])
    np.testing.assert_array_equal(scored.signature[~held], own["probability"][~held])
    evaluation = analyse_cohort(scored, progression=False).evaluation
    assert isinstance(evaluation, Evaluation)
    assert evaluation.operating_point_source == "Youden on out-of-fold scores"
    assert not evaluation.cohorts["Training"].fitted_here


def test_labels_that_say_nothing_are_seen_by_nobody(weights: Path, tmp_path: Path) -> None:
    drawn = drawn_cohort(tmp_path / "cohort", 200, seed=6, signal=0.0)
    config = CONFIG.model_copy(update={"models": ("PD-L1ES",), "redivisions": 0})
    summary = train(drawn, tmp_path / "run", config, hardware=CPU, pretrained=weights)
    assert 0.35 < summary["networks"]["PD-L1ES"]["out_of_fold_auc"] < 0.65


def test_the_frozen_networks_features_go_into_the_nested_folds(
    cohort: PreparedCohort, run: Path, weights: Path
) -> None:
    recipe = nested_recipe(run, cohort)
    fitted = fit_on_training(cohort, divide(cohort.cases, 0), TrainingConfig(layers="small"))
    pretrained = initial_network(fitted, "PD-L1ES", TrainingConfig(layers="small"), pretrained=weights).eval()
    assert recipe.deep is not None
    np.testing.assert_array_equal(recipe.deep, deep_features(pretrained, cohort.patches))
    assert recipe.network_seconds is None
    assert recipe.config == read_run(run)[0].config


def test_card_and_metadata_say_the_recipe(run: Path, tmp_path: Path) -> None:
    release(run, tmp_path, cases=2)
    card = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Recipe `label-free`: no label changed the network." in card
    assert "out of fold" in card
    assert "epochs" not in card
    assert FusionModel.load(tmp_path).metadata.recipe == "label-free"
    assert FusionModel.load(tmp_path).metadata.expression_cut_off.method == "Youden on out-of-fold scores"


def test_one_patient_in_two_rows_of_those_fitted_on_is_refused(
    cohort: PreparedCohort, weights: Path, tmp_path: Path
) -> None:
    """The copy would be in another fold, and flatter the out-of-fold scores."""
    one, two = np.flatnonzero(divide(cohort.cases, CONFIG.seed) == "train")[:2]
    patches = np.asarray(cohort.patches).copy()
    patches[two] = patches[one]
    with pytest.raises(DivisionError, match=f"{cohort.case_ids[one]} and {cohort.case_ids[two]}"):
        train(replace(cohort, patches=patches), tmp_path, CONFIG, hardware=CPU, pretrained=weights)


def test_it_needs_weights(cohort: PreparedCohort, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="pdl1es pretrain"):
        train(cohort, tmp_path, CONFIG, hardware=CPU)


def test_the_command_runs_it_and_tells_how(cohort: PreparedCohort, weights: Path, tmp_path: Path) -> None:
    arguments = ["train", str(cohort.folder), str(tmp_path / "run"), "--recipe", "label-free", "--layers", "small"]
    options = ["--pretrained", str(weights), "--redivisions", "0", "--accelerator", "cpu", "--threads", "1"]
    result = CliRunner().invoke(app, arguments + options)
    assert result.exit_code == 0, result.output
    assert "ridge: deep" in result.output


def test_the_recipe_has_its_own_selection_unless_told() -> None:
    assert (CONFIG.alpha, CONFIG.correction) == (0.1, "benjamini-hochberg")
    told = TrainingConfig(recipe="label-free", alpha=0.05, correction="none")
    assert (told.alpha, told.correction) == (0.05, "none")
    assert (TrainingConfig().alpha, TrainingConfig().correction) == (0.05, "none")
