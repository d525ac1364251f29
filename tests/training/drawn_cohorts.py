"""Prepared cohorts of drawn arrays whose label can be learnt from each part, small enough for seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.prepared import PreparedCohort, case_table, write_prepared_cohort


def drawn_cohort(
    folder: Path,
    n: int = 120,
    seed: int = 0,
    *,
    signal: float = 1.0,
    changes: Callable[[dict[str, Any], int], None] | None = None,
) -> PreparedCohort:
    """Draw patients: 40 % high; 60 features, the patches' brightness and smoking tell, by ``signal``."""
    rng = np.random.default_rng(seed)
    label = (np.arange(n) % 5 < 2).astype(np.float64)
    rows = []
    for index in range(n):
        smoking = rng.choice((0.0, 1.0, 2.0), p=(0.5, 0.35, 0.15))
        if rng.random() < 0.3 * signal * label[index]:
            smoking = 2.0
        row: dict[str, Any] = {
            "case_id": f"case-{index:04d}",
            "label": label[index],
            "age": float(np.clip(rng.normal(59, 10), 30, 90).round()),
            "sex": float(rng.integers(2)),
            "smoking": float(smoking),
            "family_history": float(rng.random() < 0.2),
            "content_digest": f"{index:064x}",
        }
        for name in ("smoking", "family_history"):
            if rng.random() < 0.04:
                row[name] = None
        if changes is not None:
            changes(row, index)
        rows.append(row)
    radiomics = rng.normal(10, 3, (n, len(FEATURE_NAMES)))
    radiomics[:, :60] += 2.0 * signal * label[:, None]
    radiomics[:, 100:187] = 4.25
    hu = rng.normal(-400, 150, (n, 3, 112, 112))
    hu[:, :, 30:80, 30:80] += 300 + 120 * signal * (label - 0.5)[:, None, None, None]
    masks = np.zeros(hu.shape, dtype=bool)
    masks[:, :, 30:80, 30:80] = True
    return write_prepared_cohort(folder, case_table(rows), np.rint(hu).astype(np.int16), masks, radiomics)
