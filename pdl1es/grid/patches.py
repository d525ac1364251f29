"""ROI patches: the slice of largest tumour area and its neighbours 1 mm above and below, 112 x 112, in HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.interpolation import LinearWeights, interpolate_plane, linear_weights
from pdl1es.grid.resample import TumourVolume
from pdl1es.grid.whole_slice import WholeSlice
from pdl1es.method import MASK_THRESHOLD, PATCH_MARGIN_MM, PATCH_SIZE, PATCH_SLICES


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RoiPatches:
    """What the network looks at.

    Attributes
    ----------
    hu
        float32 whole HU, shape (3, 112, 112): the slice 1 mm below, the ROI slice, the slice 1 mm above.
    mask
        bool, same shape: the tumour on them (for drawings; the network does not see it).
    roi_z
        Grid coordinate (mm) of the ROI slice.
    rectangle
        (x_low, y_low, x_high, y_high) in grid coordinates, both ends included, margin included.
    whole_slice
        The volume's own, for drawings; the network does not see it.
    """

    hu: NDArray[np.float32]
    mask: NDArray[np.bool_]
    roi_z: int
    rectangle: tuple[int, int, int, int]
    whole_slice: WholeSlice | None = None

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.hu.shape))
        return f"RoiPatches({shape} pixels at z {self.roi_z} mm, rectangle {self.rectangle} mm)"


def extract_patches(volume: TumourVolume) -> RoiPatches:
    """Cut the three patches (paper, Methods: the ROI's rectangle enlarged, the slices above and below, 112 x 112).

    Parameters
    ----------
    volume
        The tumour on the 1 mm grid; its mask is not empty.

    Returns
    -------
    RoiPatches
        The ROI slice is the one of largest tumour area, the lowest of several. The tumour's rectangle on it, with the
        margin, is cut from all three slices and stretched bilinearly, pixel centre to pixel centre, to whole HU,
        halves to the even number. Beyond the scan the nearest voxel is taken, and there is no tumour.

    Raises
    ------
    ValueError
        The volume's crop ends, short of the scan, before the rectangle does, or its mask is empty.
    """
    areas = np.count_nonzero(volume.mask, axis=(1, 2))
    roi = int(np.argmax(areas))
    if areas[roi] == 0:
        raise ValueError("the mask is empty")
    y, x = bounding_box(volume.mask[roi])
    beside = PATCH_SLICES // 2
    low = (x.start - PATCH_MARGIN_MM, y.start - PATCH_MARGIN_MM, roi - beside)
    high = (x.stop - 1 + PATCH_MARGIN_MM, y.stop - 1 + PATCH_MARGIN_MM, roi + beside)
    _require_held(volume, low, high)

    margins = (beside, PATCH_MARGIN_MM, PATCH_MARGIN_MM)
    box = tuple(
        slice(first + margin, last + margin + 1)
        for first, last, margin in zip(low[::-1], high[::-1], margins, strict=True)
    )
    around = [(margin, margin) for margin in margins]
    hu, mask = np.pad(volume.hu, around, mode="edge")[box], np.pad(volume.mask, around)[box]
    across, down = _stretched(hu.shape[2]), _stretched(hu.shape[1])
    return RoiPatches(
        hu=np.rint([interpolate_plane(plane, across, down) for plane in hu]).astype(np.float32),
        mask=np.stack([interpolate_plane(plane, across, down) >= MASK_THRESHOLD for plane in mask]),
        roi_z=volume.origin[2] + roi,
        rectangle=(
            volume.origin[0] + low[0],
            volume.origin[1] + low[1],
            volume.origin[0] + high[0],
            volume.origin[1] + high[1],
        ),
        whole_slice=volume.whole_slice,
    )


def _stretched(size: int) -> LinearWeights:
    """Return the weights that stretch ``size`` pixels over the pixels of a patch; both cover the same length."""
    nodes = (np.arange(PATCH_SIZE, dtype=np.float64) + 0.5) * (size / PATCH_SIZE) - 0.5
    return linear_weights(np.arange(size, dtype=np.float64), nodes)


def _require_held(volume: TumourVolume, low: tuple[int, int, int], high: tuple[int, int, int]) -> None:
    """Refuse, as a programming error, a crop that lacks voxels which the scan has."""
    for axis in range(3):
        start, size = volume.origin[axis], volume.hu.shape[2 - axis]
        first = max(start + low[axis], volume.scan_low[axis])
        last = min(start + high[axis], volume.scan_high[axis])
        if first < start or last > start + size - 1:
            raise ValueError(
                f"the patch needs nodes {first} to {last} along {'xyz'[axis]}, "
                f"the crop holds {start} to {start + size - 1}"
            )
