"""CT stacks in memory, sampled from a field over the patient's space, so that the truth is known by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from pdl1es.dicom.geometry import SlicePlane
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.series import CT_IMAGE, CTSeries, CTSlice
from pdl1es.dicom.stack import ct_series
from pdl1es.grid.resample import TumourVolume

Field = Callable[[NDArray[np.float64]], NDArray]
"""LPS points, shape (..., 3), to values, shape (...)."""

UPRIGHT = np.eye(3)


def turned(degrees: float) -> NDArray[np.float64]:
    """Return directions (one a row) turned by an angle around a line that is no axis: an oblique acquisition."""
    angle, axis = np.radians(degrees), np.array([2.0, -1.0, 2.0]) / 3.0
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T


def tilted(degrees: float) -> NDArray[np.float64]:
    """Return the directions of a gantry that is tilted around the patient's left-right axis."""
    angle = np.radians(degrees)
    return np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])


@dataclass
class Scan:
    """A series, its stored pixels, and which of them were read."""

    ct: CTSeries
    images: dict[str, NDArray]
    read: list[str] = field(default_factory=list)

    def read_slice(self, ct_slice: CTSlice) -> NDArray:
        self.read.append(ct_slice.instance.sop_instance_uid)
        return self.images[ct_slice.instance.sop_instance_uid]


def pixel_centres(plane: SlicePlane) -> NDArray[np.float64]:
    """Return the LPS points of a plane's pixels, shape (rows, columns, 3)."""
    down = np.arange(plane.rows)[:, np.newaxis, np.newaxis] * plane.row_spacing * np.array(plane.column_direction)
    across = np.arange(plane.columns)[:, np.newaxis] * plane.column_spacing * np.array(plane.row_direction)
    return np.array(plane.position) + down + across


def make_scan(
    values: Field,
    z: Sequence[float] | NDArray[np.floating[Any]],
    *,
    axes: NDArray[np.float64] = UPRIGHT,
    first: tuple[float, float, float] = (-35.3, -30.7, -20.1),
    table: tuple[float, float, float] | None = None,
    rows: int = 70,
    columns: int = 76,
    spacing: tuple[float, float] = (0.9, 0.95),
    transposed: bool = False,
    flip_rows: bool = False,
    flip_columns: bool = False,
    reverse: bool = False,
) -> Scan:
    """Sample a field on slices.

    ``z`` is the way along ``table`` (the slices' normal if None) from ``first``, in steps that need not be equal; the
    flags say how each pixel matrix is stored, and ``reverse`` that the files come feet last. All of them describe the
    same points in space.
    """
    row, column, normal = axes
    along = normal if table is None else np.array(table)
    instances, images = [], {}
    for number, way in enumerate(z, start=1):
        position = np.array(first) + way * along
        directions = [row, column]
        steps, sizes = [spacing[1], spacing[0]], [columns, rows]
        for axis, flip in enumerate((flip_columns, flip_rows)):
            if flip:
                position = position + directions[axis] * steps[axis] * (sizes[axis] - 1)
                directions[axis] = -directions[axis]
        if transposed:
            directions, steps, sizes = directions[::-1], steps[::-1], sizes[::-1]
        header = Dataset()
        header.SOPClassUID, header.SOPInstanceUID = CT_IMAGE, f"1.2.3.{number}"
        header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID = "1.2.4", "1.2.5", "1.2.6"
        header.InstanceNumber = number
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        # as a file holds them: decimals of at most 16 characters
        header.ImagePositionPatient = [format_number_as_ds(float(v)) for v in position]
        header.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in np.concatenate(directions)]
        header.PixelSpacing = [format_number_as_ds(float(steps[1])), format_number_as_ds(float(steps[0]))]
        header.Rows, header.Columns = sizes[1], sizes[0]
        header.RescaleSlope, header.RescaleIntercept = "1", "0"
        instances.append(Instance(Path(f"{number}.dcm"), header))
    ct = ct_series(instances[::-1] if reverse else instances)
    # sampled before storage, so that every way of storing holds the same numbers
    for way, instance in zip(z, instances, strict=True):
        plane = SlicePlane(
            tuple(np.array(first) + way * along), tuple(row), tuple(column), spacing[0], spacing[1], rows, columns
        )
        image = values(pixel_centres(plane))
        image = image[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
        images[instance.sop_instance_uid] = image.T.copy() if transposed else image.copy()
    return Scan(ct, images)


def make_mask(inside: Field, planes: Sequence[SlicePlane]) -> SegmentMask:
    """Draw a segment on planes; empty frames are left out, as a SEG leaves them out."""
    drawn = [(plane, inside(pixel_centres(plane))) for plane in planes]
    kept = [(plane, mask) for plane, mask in drawn if mask.any()]
    return SegmentMask(tuple(plane for plane, _ in kept), np.array([mask for _, mask in kept], dtype=bool), "1.2.7")


def planes_of(scan: Scan) -> list[SlicePlane]:
    return [ct_slice.plane for ct_slice in scan.ct.slices]


def sphere(centre: tuple[float, float, float], radius: float) -> Field:
    """Return the field that is true within a sphere."""
    return lambda points: np.sum((points - np.array(centre)) ** 2, axis=-1) <= radius**2


def ramp(gradient: tuple[float, float, float] = (61.0, -83.0, 47.0), offset: float = 5100.0) -> Field:
    """Return a field that rises linearly, HU per mm; nowhere below air."""
    return lambda points: points @ np.array(gradient) + offset


def noise(points: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return whole HU that look random, a function of the place alone."""
    whole = np.rint(points @ np.array([1009.0, 9176.0, 70003.0])).astype(np.int64)
    return ((whole * 2654435761 >> 7) % 401 - 200).astype(np.int16)


def node_points(volume: TumourVolume) -> NDArray[np.float64]:
    """Return the LPS points of a volume's nodes, shape (z, y, x, 3)."""
    z, y, x = np.indices(volume.hu.shape)
    nodes = np.stack([x, y, z], axis=-1) + np.array(volume.origin)
    return nodes @ volume.axes
