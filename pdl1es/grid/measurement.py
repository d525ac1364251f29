"""The tumour's size, and the CT image on which a reader finds it."""

from __future__ import annotations

import math

import numpy as np

from pdl1es.assessment import RoiSlice, TumourMeasurement
from pdl1es.dicom.geometry import position_along
from pdl1es.dicom.segmentation import SegmentMask
from pdl1es.dicom.series import MULTI_FRAME_CT_SOP_CLASSES, CTSeries
from pdl1es.grid.diameter import longest_diameter
from pdl1es.grid.patches import RoiPatches
from pdl1es.grid.resample import TumourVolume, place_mask


def measure_tumour(mask: SegmentMask, ct: CTSeries, volume: TumourVolume) -> TumourMeasurement:
    """Measure the tumour: voxels and volume as they were drawn, the diameter on the 1 mm grid.

    Parameters
    ----------
    mask
        The segment on its own grid.
    ct
        The series on which it is scored.
    volume
        The same tumour on the 1 mm grid.

    Returns
    -------
    TumourMeasurement
        A source voxel's volume is the segmentation's own pixel spacing times half the distance between the
        neighbouring planes of its lattice (`resample.place_mask`); the slice thickness that a header states is not
        used. The diameter is the largest distance between voxel centres.

    Raises
    ------
    Refusal
        SEG_GEOMETRY and SEGMENT_EMPTY, as `resample.place_mask`.
    """
    frames = place_mask(mask, ct).occupied()
    voxels = [int(np.count_nonzero(frame.mask)) for frame in frames]
    volume_mm3 = math.fsum(
        count * frame.pixel_area * frame.thickness for count, frame in zip(voxels, frames, strict=True)
    )
    return TumourMeasurement(
        source_voxels=sum(voxels),
        volume_ml=volume_mm3 / 1000.0,
        longest_diameter_mm=longest_diameter(volume.mask),
    )


def roi_slice_reference(ct: CTSeries, volume: TumourVolume, patches: RoiPatches) -> RoiSlice:
    """Find the CT image nearest to the ROI slice.

    Parameters
    ----------
    ct
        The series.
    volume
        The grid on which the ROI slice lies.
    patches
        What was cut from it.

    Returns
    -------
    RoiSlice
        The lower of two images that are equally near.
    """
    distances = [abs(position_along(ct_slice.plane, volume.axes[2]) - patches.roi_z) for ct_slice in ct.slices]
    nearest = ct.slices[int(np.argmin(distances))]
    multi_frame = nearest.instance.sop_class_uid in MULTI_FRAME_CT_SOP_CLASSES
    return RoiSlice(
        sop_class_uid=nearest.instance.sop_class_uid,
        sop_instance_uid=nearest.instance.sop_instance_uid,
        frame_number=nearest.frame + 1 if multi_frame else None,
        instance_number=nearest.instance_number,
        table_position_mm=nearest.plane.position[2],
    )
