"""The model card says what the run did, no more, and how to do it again."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.folder import METADATA_FILE
from pdl1es.model.metadata import CutOff, ModelMetadata
from tests.training.documented_commands import commands, misunderstood
from training.release.bundle import bundle_metadata
from training.release.calibration_claim import CalibrationClaim
from training.release.card import model_card
from training.train.config import PAPER_STAGES, Stage, TrainingConfig, read_configuration

CUT = CutOff(value=0.5, method="test", above="above", below="below")
CLAIM = CalibrationClaim(False, "The score is no probability: a test.")
AREA = {"value": 0.712, "lower": 0.6, "upper": 0.8, "patients": 96}


def metadata() -> ModelMetadata:
    return ModelMetadata(
        name="PD-L1ES of a hospital",
        version="2.1",
        training_data="patients",
        trained_on="patients",
        intended_use="a test",
        limitations=("A limit.",),
        method_digest="0" * 64,
        feature_names=FEATURE_NAMES,
        selected_features=FEATURE_NAMES[:2],
        clinical_names=("age", "sex", "smoking", "family_history"),
        window_hu=(-1000, 400),
        smoker_grade=1.2,
        expression_cut_off=CUT,
        progression_cut_off=CUT,
        calibrated=False,
    )


def summary(config: TrainingConfig, splits: tuple[str, ...], **epochs: tuple[int, ...]) -> dict[str, Any]:
    """Return a run's summary: networks by name, with the epochs that they ran at each learning rate."""
    networks = {
        name.replace("_", "-"): {
            "epochs": sum(ran),
            "epochs_planned": config.epochs,
            "stages": [
                {"epochs": number, "epochs_planned": stage.epochs}
                for number, stage in zip(ran, config.stages, strict=True)
            ],
            "best_stage": 1,
            "best_epoch": 1,
            "validation_auc": 0.7,
            "device": "cpu, 1 threads",
            "precision": "bf16-mixed",
            "patches_per_second": 30.0,
            "waiting_for_data": 0.01,
            "auc": dict.fromkeys(splits, AREA),
            "history": [],
        }
        for name, ran in epochs.items()
    }
    return {
        "counts": {"train": {"patients": 750, "high": 262}},
        "fitted": {
            "selected_features": 2,
            "tested_features": 1316,
            "constant_features": 0,
            "alpha": 0.05,
            "correction": "none",
            "profiles": 40,
            "patients_in_profiles": 700,
            "imputation_difference_from_exact": [],
        },
        "networks": networks,
        "redivisions": {},
        "not_trained": {},
        "versions": {"torch": "2", "numpy": "2"},
        "config": config.model_dump(mode="json"),
    }


def card(document: dict[str, Any], *, with_cut_offs: bool = True) -> str:
    return model_card(metadata(), document, 1e-7, 100, CLAIM, with_cut_offs=with_cut_offs)


def test_the_table_of_areas_has_a_column_for_each_split_that_was_scored_and_no_other() -> None:
    config = TrainingConfig()
    document = summary(config, ("train", "validation", "test"), PD_L1ES=(20, 20, 20), CM=(20, 20, 20))
    text = card(document)
    assert "| model | training (n = 96) | validation (n = 96) | test (n = 96) |\n" in text
    assert "| CM | 0.71 (0.60-0.80) | 0.71 (0.60-0.80) | 0.71 (0.60-0.80) |\n" in text
    assert "further test" not in text
    assert "immunotherapy" not in text
    with_more = copy.deepcopy(document)
    with_more["networks"]["PD-L1ES"]["auc"] |= {"gate": {**AREA, "patients": 1000}, "prognosis": AREA}
    text = card(with_more)
    assert "| test (n = 96) | further test (n = 1000) | immunotherapy (n = 96) |\n" in text
    assert "| CM | 0.71 (0.60-0.80) | 0.71 (0.60-0.80) | 0.71 (0.60-0.80) | - | - |\n" in text
    del document["networks"]["PD-L1ES"]["auc"]["test"], document["networks"]["CM"]["auc"]["test"]
    assert "| model | training (n = 96) | validation (n = 96) |\n" in card(document)


