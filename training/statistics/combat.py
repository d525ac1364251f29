"""ComBat: differences between scanners taken out of features, by location and scale of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEWEST_PER_BATCH: Final = 10
"""Of a smaller batch neither mean nor spread is known well enough to be taken out."""
_CONVERGED: Final = 1e-4
_ROUNDS: Final = 1000

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CombatFit:
    """What was fitted on training patients, and is applied to others unchanged.

    Attributes
    ----------
    batches
        Names of the batches that it knows.
    left_out
        Patients of each batch that is too small to be one.
    mean, sd
        float64, shape (F,): over all batches together, each weighted by its patients; the spread is that within batches.
    shift, scale
        float64, shape (B, F): of each batch, of the standardised features; the scale is a standard deviation.
    """

    batches: tuple[str, ...]
    left_out: dict[str, int]
    mean: Values
    sd: Values
    shift: Values
    scale: Values

    def apply(self, values: Values, batch: Sequence[str | None]) -> Values:
        """Return features without their batch's difference.

        Parameters
        ----------
        values
            float64, shape (N, F).
        batch
            Of each patient.

        Returns
        -------
        NDArray[np.float64]
            Shape (N, F). A patient of a batch that it does not know keeps their values: nothing is known to be taken out.
        """
        adjusted = np.array(values, dtype=np.float64)
        for place, name in enumerate(self.batches):
            rows = np.array([one == name for one in batch], dtype=bool)
            standard = (adjusted[rows] - self.mean) / self.sd
            adjusted[rows] = (standard - self.shift[place]) / self.scale[place] * self.sd + self.mean
        return adjusted


def fit_combat(values: Values, batch: Sequence[str | None]) -> CombatFit:
    """Fit ComBat on training patients, without covariates.

    The label may not be a covariate: a new patient's is not known, and a fit that knew it would keep the difference that a
    scanner's own share of high expression makes, as if it were the patient's.

    Parameters
    ----------
    values
        float64, shape (N, F), without NaN; every feature varies within a batch.
    batch
        Batch of each, as its scanner; None is left out, and so are batches of fewer than `FEWEST_PER_BATCH`.

    Returns
    -------
    CombatFit

    Raises
    ------
    ValueError
        Fewer than two batches are large enough (the message has their sizes), or a feature has one value only in all of them.

    Notes
    -----
    Johnson, Li and Rabinovic, Biostatistics 2007; 8: 118-127: parametric empirical Bayes. Fortin et al., NeuroImage 2018; 167:
    104-120, whose neuroCombat gives the same values.
    """
    names = sorted({str(one) for one in batch if one is not None})
    members = {name: np.array([one == name for one in batch], dtype=bool) for name in names}
    sizes = {name: int(rows.sum()) for name, rows in members.items()}
    members = {name: rows for name, rows in members.items() if sizes[name] >= FEWEST_PER_BATCH}
    if len(members) < 2:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none is named"
        raise ValueError(
            f"fewer than two batches have {FEWEST_PER_BATCH} training patients or more, which their means and spreads need ({told})"
        )
    n = sum(int(rows.sum()) for rows in members.values())
    means = {name: values[rows].mean(axis=0) for name, rows in members.items()}
    mean = np.sum([rows.sum() * means[name] for name, rows in members.items()], axis=0) / n
    within = np.sum([((values[rows] - means[name]) ** 2).sum(axis=0) for name, rows in members.items()], axis=0) / n
    if not (within > 0).all():
        raise ValueError("a feature does not vary within any batch")
    sd = np.sqrt(within)
    shift, scale = [], []
    for rows in members.values():
        found = _empirical_bayes((values[rows] - mean) / sd)
        shift.append(found[0])
        scale.append(np.sqrt(found[1]))
    return CombatFit(
        tuple(members),
        {name: size for name, size in sizes.items() if name not in members},
        np.asarray(mean),
        sd,
        np.array(shift),
        np.array(scale),
    )


def _empirical_bayes(standard: Values) -> tuple[Values, Values]:
    """Return a batch's shift and variance by feature, drawn towards those of its other features; values of shape (n, F)."""
    n = len(standard)
    own_shift, own_variance = standard.mean(axis=0), standard.var(axis=0, ddof=1)
    prior_mean, prior_variance = float(own_shift.mean()), float(own_shift.var(ddof=1))
    centre, spread = float(own_variance.mean()), float(own_variance.var(ddof=1))
    shape = (2 * spread + centre**2) / spread
    rate = (centre * spread + centre**3) / spread
    shift, variance = own_shift, own_variance
    for _ in range(_ROUNDS):
        new_shift = (n * prior_variance * own_shift + variance * prior_mean) / (n * prior_variance + variance)
        squares = ((standard - new_shift) ** 2).sum(axis=0)
        new_variance = (0.5 * squares + rate) / (n / 2 + shape - 1)
        change = max(
            float((np.abs(new_shift - shift) / np.abs(shift)).max()),
            float((np.abs(new_variance - variance) / variance).max()),
        )
        shift, variance = new_shift, new_variance
        if change <= _CONVERGED:
            break
    return shift, variance
