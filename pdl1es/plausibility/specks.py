"""What is taken out of a segment before anything is measured: specks, which are slips of the hand; further bodies, if so set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import position_along
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.series import CTSeries
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.placement import PlacedMask, place_mask
from pdl1es.method import MIN_TUMOUR_VOLUME_MM3
from pdl1es.plausibility.filling import filled

SPECK_SHARE: Final = 0.01
"""A speck is smaller than this share of the largest part, and smaller than the smallest tumour that is measured."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed from a segment before anything was measured.

    Attributes
    ----------
    specks
        Number of specks.
    voxels
        Their voxels on the segment's own grid.
    bodies
        Further parts, where the settings take the largest.
    bodies_ml
        Their volume, mL.
    """

    specks: int = 0
    voxels: int = 0
    bodies: int = 0
    bodies_ml: float = 0.0


def label_parts(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label the parts of a mask that touch by face, edge or corner (26 neighbours).

    Parameters
    ----------
    mask
        bool, shape (z, y, x).

    Returns
    -------
    labels
        Same shape; 0 is background.
    sizes
        Voxels of the labels 1, 2, ..., shape (parts,).
    """
    import SimpleITK as sitk

    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    return labels, np.bincount(labels.ravel())[1:]


def are_specks(volumes_mm3: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for each part's volume, mm3, whether it is a speck: under 64 mm3 and under 1 % of the largest."""
    return (volumes_mm3 < MIN_TUMOUR_VOLUME_MM3) & (volumes_mm3 < SPECK_SHARE * volumes_mm3.max(initial=0.0))


def placed_clean(mask: SegmentMask, ct: CTSeries, *, largest_body: bool = False) -> tuple[PlacedMask, Removed]:
    """Place a segment along the axes of the grid, without its specks.

    Parameters
    ----------
    mask
        The segment.
    ct
        The series on which it is scored.
    largest_body
        Keep the largest part alone.

    Returns
    -------
    PlacedMask
        Of what is left of the segment.
    Removed

    Raises
    ------
    Refusal
        As `place_mask`.
    """
    placed = place_mask(mask, ct)
    clean, removed = cleaned(mask, placed, largest_body=largest_body)
    return (placed if clean is mask else place_mask(clean, ct)), removed


def cleaned(mask: SegmentMask, placed: PlacedMask, *, largest_body: bool = False) -> tuple[SegmentMask, Removed]:
    """Remove from a segment, on its own grid, the specks and, where wanted, every part but the largest.

    Parameters
    ----------
    mask
        The segment.
    placed
        The same segment along the CT's axes: tells the frames' thickness.
    largest_body
        Keep the largest part alone. An outline is one part.

    Returns
    -------
    SegmentMask
        The very mask that it would have been without them; the given one where there are none.
    Removed
    """
    occupied = [index for index in range(len(mask.planes)) if mask.masks[index].any()]
    normal = placed.stack.axes[2]
    occupied.sort(key=lambda index: position_along(mask.planes[index], normal))
    places = [place for place, frame in enumerate(placed.frames) if frame is not None]
    rows, columns = bounding_box(np.logical_or.reduce(mask.masks[occupied]))
    volume = np.zeros(
        (places[-1] - places[0] + 1, rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_
    )
    depths = [place - places[0] for place in places]
    volume[depths] = mask.masks[occupied][:, rows, columns]
    labels, sizes = label_parts(volume)
    if sizes.size < 2:
        return mask, Removed()
    frames = placed.occupied()
    voxel_mm3 = frames[0].pixel_area * float(np.median([frame.thickness for frame in frames]))
    specks = are_specks(sizes.astype(np.float64) * voxel_mm3)
    kept = volume & ~np.isin(labels, 1 + np.flatnonzero(specks)) if specks.any() else volume
    removed = Removed(int(specks.sum()), int(sizes[specks].sum()))
    if largest_body:
        labels, sizes = label_parts(filled(kept))
        whole, kept = kept, kept & (labels == 1 + int(sizes.argmax()))
        left_out = int(np.count_nonzero(whole)) - int(np.count_nonzero(kept))
        removed = replace(removed, bodies=sizes.size - 1, bodies_ml=left_out * voxel_mm3 / 1000.0)
    if not removed.specks and not removed.bodies:
        return mask, removed
    masks = mask.masks.copy()
    for index, depth in zip(occupied, depths, strict=True):
        masks[index, rows, columns] = kept[depth]
    left = [index for index in range(len(mask.planes)) if masks[index].any()]
    return replace(mask, planes=tuple(mask.planes[index] for index in left), masks=masks[left]), removed
