"""A small synthetic cohort, made once for all tests: do not change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.cohort.synthesise import SynthesisSettings, synthesise_cohort

SETTINGS = SynthesisSettings(expression=5, prognosis=1, gate=1, dicom=1, seed=0)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a cohort of seven; the first case is a whole DICOM study (512 x 512, 5 mm), the others small volumes."""
    folder = tmp_path_factory.mktemp("synthetic")
    synthesise_cohort(folder, SETTINGS, workers=2)
    return folder