def test_a_model_of_phantoms_has_a_card_without_patients_and_one_of_patients_has_them() -> None:
    for recipe in ("paper", "label-free"):
        document = summary(TrainingConfig(), ("train", "test", "prognosis"), PD_L1ES=(20, 20, 20))
        document["counts"]["prognosis"] = {"patients": 94, "high": 0}
        document["fitted"]["imputation_difference_from_exact"] = [
            {"variable": "smoking", "mean": 0.1, "largest": 0.5, "missing": 3}
        ]
        if recipe == "label-free":
            document["config"] |= {"recipe": recipe, "folds": 5}
            for network in document["networks"].values():
                network |= {"deviance": 0.5, "out_of_fold_auc": 0.7, "strengths": {}}
        for kind, cases, progression in (
            ("synthetic", "phantoms", "phantoms with simulated progression"),
            ("patients", "patients", "immunotherapy"),
        ):
            told = metadata().model_copy(update={"training_data": kind})
            text = model_card(told, document, 1e-7, 100, CLAIM, with_cut_offs=True)
            assert f"| split | {cases} | high expression |" in text
            assert f"| {progression} | 94 |" in text
            assert f"| {progression} (n = 96) |" in text
            assert re.sub(r"\s+", " ", text).count(f"on the {cases} of the other columns") == 1
            assert f"at least five {cases} share (700 {cases})" in text
            assert f"smoking 0.1 (at most 0.5) in 3 {cases}" in text
            assert ("immunotherapy" in text) == (kind == "patients")


def test_fewer_epochs_than_the_papers_are_said_with_their_number_at_each_rate() -> None:
    short = TrainingConfig(stages=(Stage(learning_rate=1e-4, epochs=20), Stage(learning_rate=1e-5, epochs=6)))
    text = card(summary(short, ("train",), PD_L1ES=(20, 6)))
    assert (
        "**Fewer epochs were planned than the paper's 20 at each of 3 learning rates**: 20 at 0.0001, 6 at 1e-05."
        in text
    )
    assert "Early stopping ended" not in text


def test_networks_that_stopped_early_are_named_with_their_epochs() -> None:
    config = TrainingConfig()
    document = summary(config, ("train",), PD_L1ES=(20, 13, 8), CM=(20, 20, 20))
    document["redivisions"] = {"2": {"PD-L1ES": summary(config, (), PD_L1ES=(9, 8, 8))["networks"]["PD-L1ES"]}}
    text = card(document)
    assert (
        "**Early stopping ended the training before the 60 planned epochs**: PD-L1ES 41 (20 + 13 + 8), PD-L1ES, "
        "re-division 2 25 (9 + 8 + 8); in brackets" in text
    )
    assert "Fewer epochs were planned" not in text


def test_a_run_of_all_the_papers_epochs_says_so() -> None:
    text = card(summary(TrainingConfig(), ("train",), PD_L1ES=(20, 20, 20)))
    assert "Every network ran every planned epoch, and no fewer were planned than in the paper." in text
    assert [stage.epochs for stage in PAPER_STAGES] == [20, 20, 20]


@pytest.mark.parametrize("with_cut_offs", [True, False])
def test_the_recipe_is_commands_that_there_are_with_the_runs_own_configuration(
    tmp_path: Path, with_cut_offs: bool
) -> None:
    config = TrainingConfig(seed=5, patience=3, window_hu=(-900, 300), models=("PD-L1ES", "CM"), pretrained="ab" * 32)
    document = summary(config, ("train",), PD_L1ES=(20, 20, 20))
    text = card(document, with_cut_offs=with_cut_offs)
    recipe = commands(text)
    assert [fault for command in recipe if (fault := misunderstood(command))] == []
    names = [command[0] for command in recipe]
    assert names == ["cohort", "train", "evaluate", *(["prognosis"] if with_cut_offs else []), "export"]
    train = recipe[1]
    assert train[train.index("--config") + 1] == "config.json"
    assert train[train.index("--precision") + 1] == "bf16-mixed"
    assert "--pretrained" in train
    assert recipe[-1][recipe[-1].index("--name") + 1] == "PD-L1ES of a hospital"
    # the first line of the recipe, as a shell would run it beside the card
    (tmp_path / METADATA_FILE).write_text(json.dumps(bundle_metadata(metadata(), document, {"2.1": "new"}, 1e-7)))
    code = next(line for line in text.splitlines() if "python3 -c" in line).split('"')[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    (tmp_path / "config.json").write_text(done.stdout)
    assert read_configuration(tmp_path / "config.json") == config
