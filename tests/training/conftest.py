"""What the tests of the training share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import onnx
import pandas as pd
import pytest
import torch

import training.export
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.imputation import build_profiles, impute
from tests.training.drawn_cohorts import drawn_cohort
from tests.training.drawn_patients import draw_cohort
from tests.training.finished_runs import Run, trained_run
from training.cohort.prepared import PreparedCohort
from training.network import ServingGraph
from training.preprocessing import FittedPreprocessing
from training.reporting import figures
from training.scoring.predictions import Predictions

# Two threads that wait for each other on a busy machine take ten times as long as one.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fitted() -> FittedPreprocessing:
    """Preprocessing fitted on drawn patients: 21 features, four clinical variables."""
    rng = np.random.default_rng(11)
    cohort = np.stack(
        [
            rng.normal(59, 11, 400).round(),
            rng.integers(0, 2, 400),
            rng.choice((0.0, 1.0, 2.0), 400, p=(0.5, 0.4, 0.1)),
            rng.integers(0, 2, 400),
        ],
        axis=1,
    )
    cohort[rng.random(cohort.shape) < 0.03] = np.nan
    profiles = build_profiles(cohort)
    imputed = np.stack([impute(row, profiles) for row in cohort])
    selected = tuple(range(7, len(FEATURE_NAMES), 65))
    return FittedPreprocessing(
        profiles=profiles,
        clinical_mean=imputed.mean(axis=0),
        clinical_sd=imputed.std(axis=0),
        selected=selected,
        radiomic_mean=rng.normal(50, 20, len(selected)),
        radiomic_sd=rng.uniform(0.5, 30, len(selected)),
        smoker_grade=1.2,
    )


@pytest.fixture(scope="session", autouse=True)
def _exported_once() -> Iterator[None]:
    """Let torch export the same weights once: it takes seconds, and gives the same (`test_export.py`)."""
    known: dict[bytes, onnx.ModelProto] = {}
    export = training.export.exported_graph

    def remembered(graph: ServingGraph) -> onnx.ModelProto:
        facts = (graph.output_names(), graph.network.parts, graph.network.window_hu, graph.network.layers)
        digest = hashlib.sha256(repr(facts).encode())
        for name, tensor in graph.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        if digest.digest() not in known:
            known[digest.digest()] = export(graph)
        copy = onnx.ModelProto()
        copy.CopyFrom(known[digest.digest()])
        return copy

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.export, "exported_graph", remembered)
        yield


@pytest.fixture(scope="session")
def paper_sized() -> tuple[pd.DataFrame, Predictions]:
    """Drawn patients of the paper's sizes, and their scores by four models."""
    return draw_cohort({"train": 750, "validation": 93, "test": 96, "prognosis": 94})


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    """120 patients. Do not change it."""
    return drawn_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def run(cohort: PreparedCohort, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run. Do not change it."""
    return trained_run(cohort, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def undrawn_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave matplotlib's renderer out: what figures look like is told by the tests of figures and of the report."""
    monkeypatch.setattr(figures, "svg_bytes", lambda figure, title: b"<svg/>")
    monkeypatch.setattr(figures, "png_bytes", lambda figure, title: b"a picture")
