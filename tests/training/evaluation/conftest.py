"""What the tests of evaluation share."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.training.evaluation.evaluation_cohorts import draw_cohort
from training.evaluation.predictions import Predictions


@pytest.fixture(scope="session")
def paper_sized() -> tuple[pd.DataFrame, Predictions]:
    """The paper's cohorts."""
    return draw_cohort({"train": 750, "validation": 93, "test": 96, "prognosis": 94})
