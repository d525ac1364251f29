"""The 1316 radiomic features of a tumour on the 1 mm grid, in the model's order (paper, Methods; pyradiomics 3.0.1).

pyradiomics is the definition: the features are its classes' formulas, the bins come from its ``getBinEdges``, the
surface from its mesh. What is slow in it is replaced: each image is binned once for all classes (`discretisation`),
texture is counted by operations on the whole tumour (`matrices`), a formula runs once for several images (`texture`), no
diameter compares all pairs of points (`shape`), and filters read no more of the scan than they need (`filters`). Where the
compiled kernels were built they do the filters, the counting and the sums (`kernels`), with the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.features import default_path
from pdl1es.features.discretisation import NoGreyLevels
from pdl1es.features.extraction_path import Description, ExtractionPath
from pdl1es.features.filters import Filter, image_filters
from pdl1es.features.matrices import TextureMatrices
from pdl1es.features.names import FEATURE_NAMES, FEATURES_BY_CLASS, IMAGE_TYPES
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.features.region import Crop
from pdl1es.features.settings import SETTINGS
from pdl1es.features.texture import batches, texture_features
from pdl1es.grid.plain_mask import plain_mask

FILTERS: Final = image_filters(SETTINGS, default_path.DEFAULT.filters)
"""The method's filters by the images that they give."""
_CLASSES: Final = tuple(name for name in FEATURES_BY_CLASS if name != "shape")
_TEXTURE: Final = tuple(name for name in _CLASSES if name != "firstorder")

_FROM_VOXELS: Final = 10_000
"""Fewest voxels of a tumour for which several threads are used; below, they cost more time than they save."""


def extract_radiomics(
    hu: NDArray[np.int16],
    mask: NDArray[np.bool_],
    *,
    threads: int | None = None,
    path: ExtractionPath = default_path.DEFAULT,
) -> RadiomicFeatures:
    """Compute every feature of the method.

    Only the tumour's box and 10 voxels around it, clipped by the array, are read: a larger array changes nothing.

    Parameters
    ----------
    hu
        int16 Hounsfield units on the 1 mm grid, shape (z, y, x).
    mask
        bool, same shape: the tumour; any byte but 0 is true.
    threads
        Threads to work with; by default two for a tumour that is worth them, where there are two cores. The values do
        not depend on it.
    path
        By compiled kernels or by numpy. The values do not depend on it.

    Returns
    -------
    RadiomicFeatures
        NaN where pyradiomics drops a feature, fails on it or gives NaN: all features of a tumour that extends along
        fewer than two axes; the 279 of the Laplacian of Gaussian where an axis of the crop has fewer than 4 voxels;
        those of Square, Logarithm and Exponential where the crop is 0 HU throughout; co-occurrence where no two voxels
        of a slice are neighbours (MCC is 1 there for an image of one grey level); run lengths where no line of a slice
        holds two voxels; Robust Mean Absolute Deviation where no voxel lies between the 10th and 90th percentile; all
        but shape of the unfiltered image where its bins leave int16, as from -1000 to 31743 HU.

    Raises
    ------
    ValueError
        The arrays differ in shape, are not three-dimensional, or the mask is empty.
    """
    if hu.ndim != 3 or hu.shape != mask.shape:
        raise ValueError(f"hu and mask must be of one shape (z, y, x), got {hu.shape} and {mask.shape}")
    mask = plain_mask(mask)
    if not mask.any():
        raise ValueError("the mask is empty")
    crop = Crop.around(hu, mask, SETTINGS.setting.pad_distance)
    if sum(length > 1 for length in crop.mask.shape) < 2:
        # pyradiomics refuses a line of voxels (minimumROIDimensions is 2).
        return RadiomicFeatures(np.full(len(FEATURE_NAMES), np.nan))
    if threads is None:
        large = np.count_nonzero(crop.mask) >= _FROM_VOXELS
        threads = min(2, len(os.sched_getaffinity(0))) if large else 1
    if threads == 1:
        return RadiomicFeatures(_extract(crop, path, map))
    with ThreadPoolExecutor(threads) as pool:
        return RadiomicFeatures(_extract(crop, path, pool.map))


def _extract(crop: Crop, path: ExtractionPath, each: Callable[..., Iterable[Any]]) -> NDArray[np.float64]:
    """Compute every feature; ``each`` maps a function over tasks, as `map` does."""
    layout = path.lay_out(crop.mask)
    filters = FILTERS if path is default_path.DEFAULT else image_filters(SETTINGS, path.filters)
    # A filter's images are described where they were computed, while the cache holds them; the longest jobs first.
    *described, shape = each(
        _quietly,
        [
            *(partial(_describe, function, crop, layout, path) for function in filters.values()),
            partial(path.shape_features, crop.mask),
        ],
    )
    first_order: dict[str, NDArray[np.float64]] = {}
    matrices: dict[str, TextureMatrices] = {}
    for name, description in (pair for descriptions in described for pair in descriptions.items()):
        first_order[name], matrices[name] = description

    names = list(matrices)
    groups = [[names[index] for index in group] for group in batches(list(matrices.values()))]
    # The groups ascend by their numbers of grey levels: the longest jobs first.
    jobs = [(feature_class, group) for group in reversed(groups) for feature_class in _TEXTURE]
    evaluated = each(
        _quietly,
        [partial(texture_features, name, [matrices[image] for image in group]) for name, group in jobs],
    )

    values = {("original", "shape"): shape}
    values.update({(name, "firstorder"): features for name, features in first_order.items()})
    for (feature_class, group), features in zip(jobs, evaluated, strict=True):
        values.update({(name, feature_class): row for name, row in zip(group, features, strict=True)})
    order = [("original", "shape"), *((image, name) for image in IMAGE_TYPES for name in _CLASSES)]
    return np.concatenate([values.get(key, np.full(len(FEATURES_BY_CLASS[key[1]]), np.nan)) for key in order])


def _quietly(task: Callable[[], Any]) -> Any:
    """Run a task without numpy's warnings, whose settings belong to the thread."""
    with np.errstate(all="ignore"):
        return task()


def _describe(function: Filter, crop: Crop, layout: Any, path: ExtractionPath) -> dict[str, Description]:
    """Compute a filter's images; return the first-order features and texture matrices of those that have grey levels."""
    described = {}
    for name, values in function(crop).items():
        if values is not None:
            with suppress(NoGreyLevels):
                described[name] = path.describe(values, layout, SETTINGS.setting.bin_width)
    return described
