"""The radiomic features of one tumour: values with their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.names import FEATURE_NAMES

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RadiomicFeatures:
    """The 1316 features of a tumour; read one by its name, as ``features["original_shape_Sphericity"]``.

    Attributes
    ----------
    values
        float64, shape (1316,), in the order of `FEATURE_NAMES`; NaN where a feature could not be computed.
    """

    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.dtype != np.float64 or self.values.shape != (len(FEATURE_NAMES),):
            raise ValueError(
                f"the features must be float64 of shape ({len(FEATURE_NAMES)},), "
                f"got {self.values.dtype} {self.values.shape}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the order of ``values``."""
        return FEATURE_NAMES

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[str]:
        return iter(FEATURE_NAMES)

    def __getitem__(self, name: str) -> float:
        try:
            return float(self.values[FEATURE_NAMES.index(name)])
        except ValueError:
            raise KeyError(name) from None

    def as_series(self) -> pandas.Series[Any]:
        """Return the values as a pandas Series whose index holds the names; needs pandas."""
        from pandas import Series

        return Series(self.values, index=list(FEATURE_NAMES), name="radiomic feature")

    def __repr__(self) -> str:
        missing = int(np.count_nonzero(np.isnan(self.values)))
        return f"RadiomicFeatures({len(self)} values, {missing} of them NaN)"
