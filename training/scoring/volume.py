"""The score by tumour volume alone.

Welch et al. (Radiother Oncol 2019; 130: 2-9) found that a published radiomic signature was tumour volume in disguise,
and advise to show volume alone beside every model.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression


def volume_alone(cases: pd.DataFrame) -> NDArray[np.float64]:
    """Return a score of high expression by tumour volume alone.

    Where the training split holds both classes, the probability by the logarithm of volume, fitted there. Elsewhere, as
    on another hospital's patients, nothing is fitted: each volume's rank among all, since an area needs only an order.
    A larger volume then counts as higher expression.

    Parameters
    ----------
    cases
        ``cases.parquet``, N rows.

    Returns
    -------
    NDArray[np.float64]
        Shape (N,), from 0 to 1; NaN where the volume is not known.

    Raises
    ------
    ValueError
        No patient's volume is known.
    """
    volume = cases["volume_ml"].to_numpy(dtype=np.float64, na_value=np.nan)
    known = volume > 0
    if not known.any():
        raise ValueError("no patient has a tumour volume above 0")
    logarithm = np.log(volume[known])
    score = np.full(volume.size, np.nan)
    train = (cases["split"] == "train").to_numpy()[known]
    label = cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)[known]
    train &= ~np.isnan(label)
    if len(set(label[train])) < 2:
        score[known] = rankdata(logarithm) / (logarithm.size + 1)
        return score
    # next to no penalty: one variable needs none
    model = LogisticRegression(C=1e6).fit(logarithm[train, None], label[train])
    score[known] = model.predict_proba(logarithm[:, None])[:, 1]
    return score
