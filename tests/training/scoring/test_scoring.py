"""Scores that are kept as they come: a call after one that was stopped goes on, and gives what one call would have."""

from __future__ import annotations

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

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.fusion import FusionModel
from tests.training.exported_models import export_random_model
from training.cohort.prepared import PreparedCohort, case_table, write_prepared_cohort
from training.preprocessing import FittedPreprocessing
from training.scoring import cohort_scores
from training.scoring.cohort_scores import KEPT_TOGETHER, score_cohort, score_models

N = 3 * KEPT_TOGETHER + 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fitted: FittedPreprocessing) -> Path:
    """Two exported models of random weights and a prepared cohort, of whom one patient is refused."""
    folder = tmp_path_factory.mktemp("scoring")
    for seed in (0, 1):
        export_random_model(folder / f"model-{seed}", fitted, seed=seed)
    rng = np.random.default_rng(0)
    patches = rng.normal(-300, 200, (N, 3, 112, 112)).astype(np.int16)
    radiomics = rng.normal(50, 20, (N, len(FEATURE_NAMES)))
    radiomics[40] = np.nan
    cases = case_table([{"case_id": f"case-{k:04d}", "age": 60.0, "sex": 1.0} for k in range(N)])
    write_prepared_cohort(folder / "prepared", cases, patches, np.zeros(patches.shape, dtype=bool), radiomics)
    return folder


class Interrupted(Exception):
    """What a test stops the scoring by."""


def _counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the patients that are scored from now on."""
    scored: list[int] = []
    score_case = cohort_scores.score_case

    def counted(*arguments: object) -> dict[str, object]:
        scored.append(1)
        return score_case(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(cohort_scores, "score_case", counted)
    return scored


def _stopping(after: int) -> Callable[[int, int], None]:
    def told(done: int, of: int) -> None:
        if done == after:
            raise Interrupted

    return told


def test_a_call_after_a_stopped_one_goes_on_and_gives_the_same_table(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = PreparedCohort.load(folder / "prepared")
    at_once = score_cohort(folder / "model-0", prepared)
    assert at_once.loc[40, "refusal"] == "RADIOMICS_INCOMPLETE"
    with pytest.raises(Interrupted):
        score_cohort(folder / "model-0", prepared, kept=tmp_path, progress=_stopping(2 * KEPT_TOGETHER + 3))
    scored = _counting(monkeypatch)
    told: list[int] = []
    found = score_cohort(folder / "model-0", prepared, kept=tmp_path, progress=lambda done, of: told.append(done))
    assert len(scored) == N - 2 * KEPT_TOGETHER
    assert told[:3] == [KEPT_TOGETHER, 2 * KEPT_TOGETHER, 2 * KEPT_TOGETHER + 1]
    assert told[-1] == N
    pd.testing.assert_frame_equal(found, at_once)
    pd.testing.assert_frame_equal(score_cohort(folder / "model-0", prepared, kept=tmp_path), at_once)
    assert len(scored) == N - 2 * KEPT_TOGETHER


def test_neither_another_model_nor_another_cohort_finds_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = PreparedCohort.load(folder / "prepared").subset(np.arange(3))
    one, two = (FusionModel.load(folder / f"model-{seed}", threads=1) for seed in (0, 1))
    scored = _counting(monkeypatch)
    changed = few.patches.copy()
    changed[0, 0, 0, 0] += 50
    for model, cohort in ((one, few), (two, few), (one, replace(few, patches=changed))):
        score_models(cohort, {"PD-L1ES": model}, kept=tmp_path)
    assert len(scored) == 9
    kept = score_models(few, {"PD-L1ES": one, "again": one}, {"control": few}, kept=tmp_path)
    assert len(scored) == 9
    pd.testing.assert_frame_equal(kept, score_models(few, {"PD-L1ES": one, "again": one}, {"control": few}))


def test_after_a_kill_whole_parts_are_there_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from training.cohort.prepared import PreparedCohort\n"
        "from training.scoring.cohort_scores import score_cohort\n"
        "model, prepared, kept = (Path(argument) for argument in sys.argv[1:])\n"
        "score_cohort(model, PreparedCohort.load(prepared), kept=kept)\n"
    )
    kept = tmp_path / "kept"
    process = subprocess.Popen([sys.executable, "-c", program, folder / "model-0", folder / "prepared", kept])
    while process.poll() is None and not any(kept.glob("*.parquet")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    prepared = PreparedCohort.load(folder / "prepared")
    assert {len(pd.read_parquet(path)) for path in kept.glob("*.parquet")} <= {KEPT_TOGETHER, N % KEPT_TOGETHER}
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.parquet")}
    assert before
    pd.testing.assert_frame_equal(
        score_cohort(folder / "model-0", prepared, kept=kept), score_cohort(folder / "model-0", prepared)
    )
    assert {path: path.stat().st_mtime_ns for path in before} == before
