"""A texture feature voxel by voxel on one slice, by pyradiomics' voxel-based mode (paper, Figure 5)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from radiomics import getFeatureClasses

from pdl1es.features.discretisation import bin_edges
from pdl1es.features.extraction import FILTERS
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.features.prepared_class import SILENT
from pdl1es.features.region import Crop
from pdl1es.features.settings import SETTINGS
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.plain_mask import plain_mask

KERNEL_RADIUS: Final = 1
"""pyradiomics' default: each voxel's 3 x 3 neighbourhood in its slice."""

_BATCH_CELLS: Final = 4_000_000
"""Cells of the texture matrices held at a time; with fewer voxels at a time memory stays small."""


def feature_map(hu: NDArray[np.int16], mask: NDArray[np.bool_], feature_name: str, z: int) -> NDArray[np.float64]:
    """Compute one feature around each of the tumour's voxels on one slice.

    Grey levels are those of the whole tumour, as in pyradiomics' own voxel-based extraction. Only the slice's voxels are
    visited, because their neighbourhoods lie in the slice.

    Parameters
    ----------
    hu
        int16 Hounsfield units on the 1 mm grid, shape (z, y, x).
    mask
        bool, same shape: the tumour.
    feature_name
        One of :data:`pdl1es.features.names.FEATURE_NAMES`, shape excepted.
    z
        Index of the slice in ``hu``.

    Returns
    -------
    NDArray[np.float64]
        Shape (y, x) of the slice: the feature of each voxel's 3 x 3 neighbourhood within the tumour; NaN outside the
        tumour and where pyradiomics gives NaN.

    Raises
    ------
    ValueError
        The feature is unknown or one of shape, the tumour is not on the slice, or the image cannot be computed.
    """
    image, _, rest = feature_name.partition("_")
    feature_class, _, feature = rest.partition("_")
    if feature_name not in FEATURE_NAMES or feature_class == "shape":
        raise ValueError(f"no map of {feature_name!r}: it is not one of the method's first-order or texture features")
    mask = plain_mask(mask)
    if not 0 <= z < len(mask) or not mask[z].any():
        raise ValueError(f"the tumour does not reach slice {z}")
    box = bounding_box(mask)
    crop = Crop.around(hu, mask, SETTINGS.setting.pad_distance)
    function = next(function for images, function in FILTERS.items() if image in images)
    with np.errstate(all="ignore"):
        values = function(crop)[image]
    if values is None or not np.isfinite(values).all():
        raise ValueError(f"the image {image!r} cannot be computed for this tumour")

    whole = np.zeros(crop.mask.shape, dtype=values.dtype)
    whole[crop.mask] = values
    layer = z - box[0].start
    edges = bin_edges(values, bin_width=SETTINGS.setting.bin_width)
    # The kernel's margin, so that every neighbourhood lies in the array.
    plane = np.pad(whole[layer], KERNEL_RADIUS)[None]
    inside = np.pad(crop.mask[layer], KERNEL_RADIUS)[None]
    values_on_slice = _voxelwise(feature_class, feature, plane, inside, edges, np.unique(np.digitize(values, edges)))

    result = np.full(hu.shape[1:], np.nan)
    result[box[1:]] = values_on_slice[0][KERNEL_RADIUS:-KERNEL_RADIUS, KERNEL_RADIUS:-KERNEL_RADIUS]
    return np.where(mask[z], result, np.nan)


def _voxelwise(
    feature_class: str,
    feature: str,
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    edges: NDArray[Any],
    levels: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Evaluate a feature around each voxel of an image's mask, with the given bins; shape of ``image``."""
    base: Any = getFeatureClasses()[feature_class]

    class OnTumourLevels(base):
        """The class with the whole tumour's bins instead of the slice's own."""

        def _applyBinning(self, matrix: NDArray[Any]) -> NDArray[np.int64]:
            binned = np.zeros(matrix.shape, dtype=np.int64)
            binned[self.maskArray] = np.digitize(matrix[self.maskArray], edges)
            self.coefficients["grayLevels"] = levels
            self.coefficients["Ng"] = int(levels[-1])
            return binned

    cells = int(levels[-1]) ** 2 * 4
    features = OnTumourLevels(
        SimpleITK.GetImageFromArray(image),
        SimpleITK.GetImageFromArray(mask.astype(np.uint8)),
        voxelBased=True,
        kernelRadius=KERNEL_RADIUS,
        maskedKernel=True,
        force2D=True,
        force2Ddimension=0,
        initValue=np.nan,
        voxelBatch=max(1, _BATCH_CELLS // cells),
    )
    features.logger = SILENT
    features.enabledFeatures = {feature: True}
    with np.errstate(all="ignore"):
        return SimpleITK.GetArrayFromImage(features.execute()[feature])
