"""The voxels of the tumour, whether it was drawn as a segment or as a region of a structure set."""

from __future__ import annotations

from pdl1es.dicom.pixels.segment_reader import read_segment_mask
from pdl1es.dicom.planar_contours import read_region_mask
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.series import CTSeries
from pdl1es.dicom.structure_set import ContourSource, RegionOfInterest


def read_tumour_mask(source: ContourSource, number: int, ct: CTSeries) -> SegmentMask:
    """Read the voxels of a segment or a region.

    Parameters
    ----------
    source
        The segmentation or the region of a structure set.
    number
        Segment Number; a region has only its own.
    ct
        The series on which it was drawn; a SEG brings its own pixels, a region takes the CT's.

    Returns
    -------
    SegmentMask

    Raises
    ------
    Refusal
        As `read_segment_mask` and `read_region_mask`.
    """
    if isinstance(source, RegionOfInterest):
        return read_region_mask(source, ct)
    return read_segment_mask(source, number)
