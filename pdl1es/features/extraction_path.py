"""The two ways to compute the features of a tumour: by compiled kernels, and by numpy and other packages.

The numpy path is the reference and the fall-back. Both are given by the same few functions; their values are the same
to the bit. The formulas of texture are evaluated after them, by numpy on both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pdl1es.features import discretisation, filters, first_order, matrices, shape
from pdl1es.features.matrices import TextureMatrices
from pdl1es.features.region import Region, Values

PathName = Literal["compiled", "numpy"]
"""A way to compute the features; both give the same values."""

Description = tuple[NDArray[np.float64], TextureMatrices]
"""An image's first-order features and its texture matrices."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ExtractionPath:
    """The functions of one way.

    Attributes
    ----------
    name
        ``compiled`` or ``numpy``.
    filters
        The filters that exist twice.
    shape_features
        Describes the tumour's mask, shape (z, y, x).
    lay_out
        Lays the tumour's mask out for ``describe``.
    describe
        Bins an image's voxels and describes them, given the layout and the bin width; NoGreyLevels where pyradiomics fails.
    """

    name: PathName
    filters: filters.FilterFunctions
    shape_features: Callable[[NDArray[np.bool_]], NDArray[np.float64]]
    lay_out: Callable[[NDArray[np.bool_]], Any]
    describe: Callable[[Values, Any, float], Description]

    def __repr__(self) -> str:
        return f"ExtractionPath({self.name})"


def _describe(values: Values, region: Region, bin_width: float) -> Description:
    grey = discretisation.discretise(values, bin_width=bin_width)
    return first_order.first_order_features(values, grey), matrices.texture_matrices(grey, region)


def compiled_path() -> ExtractionPath:
    """Return the way by compiled kernels.

    They are one C file for each subject in `pdl1es/features/kernels`, each with its source: `laplacian.c`, `wavelet.c`,
    `gradient.c`, `pattern.c` (filters), `grey_levels.c`, `matrices.c` (texture), `moments.c` (first order), `shape.c`;
    `module.c` checks what Python hands over.

    Returns
    -------
    ExtractionPath

    Raises
    ------
    ImportError
        They were not built.
    """
    from pdl1es.features import compiled_filters, compiled_first_order, compiled_shape, compiled_texture

    def describe(values: Values, line: compiled_texture.TextureLine, bin_width: float) -> Description:
        # In the image's own data type, which is shorter and sorts faster than double.
        ordered = np.sort(values)
        grey = compiled_texture.discretise_by_kernel(values, ordered, bin_width=bin_width)
        features = compiled_first_order.first_order_features_by_kernel(values, ordered, grey)
        return features, compiled_texture.texture_matrices_by_kernel(grey, line)

    return ExtractionPath(
        name="compiled",
        filters=compiled_filters.FILTERS,
        shape_features=compiled_shape.shape_features_by_kernel,
        lay_out=compiled_texture.TextureLine.of,
        describe=describe,
    )


NUMPY: Final = ExtractionPath(
    name="numpy",
    filters=filters.FILTERS,
    shape_features=shape.shape_features,
    lay_out=Region.of,
    describe=_describe,
)
"""The reference."""
