"""Pretraining looks at no label and at no test patient, can be stopped, and gives weights that a training takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.cohort.prepared import PreparedCohort
from training.pretrain.config import PretrainingConfig
from training.pretrain.network import ComponentNetwork
from training.pretrain.run import (
    WEIGHTS_FILE,
    PretrainingError,
    pretrain,
    pretraining_patients,
    renew_statistics,
)
from training.train.config import LAYERS, Hardware, TrainingConfig
from training.train.division import divide
from training.train.fitting import fit_on_training
from training.train.run import initial_network

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true", threads=1)
CohortMaker = Callable[..., PreparedCohort]


def test_only_training_patients_and_those_without_label_are_learnt_from(drawn: CohortMaker) -> None:
    cohort = drawn()
    division = divide(cohort.cases, 3)
    chosen = pretraining_patients(cohort, 3)
    split = cohort.cases["split"].to_numpy(dtype=object)
    assert set(chosen.learnt) == set(np.flatnonzero((split == "pretrain") | (division == "train")))
    assert set(chosen.kept_apart) == set(np.flatnonzero(division == "validation"))


def test_what_is_not_learnt_from_and_every_label_change_nothing(
    drawn: CohortMaker, tmp_path: Path, quick: PretrainingConfig
) -> None:
    cohort = drawn()
    pretrain(cohort, tmp_path / "one", quick, hardware=CPU)
    division = divide(cohort.cases, quick.seed)
    others = np.isin(division.astype(str), ("validation", "test"))
    patches = cohort.patches.copy()
    patches[others] = 0
    assert cohort.rim is not None
    rim = cohort.rim.copy()
    rim[others] = 0
    cases = cohort.cases.assign(split=division)
    # The division is the same one, written into the table; the labels of the training patients are exchanged.
    learnt = division == "train"
    cases.loc[learnt, "label"] = 1 - cases.loc[learnt, "label"]
    pretrain(replace(cohort, patches=patches, rim=rim, cases=cases), tmp_path / "two", quick, hardware=CPU)
    assert (tmp_path / "one" / WEIGHTS_FILE).read_bytes() == (tmp_path / "two" / WEIGHTS_FILE).read_bytes()


def test_it_learns_to_see_what_the_rim_shows(drawn: CohortMaker, tmp_path: Path, quick: PretrainingConfig) -> None:
    longer = quick.model_copy(update={"patches": 1600})
    document = pretrain(drawn(), tmp_path / "out", longer, hardware=CPU)
    assert document["loss"][-1] < 0.5 * document["loss"][0]
    assert document["seen"][0] > 0.8, "the first component is the brightness of the patch"
    assert document["patients"] == {"pretrain": 20, "all": 51}


def test_a_stopped_pretraining_continues_to_the_same_weights(
    drawn: CohortMaker, tmp_path: Path, quick: PretrainingConfig
) -> None:
    cohort = drawn()
    pretrain(cohort, tmp_path / "whole", quick, hardware=CPU)

    class Stopped(Exception):
        """Ends the run between two passes."""

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        pretrain(cohort, tmp_path / "stopped", quick, hardware=CPU, progress=stop)
    assert not (tmp_path / "stopped" / WEIGHTS_FILE).exists()
    told: list[int] = []
    pretrain(cohort, tmp_path / "stopped", quick, hardware=CPU, progress=lambda done, total: told.append(done))
    assert told[0] > 1, "it did not begin anew"
    assert (tmp_path / "stopped" / WEIGHTS_FILE).read_bytes() == (tmp_path / "whole" / WEIGHTS_FILE).read_bytes()


def test_a_folder_of_other_settings_or_patients_is_refused(
    drawn: CohortMaker, tmp_path: Path, quick: PretrainingConfig
) -> None:
    cohort = drawn()
    pretrain(cohort, tmp_path / "out", quick, hardware=CPU)
    kept = (tmp_path / "out" / "pretraining.json").read_bytes()
    with pytest.raises(PretrainingError, match="choose another folder"):
        pretrain(cohort, tmp_path / "out", quick.model_copy(update={"components": 2}), hardware=CPU)
    pretrain(cohort, tmp_path / "out", quick, hardware=CPU)
    assert (tmp_path / "out" / "pretraining.json").read_bytes() == kept


def test_a_cohort_without_rim_features_is_told_what_to_do(
    drawn: CohortMaker, tmp_path: Path, quick: PretrainingConfig
) -> None:
    with pytest.raises(PretrainingError, match="cohort prepare"):
        pretrain(replace(drawn(), rim=None), tmp_path / "out", quick, hardware=CPU)


def test_its_weights_start_a_training(drawn: CohortMaker, tmp_path: Path, quick: PretrainingConfig) -> None:
    cohort = drawn()
    pretrain(cohort, tmp_path / "out", quick, hardware=CPU)
    config = TrainingConfig(seed=quick.seed, layers="small")
    fitted = fit_on_training(cohort, divide(cohort.cases, quick.seed), config)
    network = initial_network(fitted, "PD-L1ES", config, pretrained=tmp_path / "out" / WEIGHTS_FILE)
    weights = torch.load(tmp_path / "out" / WEIGHTS_FILE, weights_only=True)
    for name, value in network.densenet.state_dict().items():
        assert torch.equal(value, weights[f"densenet.{name}"])


def test_the_statistics_are_plain_means_over_the_patients() -> None:
    rng = np.random.default_rng(0)
    patches = np.repeat(rng.normal(-400, 200, (8, 1, 112, 112)), 3, axis=1).astype(np.int16)
    network = ComponentNetwork(2, (-1000.0, 400.0), LAYERS["small"])
    renew_statistics(network, patches, seed=0)
    weights = network.densenet.state_dict()
    windowed = ((torch.from_numpy(patches[:, :1].astype(np.float32)) + 1000) / 1400).clamp(0, 1)
    first = torch.nn.functional.conv2d(windowed, weights["conv0.weight"], stride=2, padding=3)
    torch.testing.assert_close(weights["norm0.running_mean"], first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights["norm0.running_var"], first.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not network.training
