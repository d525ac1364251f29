"""The chain, run as its users run it: a folder in, a folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, Settings, load_settings
from tests.integration.chain_runs import WHEN, Score, Scored, assert_inspection_agrees, models_loaded_once


@pytest.fixture(scope="session")
def settings() -> Settings:
    """``app.yaml`` as it ships."""
    return load_settings(DEFAULT_FILE)


@pytest.fixture(scope="session")
def score(settings: Settings, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Score:
    """Run the chain on a study with the model that ships, at a fixed time; keywords replace sections of the settings.

    One contour alone is scored, unless ``contour_stability`` says otherwise: most tests are not about the others.
    """

    def run(study: Path, *, clinical: Path | None = None, output: Path | None = None, **sections: Any) -> Scored:
        folder = output or tmp_path_factory.mktemp("report")
        chosen = settings.model_copy(update={"contour_stability": "off", **sections})
        with models_loaded_once():
            outcome = run_study(
                study,
                folder,
                settings=chosen,
                model_folder=repository / "models",
                clinical_file=clinical,
                when=WHEN,
            )
        if study.is_dir() and outcome.result is not None and outcome.result.defect is None:
            assert_inspection_agrees(study, chosen, clinical, outcome)
        return Scored(outcome, folder)

    return run
