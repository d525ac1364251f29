"""The tumour's size, and the CT image on which a reader finds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdl1es.dicom.geometry import position_along
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segment_mask import segment_volume_mm3
from pdl1es.dicom.series import MULTI_FRAME_CT_SOP_CLASSES, CTSeries
from pdl1es.grid.axial_diameter import axial_diameters
from pdl1es.grid.diameter import longest_diameter
from pdl1es.grid.patches import RoiPatches
from pdl1es.grid.placement import PlacedMask
from pdl1es.grid.resample import TumourVolume


@dataclass(frozen=True, slots=True)
class TumourMeasurement:
    """The tumour's size.

    Attributes
    ----------
    source_voxels
        Voxels of the segment on its own grid.
    volume_ml
        Their volume, mL.
    longest_diameter_mm
        Largest distance between two voxels of the mask on the 1 mm grid, mm.
    longest_axial_diameter_mm, perpendicular_diameter_mm
        On one slice of the grid, as `grid.axial_diameter` measures them, mm.
    axial_grid_z_mm
        That slice: its grid coordinate along the CT's axis, mm.
    """

    source_voxels: int
    volume_ml: float
    longest_diameter_mm: float
    longest_axial_diameter_mm: float
    perpendicular_diameter_mm: float
    axial_grid_z_mm: int


@dataclass(frozen=True, slots=True)
class RoiSlice:
    """The CT image nearest to the ROI slice, so that a reader can find it.

    Attributes
    ----------
    instance
        The image.
    frame_number
        One-based frame of an enhanced object, None for a single-frame image.
    instance_number
        As the viewer shows it, or None.
    table_position_mm
        The slice's coordinate along the patient's axis (z of Image Position (Patient)).
    """

    instance: Instance
    frame_number: int | None
    instance_number: int | None
    table_position_mm: float

    @property
    def sop_class_uid(self) -> str:
        """Of the image."""
        return self.instance.sop_class_uid

    @property
    def sop_instance_uid(self) -> str:
        """Of the image."""
        return self.instance.sop_instance_uid


def measure_tumour(placed: PlacedMask, volume: TumourVolume) -> TumourMeasurement:
    """Measure the tumour: voxels and volume as they were drawn, the diameters on the 1 mm grid.

    Parameters
    ----------
    placed
        The segment on its own lattice.
    volume
        The same tumour on the 1 mm grid.

    Returns
    -------
    TumourMeasurement
        A source voxel is as thick as half the distance between the planes beside its own; the slice thickness that a
        header states is not used. Diameters are distances between voxel centres.
    """
    frames = placed.occupied()
    axial = axial_diameters(volume.mask)
    volume_mm3 = segment_volume_mm3((frame.mask, frame.pixel_area, frame.thickness) for frame in frames)
    return TumourMeasurement(
        source_voxels=sum(int(np.count_nonzero(frame.mask)) for frame in frames),
        volume_ml=volume_mm3 / 1000.0,
        longest_diameter_mm=longest_diameter(volume.mask),
        longest_axial_diameter_mm=axial.longest_mm,
        perpendicular_diameter_mm=axial.perpendicular_mm,
        axial_grid_z_mm=volume.origin[2] + axial.slice_index,
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
        instance=nearest.instance,
        frame_number=nearest.frame + 1 if multi_frame else None,
        instance_number=nearest.instance_number,
        table_position_mm=nearest.plane.position[2],
    )
