"""A small synthetic cohort, made once for all tests: do not change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.cohort.case import PreparationSettings
from training.cohort.prepare import prepare_cohort
from training.cohort.prepared import PreparedCohort
from training.cohort.synthesise import SynthesisSettings, synthesise_cohort
from training.cohort.table import read_cohort

SETTINGS = SynthesisSettings(expression=3, prognosis=1, gate=0, dicom=1, seed=0)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a cohort of four; the first case is a whole DICOM study (512 x 512, 5 mm), the others small volumes."""
    folder = tmp_path_factory.mktemp("synthetic")
    synthesise_cohort(folder, SETTINGS, workers=2)
    return folder


@pytest.fixture(scope="session")
def prepared(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    """The four, prepared."""
    folder, table = tmp_path_factory.mktemp("prepared"), read_cohort(synthetic / "cohort.csv")
    prepare_cohort(table, folder, PreparationSettings(), workers=2, truth=synthetic)
    return PreparedCohort.load(folder)
