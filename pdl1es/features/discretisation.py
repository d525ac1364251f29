"""Grey levels: an image of the tumour binned once for all feature classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics import imageoperations

from pdl1es.features.region import Values


class NoGreyLevels(ValueError):
    """An image has values that are not finite, or whose bins leave its data type: pyradiomics fails on it."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GreyLevels:
    """A discretised image.

    Attributes
    ----------
    voxels
        int64 or int32, shape (n_voxels,): rank of each voxel's grey level among those present, from 1.
    levels
        int64, shape (n_levels,): the grey levels present, ascending.
    counts
        int64, same shape: voxels of each.
    """

    voxels: NDArray[np.int64] | NDArray[np.int32]
    levels: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"GreyLevels({len(self.voxels)} voxels of {len(self.levels)} levels)"


def discretise(values: Values, *, bin_width: float, bin_count: int | None = None) -> GreyLevels:
    """Bin an image.

    Takes the place of ``RadiomicsFeaturesBase._applyBinning``, which runs six times per image and takes Python's
    ``min`` and ``max`` over an array. Equality: exact.

    Parameters
    ----------
    values, bin_width, bin_count
        As for `bin_edges`.

    Returns
    -------
    GreyLevels

    Raises
    ------
    NoGreyLevels
        The values are not finite, or whole numbers whose bins leave their data type.
    """
    bins = np.digitize(values, bin_edges(values, bin_width=bin_width, bin_count=bin_count))
    counts = np.bincount(bins)
    levels = np.flatnonzero(counts)
    ranks = np.zeros(len(counts), dtype=np.int64)
    ranks[levels] = np.arange(1, len(levels) + 1)
    return GreyLevels(ranks[bins], levels, counts[levels])


def bin_edges(values: Values, *, bin_width: float, bin_count: int | None = None) -> NDArray[Any]:
    """Return the lower edges of the bins, and one edge more, as pyradiomics computes them.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,), in the image's data type, on which the edges depend.
    bin_width
        pyradiomics' ``binWidth``, in the image's unit.
    bin_count
        pyradiomics' ``binCount``, which comes before the width. The method has none; IBSI's and pyradiomics' reference
        values ask for it.

    Returns
    -------
    numpy.ndarray
        Ascending, shape (edges,).

    Raises
    ------
    NoGreyLevels
        The values are not finite, or whole numbers whose bins leave their data type.
    """
    return edges_between(np.array([values.min(), values.max()], dtype=values.dtype), bin_width, bin_count)


def edges_between(extremes: Values, bin_width: float, bin_count: int | None) -> NDArray[Any]:
    """Return the edges of the bins, which depend only on the smallest and the largest value.

    Parameters
    ----------
    extremes
        Both, in the image's data type.
    bin_width, bin_count
        As for `bin_edges`.

    Returns
    -------
    numpy.ndarray
        As from `bin_edges`.

    Raises
    ------
    NoGreyLevels
        As there.
    """
    if not np.isfinite(extremes).all():
        raise NoGreyLevels("the image is not finite")
    whole = np.issubdtype(extremes.dtype, np.integer)
    with np.errstate(over="ignore"):  # told below
        edges = np.asarray(imageoperations.getBinEdges(extremes, binWidth=bin_width, binCount=bin_count))
    if whole and not (edges.size and edges[0] <= extremes[0] and extremes[1] < edges[-1]):
        # int16 wraps around near its ends, and where the range is wider than it: every voxel would fall into one bin.
        raise NoGreyLevels(f"the bins of {extremes[0]} to {extremes[1]} leave the range of {extremes.dtype}")
    return edges
