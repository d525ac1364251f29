"""What a study needs of features and grid does not import scipy, which costs 0.3 s of processor time."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from pdl1es.features.extraction import extract_radiomics
from pdl1es.grid import contours, measurement, patches, resample

grid = np.indices((24, 24, 24)) - 12
mask = (grid**2).sum(axis=0) < 60
found = extract_radiomics((grid[0] * 40).astype(np.int16), mask)
assert not np.isnan(found.values).any()
print(sorted({name.split('.')[0] for name in sys.modules} & {"scipy"}))
"""


def test_features_are_computed_without_scipy() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
