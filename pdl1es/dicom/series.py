"""A CT series as a stack of slices: files of their own, or frames of one enhanced object."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.derived_image import Derivation
from pdl1es.dicom.geometry import SlicePlane, position_along, stack_axes
from pdl1es.dicom.instance import Instance

CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_ENHANCED_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2.2"
CT_SOP_CLASSES: Final = frozenset({CT_IMAGE, ENHANCED_CT_IMAGE, LEGACY_CONVERTED_ENHANCED_CT_IMAGE})
MULTI_FRAME_CT_SOP_CLASSES: Final = CT_SOP_CLASSES - {CT_IMAGE}


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
    rescale_type
        Units after rescaling (Rescale Type), or None.
    image_type
        Values of Image Type, or of Frame Type for a frame.
    derivations
        What it was computed from, if it is not one slice as it was reconstructed.
    convolution_kernel
        Values of Convolution Kernel; empty where there is none.
    slice_thickness
        Slice Thickness, mm, or None. For the protocol check only; it is no geometry.
    instance_number
        As a viewer shows it, or None. For a frame, its In-Stack Position Number where it has one.
    """

    instance: Instance
    frame: int
    plane: SlicePlane
    rescale_slope: float | None
    rescale_intercept: float | None
    rescale_type: str | None = None
    image_type: tuple[str, ...] = ()
    derivations: tuple[Derivation, ...] = ()
    convolution_kernel: tuple[str, ...] = ()
    slice_thickness: float | None = None
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """An image that shares the series but is not part of the stack.

    Attributes
    ----------
    sop_instance_uid
        The image.
    frame
        Zero-based frame within it.
    reason
        Why it is none of the stack's slices.
    """

    sop_instance_uid: str
    frame: int
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class CTSeries:
    """One CT series whose slices form a stack.

    Attributes
    ----------
    series_instance_uid, frame_of_reference_uid, study_instance_uid
        Its identity; the frame of reference is empty where the images name none.
    slices
        Sorted along the stack's canonical normal (towards head for an axial stack), ascending.
    tilt_degrees
        Angle between the stack's normal and the line through the slices' positions; 0 where the gantry was upright.
    set_aside
        Images of the series that are not slices of the stack, with the reason.
    """

    series_instance_uid: str
    frame_of_reference_uid: str
    study_instance_uid: str
    slices: tuple[CTSlice, ...]
    tilt_degrees: float
    set_aside: tuple[SetAside, ...] = ()

    def __repr__(self) -> str:
        return f"<CTSeries {self.series_instance_uid}: {len(self.slices)} slices, {len(self.set_aside)} set aside>"


def series_axes(series: CTSeries) -> NDArray[np.float64]:
    """Return the axes of the stack, shape (3, 3), one per row, the normal last; of axial slices the canonical ones."""
    return stack_axes(series.slices[0].plane)


def slice_positions(series: CTSeries) -> NDArray[np.float64]:
    """Return the slices' coordinates along the canonical normal, mm, shape (slices,), ascending."""
    normal = series_axes(series)[2]
    return np.array([position_along(s.plane, normal) for s in series.slices])


def median_slice_spacing(series: CTSeries) -> float:
    """Return the median distance between neighbouring slices, mm (the lower one of two)."""
    return statistics.median_low(np.diff(slice_positions(series)).tolist())


def series_of(instances: Iterable[Instance]) -> dict[str, tuple[Instance, ...]]:
    """Group objects by Series Instance UID, in the order of the UIDs."""
    groups: defaultdict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[instance.series_instance_uid].append(instance)
    return {uid: tuple(groups[uid]) for uid in sorted(groups)}


def kernels_of(series: CTSeries) -> tuple[tuple[str, ...], ...]:
    """Return the distinct values of Convolution Kernel in the series, the most frequent first."""
    counts = Counter(s.convolution_kernel for s in series.slices)
    return tuple(sorted(counts, key=lambda kernel: (-counts[kernel], kernel)))
