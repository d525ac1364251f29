"""Data whose statistics R has computed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from lifelines.datasets import load_lung

from tests.training.statistics.r_values import FOLDER, RValues


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> Path:
    """Folder of R's and dcurves' outputs with their inputs, beside the shared data."""
    folder = shared_data.parent / "reference"
    if not folder.is_dir():
        pytest.skip("the outputs of R are not here: put them beside the shared data")
    return folder


@pytest.fixture(scope="session")
def lung() -> pd.DataFrame:
    """NCCTG lung cancer (Loprinzi 1994), the survival package's ``lung``, as lifelines ships it; status 1 is death."""
    return load_lung()


@pytest.fixture(scope="session")
def lung_with_ecog(lung: pd.DataFrame) -> pd.DataFrame:
    """The 227 patients of ``lung`` whose performance status is known, as R's coxph keeps them."""
    return lung.dropna(subset=["ph.ecog"])


@pytest.fixture(scope="session")
def veteran(reference: Path) -> pd.DataFrame:
    """Veterans' Administration lung cancer trial, the survival package's ``veteran``."""
    return pd.read_csv(reference / "survival_veteran.csv")


@pytest.fixture(scope="session")
def subarachnoid(reference: Path) -> pd.DataFrame:
    """Aneurysmal subarachnoid haemorrhage (Turck 2010), pROC's ``aSAH``, with ``poor`` as 0 and 1."""
    table = pd.read_csv(reference / "aSAH.csv")
    return table.assign(poor=(table["outcome"] == "Poor").astype(int))


@pytest.fixture(scope="session")
def r() -> RValues:
    """Numbers of R's survival, riskRegression, rms and mice."""
    return RValues()


@pytest.fixture(scope="session")
def cirrhosis() -> pd.DataFrame:
    """Mayo clinic's trial of primary biliary cirrhosis, the survival package's ``pbc``; kind 1 is death, 2 a transplant."""
    return pd.read_csv(FOLDER / "pbc.csv")
