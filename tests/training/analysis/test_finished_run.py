"""What the analyses read of a finished run."""

from __future__ import annotations

import warnings

import pandas as pd

from tests.training.finished_runs import Run
from training.analysis.finished_run import run_predictions
from training.scoring.predictions import SIGNATURE
from training.train.run_folder import PREDICTIONS_FILE


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
