"""A model issued again: the same network, under this version's method, checked on its own cohort."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pdl1es.method_digest import method_digest
from pdl1es.model.fusion import FusionModel
from tests.training.exported_models import export_random_model
from training.cohort.prepared import PreparedCohort
from training.preprocessing import FittedPreprocessing
from training.release.reissue import ReissueError, reissue
from training.scoring.cohort_scores import score_models
from training.statistics.discrimination import auc


@pytest.fixture
def labelled(cohort: PreparedCohort) -> PreparedCohort:
    """Patients with a label, all of them of the training."""
    known = cohort.subset(np.isfinite(cohort.labels))
    return replace(known, cases=known.cases.assign(split="train", volume_ml=20.0, longest_diameter_mm=33.0))


@pytest.fixture
def folder(labelled: PreparedCohort, fitted: FittedPreprocessing, tmp_path: Path) -> Path:
    """A model's folder as an export leaves it."""
    export_random_model(tmp_path, fitted)
    scores = score_models(labelled, {"PD-L1ES": tmp_path})["probability"].to_numpy(np.float64)
    metadata = json.loads((tmp_path / "metadata.json").read_bytes())
    metadata |= {
        "version": "0",
        "changelog": {"0": "first"},
        "eval_metrics": {"auc_train": auc(labelled.labels, scores).value},
        "pdl1es": {"training": "kept"},
    }
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "MODEL_CARD.md").write_text(f"# PD-L1ES of a test 0\n\n`{method_digest()}`\n\n## Limits\n\n- one\n")
    return tmp_path


def test_it_scores_the_same_and_says_how_far_its_patients_lie(folder: Path, labelled: PreparedCohort) -> None:
    before = score_models(labelled, {"PD-L1ES": folder})
    reissue(folder, labelled, version="1", note="again")
    model = FusionModel.load(folder)
    assert np.array_equal(
        score_models(labelled, {"PD-L1ES": folder})["probability"].to_numpy(), before["probability"].to_numpy()
    )
    reach = model.metadata.training_reach
    assert reach is not None
    assert reach.patients == len(labelled)
    document = json.loads((folder / "metadata.json").read_bytes())
    assert document["changelog"] == {"0": "first", "1": "again"}
    assert document["pdl1es"]["training"] == "kept"
    assert "whitening" not in document["pdl1es"]["training_reach"]
    card = (folder / "MODEL_CARD.md").read_text()
    assert card.index("## Beyond the training") < card.index("## Limits")


def test_another_cohort_is_told(folder: Path, labelled: PreparedCohort) -> None:
    turned = replace(labelled, cases=labelled.cases.assign(label=1 - labelled.cases["label"]))
    with pytest.raises(ReissueError, match="another cohort"):
        reissue(folder, turned, version="1", note="again")
