"""What the analyses read of a finished run."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest

from tests.training.finished_runs import Run
from training.analysis.finished_run import nested_recipe, run_predictions, run_provenance
from training.scoring.predictions import SIGNATURE
from training.train.run_folder import PREDICTIONS_FILE, RUN_FILE, SUMMARY_FILE, TrainingError


def test_scores_of_disturbed_inputs_join_the_runs_own_and_change_no_type(run: Run) -> None:
    """Columns that one of the two leaves empty say nothing of the others' type, and stay."""
    own = pd.read_parquet(run.folder / PREDICTIONS_FILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = run_predictions(run.folder, {"disturbed": run.cohort})
    assert list(own.columns) == [name for name in found.columns if name in own.columns]
    assert list(found.columns[: len(own.columns)]) == list(own.columns)
    for name in ("probability", "logit", "imputed_age"):
        assert found[name].dtype == own[name].dtype
    undisturbed, disturbed = (found[found["model"] == name] for name in (SIGNATURE, "disturbed"))
    assert len(found) == len(own) + len(disturbed)
    before, after = (part.set_index("case_id")["probability"] for part in (undisturbed, disturbed))
    assert (before - after[before.index]).abs().max() < 1e-5


def test_a_network_that_was_trained_on_labels_is_not_nested_and_its_time_is_told(run: Run) -> None:
    recipe = nested_recipe(run.folder, run.cohort)
    assert recipe.deep is None
    assert recipe.repeats is None
    assert recipe.of_a_run
    assert recipe.config.recipe == "paper"
    assert recipe.network_seconds == run.summary["networks"][SIGNATURE]["training_seconds"] > 0


def test_features_measured_again_go_with_a_run_that_was_filtered_by_them_and_with_no_other(
    run: Run, tmp_path: Path
) -> None:
    second = run.cohort.folder
    assert second is not None
    with pytest.raises(TrainingError, match="not filtered by stability: leave --stability out"):
        nested_recipe(run.folder, run.cohort, second)
    filtered = tmp_path / "run"
    shutil.copytree(run.folder, filtered, ignore=shutil.ignore_patterns("networks", "redivisions"))
    record = json.loads((filtered / RUN_FILE).read_text())
    record["config"]["filters"] = {"stability": "0" * 64}
    (filtered / RUN_FILE).write_text(json.dumps(record))
    for given in (None, second):
        with pytest.raises(TrainingError, match="choose their folder with --stability"):
            nested_recipe(filtered, run.cohort, given)


def test_a_report_says_which_model_a_run_did_not_train_and_why(run: Run, tmp_path: Path) -> None:
    assert run_provenance(run.folder) == {}
    shutil.copytree(run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("networks", "redivisions"))
    summary = {**run.summary, "not_trained": {"RM": "no feature was selected"}}
    (tmp_path / "run" / SUMMARY_FILE).write_text(json.dumps(summary))
    assert run_provenance(tmp_path / "run") == {"Not trained": "RM: no feature was selected"}
