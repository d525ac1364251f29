"""Table 1 of the paper: the patients' characteristics by cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from training.expression.results import EXTERNAL, SPLITS, TRAINING
from training.statistics.table_one import Categorical, Continuous, TableOne, categorical, continuous, table_one

OF_UNKNOWN_GRADE: Final = "smoker of unknown grade"


def characteristics(cases: pd.DataFrame) -> TableOne:
    """Return Table 1: age, sex, smoking, family history and PD-L1 expression by cohort, the training cohort against each.

    Raises
    ------
    ValueError
        No patient is in the training cohort (a table of one cohort has nothing to compare), or a cohort has fewer than
        two known ages.
    """
    # the paper's table has three cohorts; the further test cases serve the gates only
    if "split" in cases and cases["split"].isin(["train"]).any():
        chosen = cases[cases["split"].isin(["train", "validation", "test"])]
        cohort = [SPLITS[split] for split in chosen["split"]]
        reference = TRAINING
    else:
        chosen, reference = cases, EXTERNAL
        cohort = [EXTERNAL] * len(cases)
    order = np.argsort([list(SPLITS.values()).index(c) if c in SPLITS.values() else 9 for c in cohort], kind="stable")
    chosen, cohort = chosen.iloc[order], [cohort[k] for k in order]
    graded = chosen["smoking_graded"].to_numpy() if "smoking_graded" in chosen else np.ones(len(chosen), dtype=bool)
    smoking = levels(chosen["smoking"], {0.0: "never", 1.0: "occasionally", 2.0: "constantly"})
    smoking = [
        OF_UNKNOWN_GRADE if level is None and known is not None and not pd.isna(known) and not known else level
        for level, known in zip(smoking, graded, strict=True)
    ]
    grades = ["never", "occasionally", "constantly"]
    if OF_UNKNOWN_GRADE in smoking:
        # where no grade is known of anybody, rows of grades would say that nobody smoked so
        graded_smoker = any(level in grades[1:] for level in smoking)
        grades = [*(grades if graded_smoker else grades[:1]), OF_UNKNOWN_GRADE]
    variables: list[Categorical | Continuous] = [
        continuous("Age, years", chosen["age"].to_numpy(dtype=np.float64), cohort, reference),
        categorical("Sex", levels(chosen["sex"], {0.0: "female", 1.0: "male"}), cohort, reference, ["female", "male"]),
        categorical("Smoking status", smoking, cohort, reference, grades),
        categorical(
            "Family history of cancer",
            levels(chosen["family_history"], {0.0: "no", 1.0: "yes"}),
            cohort,
            reference,
            ["no", "yes"],
        ),
        categorical(
            "PD-L1 expression",
            levels(chosen["label"], {0.0: "TPS < 50 %", 1.0: "TPS >= 50 %"}),
            cohort,
            reference,
            ["TPS < 50 %", "TPS >= 50 %"],
        ),
    ]
    return table_one(cohort, reference, variables)


def levels(column: pd.Series, names: Mapping[float, str]) -> list[str | None]:
    """Return codes by name; None where they are not known.

    Parameters
    ----------
    column
        Codes; NaN where they are not known.
    names
        By code.

    Returns
    -------
    list[str or None]
        As long as ``codes``.
    """
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return [None if np.isnan(value) else names[float(value)] for value in values]
