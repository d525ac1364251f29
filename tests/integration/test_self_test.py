"""What ``pdl1es self-test`` tells whoever has installed the application."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pdl1es import self_test
from pdl1es.errors import Refusal
from pdl1es.exit_code import ExitCode
from pdl1es.model.digests import write_digests
from pdl1es.model.folder import EXPECTATION_FILE
from pdl1es.phantom.dicom import PhantomStudy, make_phantom_study
from pdl1es.self_test import run_self_test
from pdl1es.settings import Settings


@pytest.fixture
def kept_phantom(phantom_of_the_self_test: PhantomStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the self-test's phantom as it was made once: what is tested is what comes after it."""
    monkeypatch.setattr(self_test, "make_phantom_study", lambda *_, **__: phantom_of_the_self_test)


@pytest.fixture(scope="module")
def phantom_of_the_self_test(tmp_path_factory: pytest.TempPathFactory) -> PhantomStudy:
    """The study that the self-test scores."""
    folder = tmp_path_factory.mktemp("self_test") / "study"
    return make_phantom_study(folder, seed=self_test.SEED, matrix=self_test.MATRIX, slices=self_test.SLICES)


@pytest.fixture
def models(repository: Path, tmp_path: Path) -> Path:
    """A copy of the model that ships, to tamper with."""
    return Path(shutil.copytree(repository / "models", tmp_path / "models"))


def edit(models: Path, **changes: object) -> None:
    """Change what ships as expected."""
    file = models / "pdl1es" / EXPECTATION_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    write_digests(file.parent)


@pytest.mark.usefixtures("kept_phantom")
def test_an_expectation_that_is_not_the_makers_is_refused(settings: Settings, models: Path) -> None:
    edit(models, score=0.5)
    file = models / "pdl1es" / EXPECTATION_FILE
    file.write_text(file.read_text().replace("0.5", "0.6"))
    with pytest.raises(Refusal, match="MODEL_CHANGED"):
        run_self_test(settings, models)


def test_the_model_that_ships_scores_the_phantom_as_promised(settings: Settings, repository: Path) -> None:
    outcome = run_self_test(settings, repository / "models")
    assert outcome.exit_code == ExitCode.REPORT_WRITTEN
    assert outcome.difference is not None
    assert outcome.difference < 1e-6


@pytest.mark.usefixtures("kept_phantom")
def test_another_score_than_the_makers_fails(settings: Settings, models: Path) -> None:
    edit(models, score=0.5)
    assert run_self_test(settings, models).exit_code == ExitCode.DEFECT


@pytest.mark.usefixtures("kept_phantom")
def test_an_expectation_of_another_model_is_not_compared(settings: Settings, models: Path) -> None:
    """A site's own model is not held against the score of the one that came with the image."""
    edit(models, model_sha256="0" * 64, score=0.5)
    outcome = run_self_test(settings, models)
    assert outcome.expected is None
    assert outcome.exit_code == ExitCode.USAGE


@pytest.mark.usefixtures("kept_phantom")
def test_a_damaged_model_is_refused(settings: Settings, models: Path) -> None:
    (models / "pdl1es" / "model.onnx").write_bytes(b"no model")
    outcome = run_self_test(settings, models)
    assert outcome.exit_code == ExitCode.REFUSED
    assert outcome.refusal is not None
