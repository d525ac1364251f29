"""CT series as stacks of slices, whether their slices are files of their own or frames of one enhanced object."""

from __future__ import annotations

from dataclasses import dataclass

from pdl1es.dicom.geometry import SlicePlane
from pdl1es.dicom.study import Instance


@dataclass(frozen=True, slots=True)
class CTSlice:
    """One CT slice: where it lies, and where its pixels are.

    Attributes
    ----------
    instance
        The object that holds the pixels.
    frame
        Zero-based frame within it; 0 for a single-frame object.
    plane
        Its place in space.
    rescale_slope, rescale_intercept
        Stored value to Hounsfield units; None where the object has none.
    """

    instance: Instance
    frame: int
    plane: SlicePlane
    rescale_slope: float | None
    rescale_intercept: float | None


@dataclass(frozen=True, slots=True)
class CTSeries:
    """One CT series whose slices form a stack.

    Attributes
    ----------
    series_instance_uid, frame_of_reference_uid, study_instance_uid
        Its identity.
    slices
        Sorted along the stack's canonical normal (towards head for an axial stack), ascending.
    tilt_degrees
        Angle between the stack's normal and the line through the slices' positions; 0 where the gantry was upright.
    """

    series_instance_uid: str
    frame_of_reference_uid: str
    study_instance_uid: str
    slices: tuple[CTSlice, ...]
    tilt_degrees: float
