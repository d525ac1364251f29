"""Images of one tumour side by side, so that a formula runs once for several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.matrices import TextureMatrices


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch:
    """Images of one tumour, whose matrices are laid side by side over the union of their grey levels.

    Where an image lacks a level, its matrices have a row of zeros, which adds 0 to every sum of a formula.

    Attributes
    ----------
    images
        The matrices of each image.
    levels
        int64, shape (n,): the union of the grey levels.
    rows
        For each image, the rows of its levels in ``levels``.
    """

    images: Sequence[TextureMatrices]
    levels: NDArray[np.int64] = field(init=False)
    rows: Sequence[NDArray[np.intp]] = field(init=False)

    def __post_init__(self) -> None:
        levels = np.unique(np.concatenate([image.levels for image in self.images]))
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "rows", [np.searchsorted(levels, image.levels) for image in self.images])

    def __repr__(self) -> str:
        return f"Batch({len(self)} images, {len(self.levels)} grey levels)"

    def __len__(self) -> int:
        return len(self.images)
